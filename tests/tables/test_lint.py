"""The linter of rule files: all faults at once, each with file and line, and it agrees with what loads."""

from pathlib import Path

import pytest

from omicard_relay.mail import TableError
from omicard_relay.tables.findings import FindingKind, Level
from omicard_relay.tables.layers import layers_of, stacked
from omicard_relay.tables.lint import Linted, lint
from omicard_relay.tables.policies import load_policies
from tests.ruling import SHIPPED, rule_text, ship, small_set


@pytest.fixture(autouse=True)
def _shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(small_set(tmp_path / "shipped"), monkeypatch.setattr)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "rules").mkdir(parents=True)
    return folder


def put(site: Path, text: str, name: str = "rules/own.toml") -> Path:
    path = site / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def linted(site: Path | None) -> Linted:
    return lint(layers_of(site))


FAULTS = {
    "typo in key": (rule_text().replace("phrases", "phrase"), FindingKind.UNKNOWN_KEY_NEAR, 5),
    "strange key": (rule_text() + "qqqqqq = 1\n", FindingKind.UNKNOWN_KEY, 8),
    "wrong type": (rule_text(bounce_code="x"), FindingKind.WRONG_VALUE, 3),
    "code out of range": (rule_text(bounce_code=801), FindingKind.WRONG_VALUE, 3),
    "unknown stage": (rule_text(stage=["lunch"]), FindingKind.WRONG_VALUE, 8),
    "no code": (rule_text(bounce_code=None), FindingKind.MISSING_KEY, 2),
    "no id": (rule_text().replace('id = "own-moon"\n', ""), FindingKind.MISSING_KEY, 1),
    "no example": (rule_text(examples=None), FindingKind.MISSING_EXAMPLE, 2),
    "empty examples": (rule_text(examples=[]), FindingKind.MISSING_EXAMPLE, 7),
    "no words": (rule_text(phrases=None), FindingKind.NO_WORDS, 2),
    "status in wrong form": (rule_text(strength="enhanced"), FindingKind.BAD_PHRASE, 5),
    "reply code in wrong form": (rule_text(strength="reply", phrases=["55"]), FindingKind.BAD_PHRASE, 5),
    "pattern for a code": (rule_text(strength="reply", phrases=["552"], pattern="x"), FindingKind.PATTERN_FOR_CODE, 8),
    "look-around": (rule_text(pattern="(?<=x)y"), FindingKind.BAD_PATTERN, 8),
    "back-reference": (rule_text(pattern=r"(x)\1"), FindingKind.BAD_PATTERN, 8),
    "bad exception": (rule_text(unless="("), FindingKind.BAD_PATTERN, 8),
    "empty match": (rule_text(pattern="x?"), FindingKind.EMPTY_MATCH, 8),
    "gap as a phrase": (rule_text(phrases=["… …"]), FindingKind.EMPTY_MATCH, 5),
    "endless gap": (rule_text(pattern="x.*y"), FindingKind.UNBOUNDED, 8),
    "long gap": (rule_text(pattern="x.{0,900}y"), FindingKind.UNBOUNDED, 8),
}


@pytest.mark.parametrize(("text", "kind", "line"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_has_kind_file_and_line_and_does_not_load(text: str, kind: FindingKind, line: int, site: Path) -> None:
    path = put(site, text)
    found = [one for one in linted(site).errors if one.kind is kind]
    assert [(one.path, one.line) for one in found] == [(path, line)]
    with pytest.raises(TableError):
        load_policies(site)


def test_all_faults_are_told_and_sound_rules_are_kept(site: Path) -> None:
    put(site, "".join(rule_text(f"own-{n}", pattern=p) for n, p in enumerate(["x.*y", "(", "z", "x?"])))
    put(site, rule_text("own-9", bounce_code=1, strength="loud", color=3), "rules/z.toml")
    result = linted(site)
    assert [(one.rule_id, one.kind) for one in result.errors] == [
        ("own-0", FindingKind.UNBOUNDED),
        ("own-1", FindingKind.BAD_PATTERN),
        ("own-3", FindingKind.EMPTY_MATCH),
        ("own-9", FindingKind.UNKNOWN_KEY),
        ("own-9", FindingKind.WRONG_VALUE),
        ("own-9", FindingKind.WRONG_VALUE),
    ]
    assert set(result.policies.rules_by_id) == {"base-full", "base-unknown", "base-550", "own-2"}


def test_a_typo_names_the_key_that_was_meant(site: Path) -> None:
    put(site, rule_text().replace("phrases", "phrase"))
    assert {one.fields.get("near") for one in linted(site).errors if one.kind == "unknown-key-near"} == {"phrases"}


@pytest.mark.parametrize(
    "octets",
    [b"[[rule", b"\xff\xfe", b"rule = 3\n", b"rule = [1]\n", b"other = 1\n", b"x = " + b"[" * 5000],
    ids=["no TOML", "no UTF-8", "rule is a number", "rule holds a number", "other table", "deep"],
)
def test_a_bad_file_is_one_finding_and_the_rest_goes_on(octets: bytes, site: Path) -> None:
    path = site / "rules" / "bad.toml"
    path.write_bytes(octets)
    put(site, rule_text())
    result = linted(site)
    assert [one.path for one in result.errors] == [path]
    assert "own-moon" in result.policies.rules_by_id
    with pytest.raises(TableError):
        load_policies(site)


def test_missing_source_is_a_warning_and_loads(site: Path) -> None:
    put(site, rule_text(source=None))
    result = linted(site)
    assert [(one.kind, one.level, one.line) for one in result.findings] == [("missing-source", Level.WARNING, 2)]
    assert load_policies(site).rules == result.policies.rules


def test_the_same_id_twice_in_a_layer_is_an_error_in_another_layer_none(site: Path) -> None:
    put(site, rule_text())
    second = put(site, rule_text() + rule_text("base-full"), "rules/z.toml")
    (found,) = linted(site).errors
    assert (found.kind, found.path, found.line) == (FindingKind.DUPLICATE_ID, second, 2)
    assert found.fields["other"] == "own.toml:2"


def test_bad_codes_of_a_site_are_told_and_the_shipped_ones_stay(site: Path) -> None:
    path = put(site, "[[code]]\nnumber = 1\n", "codes.toml")
    result = linted(site)
    assert [(one.kind, one.path) for one in result.errors] == [(FindingKind.BAD_CODES, path)]
    assert len(result.policies.codes) == 40


def test_layers_are_those_of_the_loader(site: Path) -> None:
    for name, code in (("packs/b/rules/x.toml", 903), ("packs/a/rules/x.toml", 904), ("rules/own.toml", 905)):
        put(site, rule_text("base-full", bounce_code=code), name)
        put(site, rule_text(f"from-{code}"), name.replace("x.toml", "y.toml").replace("own", "other"))
    codes = (site.parent / "shipped" / "codes.toml").read_text("utf-8")
    put(site, codes.replace('name = "mailbox-full"', 'name = "brimful"'), "packs/a/codes.toml")
    result = linted(site)
    loaded = load_policies(site)
    assert set(result.policies.rules) == set(loaded.rules)
    assert result.policies.codes == loaded.codes
    assert loaded.codes[901].name == "brimful"
    tower = stacked(result.stack)["base-full"]
    assert [one.layer.label for one in tower] == ["shipped", "pack a", "pack b", "site"]
    assert [one.rule.bounce_code for one in tower] == [901, 904, 903, 905]
    assert (tower[0].line, tower[0].block.startswith('[[rule]]\nid = "base-full"')) == (4, True)


def test_without_a_site_there_is_the_shipped_layer_alone() -> None:
    result = linted(None)
    assert result.findings == ()
    assert [placed.line for placed in result.stack] == [
        number for number, line in enumerate(SHIPPED.splitlines(), 1) if line.startswith("id")
    ]
