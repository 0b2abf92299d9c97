"""`rules add` and `rules remove`."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from omicard_relay.classify import Judge
from omicard_relay.tables import load_policies
from tests.ruling import Site, rule_text, ship, site_in, small_set

MOON = "450 4.7.1 <ann@example.com>: Come back when the moon is high [192.0.2.1]"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = small_set(tmp_path / "shipped")
    ship(folder, monkeypatch.setattr)
    return folder


@pytest.fixture
def site(tmp_path: Path, shipped: Path) -> Site:
    return site_in(tmp_path / "site")


def entries(site: Site) -> list[dict[str, object]]:
    return tomllib.loads(site.own.read_text("utf-8"))["rule"]


def test_an_example_alone_makes_a_rule_that_judges_it(site: Site) -> None:
    result = site.run("add", "--code", "938", "--example", MOON)
    assert result.exit_code == 0
    assert "phrase taken from the example: “come back when the moon is high”" in result.stderr
    (entry,) = entries(site)
    assert entry == {
        "id": "site-938-come-back-when-the-moon",
        "bounce_code": 938,
        "strength": "text",
        "phrases": ["come back when the moon is high"],
        "source": "own log",
        "seen": datetime.now(UTC).astimezone().date(),
        "examples": [MOON],
    }
    assert "rules publish" in result.stdout
    assert "rules remove site-938-come-back-when-the-moon" in result.stdout
    verdict = Judge(load_policies(site.policies)).judge_text("450 <bob@example.net> come back when the moon is high")
    assert verdict.rule_id == entry["id"]


def test_every_option_reaches_the_rule(site: Site) -> None:
    words = {
        "--id": "own-all", "--phrase": "moon … high", "--pattern": "m[o0]on", "--unless": "sun", "--strength": "token",
        "--stage": "data", "--host": "example.com", "--reply-class": "4", "--action": "alert", "--temporary-code": "939",
        "--temporary-action": "retry", "--source": "help page", "--seen": "2026-11-20", "--not-example": "450 sun and moon",
        "--example": "450 the moon is high",
    }  # fmt: skip
    result = site.run("add", "--code", "938", "--weak", *(word for pair in words.items() for word in pair))
    assert result.exit_code == 0, result.stderr
    (entry,) = entries(site)
    assert {
        key: entry[key] for key in ("stage", "host", "reply_class", "weak", "action", "temporary_code", "strength")
    } == {
        "stage": ["data"],
        "host": ["example.com"],
        "reply_class": 4,
        "weak": True,
        "action": "alert",
        "temporary_code": 939,
        "strength": "token",
    }
    assert (entry["unless"], entry["source"], str(entry["seen"])) == ("sun", "help page", "2026-11-20")
    assert entry["not_examples"] == ["450 sun and moon"]


def test_a_second_rule_of_the_same_words_gets_another_id(site: Site) -> None:
    for words in ((), ("--phrase", "come back when the moon is high")):
        assert site.run("add", "--code", "938", "--example", MOON, *words, "--force").exit_code == 0
    assert [entry["id"] for entry in entries(site)] == [
        "site-938-come-back-when-the-moon",
        "site-938-come-back-when-the-moon-2",
    ]


def test_words_of_another_script_make_an_id_of_the_code(site: Site) -> None:
    assert site.run("add", "--code", "938", "--example", "450 月亮太低，請稍後再來").exit_code == 0
    assert entries(site)[0]["id"] == "site-938"


REFUSED = {
    "its example gets another code": (
        ["--phrase", "user", "--weak", "--example", "550 no such user"],
        "should get 938 and gets 902 by rule base-unknown",
    ),
    "its example does not hold its words": (["--phrase", "moon", "--example", "450 star"], "gets 900 by rule no-cause"),
    "its counter-example hits": (
        ["--phrase", "moon", "--example", "450 moon", "--not-example", "450 full moon"],
        "the counter-example “450 full moon” gets this rule",
    ),
    "it takes another's example": (
        ["--phrase", "no such user", "--strength", "token", "--example", "550 no such user"],
        "the example “550 5.1.1 no such user” of rule base-unknown was 902 by base-unknown, and would be 938",
    ),
    "it contradicts another": (
        ["--phrase", "user unknown here", "--example", "550 user unknown here"],
        "on the example “550 user unknown here” rule",
    ),
}


@pytest.mark.parametrize(("words", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_a_rule_that_does_harm_is_refused_with_the_reason_and_force_writes_it(
    words: list[str], says: str, site: Site
) -> None:
    result = site.run("add", "--code", "938", "--id", "own-bad", *words)
    assert result.exit_code == 1
    assert says in result.stderr
    assert not site.own.exists()
    assert site.run("add", "--code", "938", "--id", "own-bad", *words, "--force").exit_code == 0
    assert entries(site)[0]["id"] == "own-bad"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--pattern", "x.*y"], "with a gap that has no bound"),
        (["--pattern", "(?<=x)y"], "not linear-time"),
        (["--pattern", "x?"], "also matches an empty text"),
        (["--phrase", "moon", "--strength", "enhanced"], "`moon` is no code"),
        (["--phrase", "m"], "`phrases` has a wrong value"),
        (["--phrase", "moon", "--id", "No Id"], "`id` has a wrong value"),
        (["--phrase", "moon", "--host", "exa mple"], "`host` has a wrong value"),
    ],
)
def test_a_rule_that_is_not_well_formed_is_refused_even_with_force(words: list[str], says: str, site: Site) -> None:
    result = site.run("add", "--code", "938", "--example", MOON, "--force", *words)
    assert result.exit_code == 1
    assert says in result.stderr
    assert not site.own.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--example", MOON],
        ["--code", "938"],
        ["--code", "801", "--example", MOON],
        ["--code", "938", "--example", MOON, "--stage", "lunch"],
        ["--code", "938", "--example", MOON, "--seen", "yesterday"],
    ],
)
def test_wrong_usage_ends_with_2(words: list[str], site: Site) -> None:
    assert site.run("add", *words).exit_code == 2


def test_an_example_without_words_asks_for_a_phrase(site: Site) -> None:
    result = site.run("add", "--code", "938", "--example", "550 5.1.1")
    assert result.exit_code == 1
    assert "give --phrase or --pattern" in result.stderr


def test_an_id_that_exists_needs_replace(site: Site) -> None:
    words = [
        "add",
        "--code",
        "901",
        "--id",
        "base-full",
        "--phrase",
        "mailbox is full",
        "--example",
        "552 mailbox is full",
    ]
    refused = site.run(*words)
    assert refused.exit_code == 1
    assert "base.toml:4, shipped" in refused.stderr
    result = site.run(*words, "--replace", "--action", "alert")
    assert result.exit_code == 0, result.stderr
    assert "It takes the place of the one in" in result.stdout
    assert load_policies(site.policies).rules_by_id["base-full"].action == "alert"


def test_dry_run_shows_and_leaves_no_trace(site: Site) -> None:
    result = site.run("add", "--code", "938", "--example", MOON, "--dry-run")
    assert result.exit_code == 0
    assert "nothing was" in result.stdout
    assert 'phrases = ["come back when the moon is high"]' in result.stdout
    assert not (site.folder / "data").exists()


def test_after_a_release_it_says_that_publishing_is_left_to_do(site: Site) -> None:
    released = site.folder / "data" / "released"
    (released / "7").mkdir(parents=True)
    (released / "current").write_text("7\n")
    assert (
        "Release 7 is in force and does not have it yet" in site.run("add", "--code", "938", "--example", MOON).stdout
    )


def test_remove_takes_it_out_and_shows_what_it_was(site: Site) -> None:
    before = "# mine\n\n" + rule_text("own-sun", phrases=["sun"], examples=["450 sun"])
    site.write(before)
    site.run("add", "--code", "938", "--id", "own-moon", "--example", MOON)
    result = site.run("remove", "own-moon", lang="zh-TW")
    assert result.exit_code == 0
    assert 'id = "own-moon"' in result.stdout
    assert "復原" in result.stdout
    assert site.own.read_text("utf-8").rstrip("\n") == before.rstrip("\n")


def test_remove_of_a_shipped_rule_or_of_none_is_refused(site: Site) -> None:
    for rule_id in ("base-full", "nonsense"):
        result = site.run("remove", rule_id)
        assert result.exit_code == 1
        assert "the site has no rule" in result.stderr


def test_remove_that_changes_others_examples_needs_force(site: Site) -> None:
    site.write(
        rule_text("own-1", phrases=["moon"], examples=["450 moon"])
        + rule_text("own-2", phrases=["moon light"], examples=["450 moon light", "450 moon"])
    )
    result = site.run("remove", "own-1")
    assert result.exit_code == 1
    assert "the example “450 moon” of rule own-2 was 938 by own-1, and would be 900" in result.stderr
    assert len(entries(site)) == 2
    assert site.run("remove", "own-1", "--dry-run", "--force").exit_code == 0
    assert len(entries(site)) == 2
    assert site.run("remove", "own-1", "--force").exit_code == 0
    assert [entry["id"] for entry in entries(site)] == ["own-2"]
