"""read_expression: a tree whose sources say the same as the expression, or nothing at all."""

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.classify.expressions import Node, read_expression
from omicard_relay.tables import Strength
from tests.judging import matches, policies

PIECES = st.sampled_from(
    [
        "ab", "c", "Q", "é", "信箱", "ς", "(ab|cd)", "(a|b|)", "(?:x|yz)+", "x?", "(yz)?", "[ab]", "[^ab]", "[a-c]", "[α-ω]",
        "[a-z0-9-]", r"[\d.]", "[]x]", "[a-]", "[Z-ax]", "[A-z]", "[A-C]", ".", ".{0,3}", ".{2}", "(.?){2}", "(.|a){0,2}",
        r"\b", r"(\b)?", r"\.", r"\d", r"\s", r"\S", r"\w", r"\W", r"\B", "(ab)+", "q{2}", "(mn){0,2}", "a{2,}", "x*", "x+?",
        "^", "$", "|", " ", "-", "{,3}",
    ]
)  # fmt: skip
TEXTS = st.text(alphabet="abcdxyzqmn1Q -.]éςσΣ信箱Kz_", max_size=12)


def leaves(node: Node) -> list[Node]:
    return [node] if not node.parts else [leaf for part in node.parts for leaf in leaves(part)]


def test_plain_words_are_one_literal_after_the_other() -> None:
    node = read_expression("Full.")
    assert [(leaf.kind, leaf.text) for leaf in leaves(node)] == [
        *(("literal", letter) for letter in "full"),
        ("gap", ""),
    ]


def test_a_group_without_a_choice_is_part_of_the_sequence() -> None:
    assert [part.text for part in read_expression("a(b(?:c))d").parts] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("pattern", "ways"),
    [
        ("[ab]", {"a", "b"}),
        ("[0-3]", {"0", "1", "2", "3"}),
        ("[.-]", {".", "-"}),
        ("x?", {"", "x"}),
        ("x{1,3}", {"x", "xx", "xxx"}),
        ("(a|B|)", {"a", "b", ""}),
        (r"\d", set("0123456789")),
    ],
)
def test_a_choice_has_all_its_ways(pattern: str, ways: set[str]) -> None:
    (choice,) = read_expression(pattern).parts
    assert choice.kind == "choice"
    assert {"".join(leaf.text for leaf in leaves(part)) for part in choice.parts} == ways


@pytest.mark.parametrize(
    "pattern", ["[^ab]", "[a-z]", "[α-ω]", r"[\d.]", r"\w", r"\s", "x*", "(ab)*", "(.{0,2})?", "(.?){2}", "^", "$"]
)
def test_what_is_not_plain_is_opaque_and_keeps_its_source(pattern: str) -> None:
    (node,) = read_expression(pattern).parts
    assert node.kind in ("opaque", "choice", "repeat")
    if node.kind == "opaque":
        assert re2.fullmatch(node.source, "") is not None or node.source.replace("(?:", "(") == pattern


@pytest.mark.parametrize(
    ("pattern", "least", "most"), [(".", 1, 1), (".?", 0, 1), (".{0,40}", 0, 40), (".{3}", 3, 3), ("(?:.{0,9})", 0, 9)]
)
def test_a_bounded_gap_is_counted(pattern: str, least: int, most: int) -> None:
    (node,) = read_expression(pattern).parts
    assert (node.kind, node.least, node.most) == ("gap", least, most)


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "(a",
        "a)",
        "[a",
        "(?i)x",
        "(?P<n>x)",
        r"\pN",
        r"\Ax",
        r"\Qx\E",
        "x{,3}",
        "x{y}",
        "[[:digit:]]",
        "[A-z]",
        "\\",
    ],
)
def test_what_is_beyond_the_reader_raises(pattern: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        read_expression(pattern)


def test_both_sigmas_are_one_letter() -> None:
    assert [leaf.text for leaf in leaves(read_expression("ΟΣς"))] == ["ο", "σ", "σ"]


@given(st.lists(PIECES, max_size=6).map("".join), TEXTS)
@settings(max_examples=500, deadline=None)
def test_the_sources_say_the_same_as_the_expression(pattern: str, text: str) -> None:
    try:
        re2.compile(pattern)
        node = read_expression(pattern)
    except (re2.error, ValueError, IndexError):
        return
    octets = text.lower().encode()
    assert matches(node.source, octets) == matches(pattern, octets)
    spread_out = "".join(part.source for part in node.parts) if node.kind == "sequence" else node.source
    assert matches(spread_out, octets) == matches(pattern, octets)


def test_every_shipped_expression_is_read() -> None:
    patterns = [rule.pattern for rule in policies().rules if rule.pattern and rule.strength is not Strength.REPLY]
    assert len(patterns) > 1000
    for pattern in patterns:
        re2.compile(read_expression(pattern).source)
