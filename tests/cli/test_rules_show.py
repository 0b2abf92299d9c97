"""`rules list` and `rules show`."""

import json
from pathlib import Path

import pytest

from omicard_relay.cli.root import root
from omicard_relay.cli.rules import SUBCOMMANDS
from tests.ruling import Site, rule_text, ship, site_in, small_set


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    ship(small_set(tmp_path / "shipped"), monkeypatch.setattr)
    return site_in(tmp_path / "site")


@pytest.fixture
def layered(site: Site) -> Site:
    """One rule of each origin, and one that replaces a shipped one."""
    rules = site.policies / "packs" / "moon" / "rules"
    rules.mkdir(parents=True)
    (rules / "moon.toml").write_text(rule_text("moon-1"))
    site.write(
        rule_text("own-sun", phrases=["sun shine"], examples=["450 sun shine"], source="letter of Ann")
        + rule_text("base-550", bounce_code=909, phrases=["xyzzy"], examples=["550 xyzzy"], temporary_code=915)
    )
    return site


def ids(site: Site, *words: str) -> list[str]:
    result = site.run("list", "--jsonl", *words)
    assert result.exit_code == 0
    return [json.loads(line)["id"] for line in result.stdout.splitlines()]


def test_the_group_is_there_with_all_its_names() -> None:
    import click

    group = root.get_command(click.Context(root), "rules")
    assert isinstance(group, click.Group)
    assert set(group.list_commands(click.Context(group))) == set(SUBCOMMANDS)
    assert group.get_command(click.Context(group), "nonsense") is None


def test_list_tells_where_each_rule_comes_from(layered: Site) -> None:
    rows = {row["id"]: row for row in map(json.loads, layered.run("list", "--jsonl").stdout.splitlines())}
    assert {name: (row["layer"], row["replaces"]) for name, row in rows.items()} == {
        "base-full": ("shipped", []),
        "base-unknown": ("shipped", []),
        "base-550": ("site", ["shipped"]),
        "moon-1": ("pack moon", []),
        "own-sun": ("site", []),
    }
    assert (rows["own-sun"]["code"], rows["own-sun"]["line"]) == ("938", 2)
    assert Path(rows["own-sun"]["file"]) == layered.own
    assert rows["own-sun"]["rule"]["phrases"] == ["sun shine"]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--code", "938"), ["moon-1", "own-sun"]),
        (("--code", "915"), ["base-550"]),
        (("--strength", "reply"), []),
        (("--file", "MOON"), ["moon-1"]),
        (("--source", "of ann"), ["own-sun"]),
        (("--site",), ["base-550", "own-sun"]),
        (("--text", "Mailbox IS"), ["base-full"]),
        (("--site", "--code", "909"), ["base-550"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_list_is_narrowed(words: tuple[str, ...], wanted: list[str], layered: Site) -> None:
    assert ids(layered, *words) == wanted


def test_list_for_people_names_origins_in_their_language(layered: Site) -> None:
    text = layered.run("list", "--code", "909").stdout
    assert "base-550" in text
    assert "site replaces" in text
    shown = layered.run("list", "--code", "938", lang="zh-TW").stdout
    assert "規則包" in shown
    assert "own-sun" in shown


def test_list_without_a_hit_says_so(layered: Site) -> None:
    result = layered.run("list", "--text", "nothing such")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no rule is like that" in result.stderr


def test_list_shows_the_release_in_force_and_with_draft_the_working_copy(layered: Site) -> None:
    released = layered.folder / "data" / "released"
    (released / "1" / "rules").mkdir(parents=True)
    (released / "current").write_text("1\n")
    assert set(ids(layered)) == {"base-full", "base-unknown", "base-550"}
    assert set(ids(layered, "--draft")) >= {"own-sun", "moon-1"}


def test_show_has_place_text_code_examples_and_what_it_replaces(layered: Site) -> None:
    shown = layered.run("show", "base-550")
    assert shown.exit_code == 0
    assert f"{layered.own}:9, site replaces shipped" in shown.stdout.replace("\n", "")
    assert 'phrases = ["xyzzy"]' in shown.stdout
    assert "909 remote-misconfigured: " in shown.stdout
    assert "for a 4xx reply 915" in shown.stdout
    assert "It takes the place of" in shown.stdout
    assert 'source = "RFC 5321"' in shown.stdout


def test_show_tells_what_each_example_gets_now(layered: Site) -> None:
    layered.write(rule_text("own-moon", phrases=["star"], examples=["450 star", "550 no such user"]), "more.toml")
    row = json.loads(layered.run("show", "own-moon", "--jsonl").stdout)
    assert [(one["code"], one["rule"], one["passed"]) for one in row["results"]] == [
        ("938", "own-moon", True),
        ("902", "base-unknown", False),
    ]
    assert "FAILS" in layered.run("show", "own-moon").stdout
    assert "不符" in layered.run("show", "own-moon", lang="zh-TW").stdout


def test_show_of_a_typo_names_what_is_near(layered: Site) -> None:
    result = layered.run("show", "own-son")
    assert result.exit_code == 1
    assert "did you mean own-sun" in result.stderr
    assert "rules list" in layered.run("show", "\x1b[31mqqq").stderr


def test_a_broken_file_is_an_error_with_its_place(layered: Site) -> None:
    path = layered.write("[[rule]]\nid = 3\n", "bad.toml")
    result = layered.run("list")
    assert result.exit_code == 1
    assert str(path) in result.stderr
