"""The pages cannot go stale: what they name exists, and what is generated or listed agrees with the code."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from omicard_relay.cli.root import COMMANDS
from omicard_relay.tables.policies import load_policies

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "omicard_relay"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("integration/*/README.md")])
BY_NAME = {"ids": lambda path: str(path.relative_to(ROOT))}

#: Command names that other programs rely on; those that are still missing must be told in docs/knownissues.md.
FIXED_COMMANDS = (
    "classify",
    "bounce",
    "log",
    "rules",
    "lists",
    "suppress",
    "dkim",
    "postfix",
    "doctor",
    "report",
    "explain",
    "simulate",
    "eval",
    "db",
    "serve",
)
FIXED_SERVICES = ("relay", "steer", "ingest", "follow", "policy", "milter", "console")

#: What looks like a path of ours between backticks: a known folder at the front, or a module of the package.
_TOP = "omicard_relay|lab|tests|policies|postfix|integration|benchmarks|scripts|docs"
_FLOORS = "mail|wire|tables|bounce|classify|scrub|signing|steering|store|services|cli"
_PATH = re.compile(rf"`((?:{_TOP}|{_FLOORS})/[\w./*-]*)`")
#: Syslog names look like paths, too.
_SYSLOG = re.compile(r"postfix/([\w-]+/)?(smtpd?|qmgr|error|pipe|lmtp|bounce|cleanup)")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_RFCS = re.compile(r"\bRFCs? (\d{3,4})((?:(?:, | and |, and |/)\d{3,4}\b)*)")
_RFC_ROW = re.compile(r"^\| (\d{3,4}) \| ([^|]+) \| (\w+) \|([^|]*)\|([^|]*)\|$", re.MULTILINE)
_CODE_ROW = re.compile(r"^\| (\d{3}) \| (\S+) \| (.+?) \| (\w+) \| (yes|no) \| (.+) \|$", re.MULTILINE)


def text_of(path: Path) -> str:
    return path.read_text("utf-8")


def exists(name: str, page: Path) -> bool:
    """Whether a path stands below the checkout, the package or the page's own folder."""
    places = (ROOT, PACKAGE, page.parent)
    return any(bool(list(place.glob(name.rstrip("/")))) for place in places)


@pytest.mark.parametrize("page", PAGES, **BY_NAME)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    named = {name for name in _PATH.findall(text_of(page)) if not re.search("NN|NAME|PROVIDER|DIR|FILE", name)}
    assert {name for name in named if not exists(name, page) and not _SYSLOG.fullmatch(name)} == set()


@pytest.mark.parametrize("page", PAGES, **BY_NAME)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = {link for link in _LINK.findall(text_of(page)) if "://" not in link}
    assert {link for link in links if not (page.parent / link).exists()} == set()


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/decisions/*.md")), **BY_NAME)
def test_a_decision_has_forty_lines_at_most(page: Path) -> None:
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name)
    assert text_of(page).startswith(f"# {page.name[:4]}: ")
    assert len(text_of(page).splitlines()) <= 40


def test_decisions_have_numbers_of_their_own() -> None:
    numbers = Counter(page.name[:4] for page in ROOT.glob("docs/decisions/*.md"))
    assert {number for number, count in numbers.items() if count > 1} == set()


def cited_rfcs(path: Path) -> set[str]:
    found = set()
    for first, more in _RFCS.findall(text_of(path)):
        found |= {first, *re.findall(r"\d+", more)}
    return found


def sources() -> list[Path]:
    modules = [*PACKAGE.rglob("*.py"), *ROOT.glob("lab/*.py")]
    data = [path for folder in ("policies", "postfix") for path in (ROOT / folder).rglob("*") if path.is_file()]
    return sorted([*modules, *data])


RFC_ROWS = _RFC_ROW.findall(text_of(ROOT / "docs" / "rfc.md"))


def test_every_rfc_that_the_code_cites_is_listed() -> None:
    cited = {rfc for path in sources() for rfc in cited_rfcs(path)}
    listed = {number for number, *_ in RFC_ROWS}
    assert len(cited) > 30  # the expression finds them
    assert cited - listed == set()


@pytest.mark.parametrize(("number", "title", "status", "where", "remarks"), RFC_ROWS, ids=lambda value: value[:40])
def test_listed_rfc_has_a_status_and_places_that_cite_it(
    number: str, title: str, status: str, where: str, remarks: str
) -> None:
    assert title.strip()
    assert status in ("yes", "partly", "no")
    assert remarks.strip() or status == "yes", "what is missing must be said"
    places = re.findall(r"`([^`]+)`", where)
    assert places or status == "no"
    for place in places:
        path = next(path for base in (PACKAGE, ROOT) if (path := base / place).is_file())
        assert number in cited_rfcs(path), place


def test_rfcs_are_listed_once() -> None:
    assert [number for number, count in Counter(row[0] for row in RFC_ROWS).items() if count > 1] == []


def test_command_page_is_what_help_says() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "make-cli-docs", "-"], capture_output=True, text=True, check=True
    )
    assert text_of(ROOT / "docs" / "cli.md") == made.stdout, "run `.venv/bin/python scripts/make-cli-docs`"


@pytest.mark.parametrize("name", FIXED_COMMANDS)
def test_fixed_command_has_a_heading_or_is_told_as_missing(name: str) -> None:
    if name in COMMANDS:
        assert f"\n## `omicard-relay {name}`\n" in text_of(ROOT / "docs" / "cli.md")
    else:
        assert re.search(
            rf"\*\*Commands\*\* [^.]*`{name}`[^.]* do not exist yet", text_of(ROOT / "docs" / "knownissues.md")
        )


@pytest.mark.parametrize("name", FIXED_SERVICES)
def test_fixed_service_exists_or_is_told_as_missing(name: str) -> None:
    from omicard_relay.services.running import SERVICES

    missing = re.search(r"There are no services ([^.]+)\.", text_of(ROOT / "docs" / "knownissues.md"))
    told = re.findall(r"`(\w+)`", missing.group(1)) if missing else []
    assert (name in SERVICES) != (name in told)


CODE_ROWS = {int(row[0]): row[1:] for row in _CODE_ROW.findall(text_of(ROOT / "docs" / "bounce-codes.md"))}


@pytest.mark.parametrize("number", range(900, 940))
def test_code_page_agrees_with_the_table(number: int) -> None:
    code = load_policies().codes[number]
    name, cause, action, address, belongs = CODE_ROWS[number]
    assert (name, cause, action, address) == (code.name, code.zh_tw, code.action, "yes" if code.address else "no")
    assert len(belongs) > 20
    for other in map(int, re.findall(r"\b9[0-3]\d\b", belongs)):
        assert other in load_policies().codes
        assert other != number
