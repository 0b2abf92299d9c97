"""`rules suggest`: from replies that nobody reads to a rule that does, without an editor."""

import io
import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from omicard_relay.classify import Judge
from omicard_relay.services.follow import Follower
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.store import open_store
from omicard_relay.tables import load_policies
from omicard_relay.tables.settings import Settings, load_settings
from tests.keeping import NOW, UNKNOWN, delivery, said
from tests.ruling import Site, rule_text, ship, site_in, small_set
from tests.services.unknown_replies import ORIGINS, as_lines, made_replies

WOLF = "550 5.7.1 <ann@here.example>: wolves devour the parcel of 192.0.2.7"
OWL = "the owlery of mx1.example.com is on strike"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = small_set(tmp_path / "shipped")
    ship(folder, monkeypatch.setattr)
    return folder


@pytest.fixture
def site(tmp_path: Path, shipped: Path) -> Site:
    return site_in(tmp_path / "site")


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Three replies by wolves, one by owls, and one that the rules read."""
    texts = [WOLF, WOLF.replace("7", "8"), OWL, WOLF, "550 5.1.1 no such user"]
    path = tmp_path / "replies.jsonl"
    path.write_text(
        "".join(json.dumps({"text": text, "recipient": "ann@here.example"}) + "\n" for text in texts), "utf-8"
    )
    return str(path)


def rows(site: Site, *words: str) -> list[dict[str, Any]]:
    result = site.run("suggest", "--jsonl", *words)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_suggestion_for_people(site: Site, file: str) -> None:
    result = site.run("suggest", "--file", file)
    assert result.exit_code == 0
    first, second, _ = result.stdout.split("\n\n")
    lines = first.splitlines()
    assert lines[0].startswith("1. 3 replies, 1 domains  [")
    assert [line.strip() for line in lines[1:4]] == [
        "template: <<address>>: wolves devour the parcel of <ip>",
        "codes:    550 5.7.1 (2), 550 5.8.1 (1)",
        "now:      907 refused, rule base-550, confidence 0.35",
    ]
    assert "phrase:   wolves devour the parcel" in first
    assert "code:     907 refused (the weak verdict of now)" in first
    assert lines[-1].startswith("omicard-relay rules add --code 907 --phrase 'wolves devour the parcel' --example ")
    assert "code:     nobody proposes one" in second
    assert "4 unclear replies in 2 templates, 2 shown" in result.stderr
    assert "1 replies are read by the rules in force" in result.stderr
    assert "ann@" not in result.stdout


def test_in_chinese(site: Site, file: str) -> None:
    result = site.run("suggest", "--file", file, lang="zh-TW")
    assert "樣板：<<address>>: wolves devour the parcel of <ip>" in result.stdout
    assert "建議代碼：907 被目標伺服器拒絕接收（現有但把握不高的判讀）" in result.stdout
    assert "4 則不明回應，共 2 個樣板" in result.stderr


def test_a_suggestion_for_programs(site: Site, file: str) -> None:
    first, second = rows(site, "--file", file)
    assert {key: first[key] for key in ("number", "count", "domains", "template", "code", "rule", "confidence")} == {
        "number": 1,
        "count": 3,
        "domains": 1,
        "template": "<<address>>: wolves devour the parcel of <ip>",
        "code": "907",
        "rule": "base-550",
        "confidence": 0.35,
    }
    assert (first["proposed_code"], first["proposed_by"]) == ("907", "verdict")
    assert (second["proposed_code"], second["proposed_by"], second["code"]) == (None, None, "900")
    assert first["examples"][0] == WOLF.replace("ann@here.example", "user@example.com")


def test_the_command_as_it_stands_writes_the_rule_and_ends_the_suggestion(site: Site, file: str) -> None:
    first, second = rows(site, "--file", file)
    result = site.run(*shlex.split(first["command"])[2:])
    assert result.exit_code == 0, result.stderr
    (rule,) = tomllib.loads(site.own.read_text("utf-8"))["rule"]
    assert (rule["bounce_code"], rule["phrases"], rule["examples"]) == (907, [first["phrase"]], first["examples"])
    assert Judge(load_policies(site.policies)).judge_text(WOLF).rule_id == rule["id"]
    assert [row["key"] for row in rows(site, "--file", file)] == [second["key"]]


def test_the_toml_can_be_put_into_a_file(site: Site, file: str) -> None:
    result = site.run("suggest", "--file", file, "--toml")
    assert result.exit_code == 0
    wolves, owls = tomllib.loads(result.stdout)["rule"]
    assert "bounce_code" not in owls
    site.write(result.stdout.replace("# bounce_code = 900 to 939", "bounce_code = 929"))
    checked = site.run("check")
    assert "site-" not in checked.stdout + checked.stderr, checked.stdout + checked.stderr
    judge = Judge(load_policies(site.policies))
    assert (judge.judge_text(WOLF).rule_id, judge.judge_text(OWL).rule_id) == (wolves["id"], owls["id"])


@pytest.mark.parametrize("by_key", [False, True])
def test_accept_writes_as_add_does(by_key: bool, site: Site, file: str) -> None:
    name = rows(site, "--file", file)[0]["key"] if by_key else "1"
    result = site.run("suggest", "--file", file, "--accept", name, "--code", "926")
    assert result.exit_code == 0, result.stderr
    assert "rules remove site-926-wolves-devour-the-parcel" in result.stdout
    (rule,) = tomllib.loads(site.own.read_text("utf-8"))["rule"]
    assert (rule["bounce_code"], rule["phrases"]) == (926, ["wolves devour the parcel"])
    assert [row["template"] for row in rows(site, "--file", file)] == ["the owlery of <host> is on strike"]


def test_accept_with_the_proposed_code_and_dry_run_writes_nothing(site: Site, file: str) -> None:
    result = site.run("suggest", "--file", file, "--accept", "1", "--dry-run")
    assert result.exit_code == 0
    assert "bounce_code = 907" in result.stdout
    assert not site.own.exists()


REFUSED = {
    "no such number": (["--accept", "3"], "there is no suggestion `3`; there are 1 to 2"),
    "no such key": (["--accept", "nonsense"], "there is no suggestion `nonsense`"),
    "no code proposed": (["--accept", "2"], "nobody proposes a code for suggestion `2`"),
}


@pytest.mark.parametrize(("words", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_accept_refused(words: list[str], says: str, site: Site, file: str) -> None:
    result = site.run("suggest", "--file", file, *words)
    assert result.exit_code == 1
    assert says in result.stderr
    assert not site.own.exists()


def test_accept_of_a_template_without_a_phrase_is_refused(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "replies.txt"
    path.write_text("550 ox 192.0.2.1 up 300 it\n")
    result = site.run("suggest", "--file", path, "--accept", "1")
    assert result.exit_code == 1
    assert "has no phrase" in result.stderr
    assert "write the rule by hand with --pattern" in site.run("suggest", "--file", path).stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--code", "902"],
        ["--dry-run"],
        ["--toml", "--jsonl"],
        ["--accept", "1", "--jsonl"],
        ["--since", "1d"],
        ["--below", "2"],
        ["--top", "0"],
        ["--accept", "1", "--code", "801"],
    ],
)
def test_wrong_usage_ends_with_2(words: list[str], site: Site, file: str) -> None:
    assert site.run("suggest", "--file", file, *words).exit_code == 2


def test_plain_text_from_standard_input(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{WOLF}\n\n{WOLF}\n{OWL}\n".encode()
    monkeypatch.setattr(
        "omicard_relay.cli.rules_suggest.sys", type("Sys", (), {"stdin": io.TextIOWrapper(io.BytesIO(text))})
    )
    assert [row["count"] for row in rows(site, "--file", "-")] == [2, 1]


def test_a_bad_line_is_named_and_the_rest_is_suggested(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_text(f"{json.dumps({'text': WOLF})}\n[]\n{json.dumps({'id': 1})}\n{json.dumps({'text': WOLF})}\n")
    result = site.run("suggest", "--file", path, "--jsonl")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == ["error: line 2: is not a JSON object", "error: line 3: has no `text`"]
    assert [json.loads(line)["count"] for line in result.stdout.splitlines()] == [2]


def test_a_file_that_is_not_there_is_named(site: Site) -> None:
    result = site.run("suggest", "--file", "/nowhere/replies")
    assert result.exit_code == 1
    assert "/nowhere/replies: cannot be read (No such file or directory)" in result.stderr


def test_nothing_to_suggest_is_said(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "replies.txt"
    path.write_text("550 5.1.1 no such user\n")
    result = site.run("suggest", "--file", path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "there is nothing to suggest: the rules read all 1 replies" in result.stderr


def test_control_characters_do_not_reach_the_terminal(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "replies.txt"
    path.write_text("550 wolves \x1b[31mdevour\u202e every parcel in sight\n", "utf-8")
    for words in ([], ["--toml"], ["--jsonl"]):
        out = site.run("suggest", "--file", path, *words).stdout
        assert "every parcel in sight" in out
        assert not {"\x1b", "\u202e"} & set(out)


def test_top_limits_what_is_shown_and_accept_reaches_further(site: Site, file: str) -> None:
    assert len(rows(site, "--file", file, "--top", "1")) == 1
    assert "2 templates, 1 shown" in site.run("suggest", "--file", file, "--top", "1").stderr
    assert site.run("suggest", "--file", file, "--top", "1", "--accept", "2", "--code", "929").exit_code == 0


def test_all_templates_of_a_stream_can_be_accepted_one_after_the_other(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "stream.jsonl"
    path.write_bytes(b"".join(as_lines(made_replies())))
    for place in (2, 1, 0):  # from the end, so that numbers stay
        result = site.run("suggest", "--file", path, "--accept", str(place + 1))
        assert result.exit_code == 0, result.stderr
    left = [row["count"] for row in rows(site, "--file", str(path), "--top", "100")]
    assert left == [origin.count for origin in ORIGINS[3:]]


@pytest.fixture
def filled(site: Site) -> Site:
    """Three unclear replies and a clear one in the site's store."""
    store = open_store(load_settings(site.config).store_url)
    words = [WOLF, WOLF.replace("7", "8"), "451 " + OWL]
    lines = [
        delivery(f"bob{n}@a{n}.example", "bounced", said(text), queue_id=f"4QAAAAA{n}", at=n)
        for n, text in enumerate(words)
    ]
    lines.append(delivery("eve@b.example", "bounced", UNKNOWN, queue_id="4QEEEEE1", at=9))
    Follower(Settings(), store, Rulebook.of(load_policies(), {})).take([line.rstrip() for line in lines], None, now=NOW)
    store.close()
    return site


def test_the_store_is_read_when_no_file_is_named(filled: Site) -> None:
    first, second = rows(filled)
    assert (first["count"], first["domains"], first["codes"]) == (2, 2, {"550 5.7.1": 1, "550 5.8.1": 1})
    assert (second["count"], second["proposed_code"], second["proposed_by"]) == (1, "928", "reply-class")
    assert rows(filled, "--since", "2027-01-01") == []
    assert [row["count"] for row in rows(filled, "--limit", "2")] == [1, 1]


def test_what_waits_for_a_release_is_not_suggested_again(filled: Site) -> None:
    filled.write(rule_text(), "moon.toml")
    assert filled.run("publish", "--yes", "--note", "first").exit_code == 0
    assert filled.run("suggest", "--accept", "1").exit_code == 0
    result = filled.run("suggest")
    assert "2 replies are read by rules that wait for `omicard-relay rules publish`" in result.stderr
    assert "wolves" not in result.stdout


def test_drain_is_not_loaded_before_it_is_needed() -> None:
    """It takes 0.07 s to load."""
    code = "import sys; import omicard_relay.cli.rules_suggest; sys.exit('drain3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
