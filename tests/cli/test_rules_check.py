"""`rules check` and `rules test`."""

import json
from pathlib import Path

import pytest

from omicard_relay.cli.language import choose_language, current_language
from omicard_relay.cli.rules_findings import describe
from omicard_relay.tables.findings import Finding, FindingKind
from tests.ruling import Site, rule_text, ship, site_in, small_set

#: Rules for the codes that the small set lacks, so that a sound set has no finding at all.
REST = "".join(
    rule_text(f"rest-{n}", bounce_code=n, phrases=[f"cause number {n}"], examples=[f"550 cause number {n}"])
    for n in range(900, 940)
    if n not in (901, 902, 907)
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = small_set(tmp_path / "shipped")
    (folder / "rules" / "rest.toml").write_text(REST)
    ship(folder, monkeypatch.setattr)
    return site_in(tmp_path / "site")


def rows(site: Site, *words: str | Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in site.run("check", "--jsonl", *words).stdout.splitlines()]


def test_a_sound_set_ends_with_0_and_says_nothing(site: Site) -> None:
    site.write(rule_text())
    result = site.run("check")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "41 rules: 0 errors, 0 warnings" in result.stderr


def test_every_fault_is_told_with_file_line_rule_and_what_to_do(site: Site) -> None:
    path = site.write(rule_text(phrase=["x"]) + rule_text("own-bad", examples=["550 no such user"]))
    result = site.run("check")
    assert result.exit_code == 1
    first, second = result.stdout.splitlines()
    assert first == f"{path}:8: error: rule own-moon: there is no key `phrase`; did you mean `phrases`?"
    assert second.startswith(
        f"{path}:10: error: rule own-bad: the example “550 no such user” should get 938 and gets 902"
    )
    assert second.endswith("make the words more exact, or correct the code")


def test_warnings_are_no_errors_unless_strict(site: Site) -> None:
    site.write(rule_text(source=None))
    assert site.run("check").exit_code == 0
    assert "warning: rule own-moon: there is no `source`" in site.run("check").stdout
    assert site.run("check", "--strict").exit_code == 1
    assert [row["level"] for row in rows(site)] == ["warning"]


def test_jsonl_has_the_same_keys_in_every_language(site: Site) -> None:
    path = site.write(rule_text(pattern="x.*"))
    (row,) = rows(site)
    assert {key: row[key] for key in ("level", "kind", "file", "line", "rule")} == {
        "level": "error",
        "kind": "unbounded",
        "file": str(path),
        "line": 8,
        "rule": "own-moon",
    }
    assert row["found_found"] == "x.*"
    assert "`.{0,60}`" in str(row["text"])
    chinese = json.loads(site.run("check", "--jsonl", lang="zh-TW").stdout)
    assert chinese.keys() == row.keys()
    assert "`.{0,60}`" in chinese["text"]


def test_a_code_without_a_rule_is_a_finding_of_the_whole_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(small_set(tmp_path / "few"), monkeypatch.setattr)
    result = site_in(tmp_path / "other").run("check")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 37
    assert "error: no rule leads to code 903 (not-in-directory); write one" in result.stdout


def test_a_file_that_is_not_in_the_set_is_checked_over_it(site: Site, tmp_path: Path) -> None:
    site.write(rule_text(source=None))
    path = tmp_path / "new.toml"
    path.write_text(
        rule_text("new-1", strength="token", bounce_code=904, phrases=["no such"], examples=["550 no such"])
    )
    found = rows(site, path)
    assert [(row["rule"], row["kind"]) for row in found] == [("base-unknown", "example-fails")]
    path.write_text(rule_text("new-1"))
    assert site.run("check", path).exit_code == 0


@pytest.mark.parametrize("inside", ["", "rules"], ids=["folder of files", "policies folder"])
def test_a_folder_is_checked(inside: str, site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    (folder / inside).mkdir(parents=True)
    (folder / inside / "x.toml").write_text(rule_text("x-1", colour=1))
    assert [row["kind"] for row in rows(site, folder)] == ["unknown-key"]


def test_a_path_that_is_none_is_told(site: Site, tmp_path: Path) -> None:
    result = site.run("check", tmp_path / "absent.toml")
    assert result.exit_code == 1
    assert "there is no such file or folder" in result.stderr


@pytest.mark.parametrize("kind", list(FindingKind))
@pytest.mark.parametrize("lang", ["en", "zh-TW"])
def test_every_kind_of_finding_has_its_sentence(kind: FindingKind, lang: str) -> None:
    names = ("entry", "near", "allowed", "why", "found", "other", "example", "expected", "got", "by", "words", "phrase",
             "code", "other_code", "name", "wanted")  # fmt: skip
    before = current_language()
    choose_language(lang)
    try:
        assert len(describe(Finding(kind=kind, fields=dict.fromkeys(names, "?")))) > 6
    finally:
        choose_language(before)


# --- test -------------------------------------------------------------------------------------------------------------


def release(site: Site) -> None:
    """A first release without the site's rules."""
    released = site.folder / "data" / "released"
    (released / "1").mkdir(parents=True)
    (released / "current").write_text("1\n")


def test_a_text_gets_every_proposal_and_the_reason(site: Site) -> None:
    site.write(rule_text())
    result = site.run("test", "550 no such user when the moon is high")
    assert result.exit_code == 0
    text = " ".join(result.stdout.replace("│", " ").split())
    assert "by the working copy: 938 ip-blocked-temporarily, retry" in text
    assert "own-moon" in text
    assert "base-unknown" in text
    assert "base-550" in text
    assert "The rules in force" not in text


def test_the_rules_in_force_stand_beside_when_they_differ(site: Site) -> None:
    site.write(rule_text())
    release(site)
    text = "450 come back when the moon is high"
    assert "The rules in force say something else." in site.run("test", text).stdout
    row = json.loads(site.run("test", "--jsonl", text).stdout)
    assert (row["draft"]["code"], row["active"]["code"], row["differs"]) == ("938", "900", True)
    assert set(json.loads(site.run("test", "--jsonl", "--draft", text).stdout)) == {"text", "differs", "draft"}
    assert json.loads(site.run("test", "--jsonl", "--active", text).stdout)["active"]["rule"] == "no-cause"


@pytest.mark.parametrize(
    ("keys", "words", "code"),
    [
        ({"stage": ["data"]}, ["--stage", "data"], "938"),
        ({"stage": ["data"]}, ["--stage", "rcpt"], "900"),
        ({"host": ["example.com"]}, ["--host", "mx1.example.com"], "938"),
        ({"host": ["example.com"]}, ["--recipient", "ann@example.com"], "938"),
        ({"host": ["example.com"]}, [], "900"),
    ],
)
def test_stage_host_and_recipient_count(keys: dict[str, list[str]], words: list[str], code: str, site: Site) -> None:
    site.write(rule_text(**keys))
    result = site.run("test", "--jsonl", *words, "450 when the moon is high")
    assert json.loads(result.stdout)["draft"]["code"] == code


def test_why_each_lost_is_told(site: Site) -> None:
    site.write(
        rule_text("own-1", bounce_code=938, strength="token", phrases=["moon"])
        + rule_text("own-2", bounce_code=904, phrases=["star"])
    )
    row = json.loads(site.run("test", "--jsonl", "550 no such user, moon, star").stdout)["draft"]
    assert row["rule"] == "own-1"
    assert {one["rule"]: one["why"] for one in row["runners_up"]} == {
        "own-2": "strength",
        "base-unknown": "strength",
        "base-550": "strength",
    }


def test_without_a_text_all_examples_are_judged(site: Site) -> None:
    site.write(rule_text())
    result = site.run("test")
    assert (result.exit_code, result.stdout) == (0, "42 examples of 41 rules: 0 fail\n")
    site.write(rule_text(examples=["550 no such user"], not_examples=["450 when the moon is high"]))
    result = site.run("test")
    assert result.exit_code == 1
    assert "rule own-moon: “550 no such user” should get 938, gets 902 by base-unknown" in result.stdout
    assert "must not get this rule, and does" in result.stdout
    found = [json.loads(line) for line in site.run("test", "--jsonl").stdout.splitlines()]
    assert [(one["rule"], one["counter"]) for one in found] == [("own-moon", False), ("own-moon", True)]


def test_hostile_text_is_shown_harmless(site: Site) -> None:
    assert "\x1b" not in site.run("test", "550 no such user \x1b[31m\u202e").stdout
