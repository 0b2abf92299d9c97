"""Rule files edited as text: one rule changes, every other octet stays."""

import tomllib
from datetime import date

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.mail import Action, Stage, TableError
from omicard_relay.tables.rules import Rule, Strength
from omicard_relay.tables.ruletext import added, blocks_of, replaced, without, written
from tests.ruling import SHIPPED, rule_text

RULE = Rule(id="own-moon", bounce_code=938, strength=Strength.TEXT, phrases=("moon",), examples=("450 moon",))

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def read(whole: str) -> list[dict[str, object]]:
    return tomllib.loads(whole.removeprefix("\ufeff")).get("rule", [])


@given(
    st.builds(
        Rule,
        id=st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True),
        bounce_code=st.integers(900, 939),
        temporary_code=st.none() | st.integers(900, 939),
        strength=st.sampled_from(Strength),
        pattern=text,
        phrases=st.lists(text.filter(lambda one: len(one) >= 2), max_size=6).map(tuple),
        unless=text,
        stage=st.lists(st.sampled_from(Stage), max_size=2).map(tuple),
        reply_class=st.sampled_from([None, 2, 4, 5]),
        weak=st.booleans(),
        action=st.none() | st.sampled_from(Action),
        source=text,
        seen=st.none() | st.dates(min_value=date(1000, 1, 1)),
        examples=st.lists(text, min_size=1, max_size=4).map(tuple),
        not_examples=st.lists(text, max_size=2).map(tuple),
    )
)
@settings(max_examples=200)
def test_a_written_rule_reads_as_the_same_rule(rule: Rule) -> None:
    assert msgspec.convert(read(written(rule))[0], Rule) == rule


@pytest.mark.parametrize(
    "before",
    ["", SHIPPED, SHIPPED.rstrip("\n"), SHIPPED.replace("\n", "\r\n"), "\ufeff" + SHIPPED, "# words\n"],
    ids=["empty", "plain", "no line break at the end", "crlf", "byte order mark", "comment only"],
)
def test_adding_keeps_what_was_there_and_removing_brings_it_back(before: str) -> None:
    after = added(before, RULE)
    assert after.startswith(before)
    assert [entry["id"] for entry in read(after)] == [*[entry["id"] for entry in read(before)], "own-moon"]
    assert without(after, "own-moon").rstrip("\n") == before.rstrip("\n")


@pytest.mark.parametrize("rule_id", ["base-full", "base-unknown", "base-550"])
def test_removing_one_rule_leaves_every_other_line_and_all_comments(rule_id: str) -> None:
    after = without(SHIPPED, rule_id)
    assert rule_id not in after
    assert "# The shipped rules." in after
    assert "# Who is not there." in after
    assert [entry for entry in read(SHIPPED) if entry["id"] != rule_id] == read(after)


def test_replacing_keeps_the_place_and_the_comments() -> None:
    rule = msgspec.structs.replace(RULE, id="base-unknown")
    after = replaced(SHIPPED, rule)
    assert [entry["id"] for entry in read(after)] == ["base-full", "base-unknown", "base-550"]
    assert read(after)[1]["phrases"] == ["moon"]
    first, second = SHIPPED.split('[[rule]]\nid = "base-unknown"')
    assert after.startswith(first)
    assert after.endswith(second[second.index("\n\n[[rule]]") :])


@pytest.mark.parametrize(
    "whole",
    [
        'rule = [{id = "own-moon", x = 1}]\n',
        '[[rule]]\nid = "own-moon"\nx = """\n[[rule]]\n"""\n',
        '[[rule]]\nid = "own-moon"\n[rule.more]\nx = 1\n[[ rule ]]\nid = "b"\ny = """\n[[rule]]\n"""',
        "[[rule\n",
    ],
    ids=["inline", "header inside a text", "table below", "no TOML"],
)
def test_a_file_that_cannot_be_cut_safely_is_left_to_an_editor(whole: str) -> None:
    with pytest.raises(TableError, match="editor"):
        without(whole, "own-moon")
    if not whole.startswith("[[rule]]"):
        with pytest.raises(TableError, match="editor"):
            added(whole, RULE)


def test_lines_are_those_of_an_editor() -> None:
    blocks = blocks_of(SHIPPED)
    lines = SHIPPED.split("\n")
    assert [lines[block.start] for block in blocks] == ["[[rule]]"] * 3
    assert lines[blocks[1].line_of("unless") - 1].startswith("unless")
    assert blocks[1].line_of("stage") == blocks[1].start + 1
    assert blocks[0].text.endswith('not_examples = ["550 5.1.1 no such user"]')


def test_rules_are_taken_out_one_after_the_other() -> None:
    one = added(SHIPPED, RULE) + "\n" + rule_text("own-second")
    for rule_id in ("base-full", "own-moon", "own-second"):
        one = without(one, rule_id)
    assert [entry["id"] for entry in read(one)] == ["base-unknown", "base-550"]
