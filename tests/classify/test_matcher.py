"""The matcher finds exactly what google-re2 finds: by phrases, by gaps, by expressions, and what speaks against a rule."""

import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.classify.index import expressions_of
from omicard_relay.classify.matcher import Matcher
from omicard_relay.classify.phrases import WORD_OCTETS
from omicard_relay.classify.wording import folded_octets, wording_of
from omicard_relay.mail import read_reply
from omicard_relay.tables import Rule, Strength
from tests.judging import (
    EVERYTHING,
    aside,
    found_by_matcher,
    found_by_re2,
    found_one_by_one,
    matcher_of,
    matches,
    policies,
    spliced,
    texts_of,
)

RULES = policies().shipped
MATCHER = Matcher(RULES, [0] * len(RULES))


def octets_of(text: str) -> bytes:
    return wording_of(read_reply(text).innermost).octets


def assert_same(octets: bytes) -> None:
    found = found_by_matcher(MATCHER, octets)
    by_re2 = found_by_re2(RULES, octets)
    assert {RULES[index].id for index in found} == {RULES[index].id for index in by_re2}


def test_every_rule_is_found_where_re2_finds_it_in_the_examples_of_all() -> None:
    for text in texts_of(RULES)[::3]:
        assert_same(octets_of(text))


def test_every_rule_is_found_where_re2_finds_it_in_spliced_texts() -> None:
    for text in spliced(700, seed=11):
        assert_same(octets_of(text))


def test_sets_of_re2_say_what_its_expressions_say_one_by_one() -> None:
    """So that the comparison above does not rest on a set that ran out of memory."""
    for text in spliced(12, seed=13):
        assert found_by_re2(RULES, octets_of(text)) == found_one_by_one(RULES, octets_of(text))


def test_the_place_found_is_one_of_the_rule() -> None:
    checked = 0
    for text in texts_of(RULES)[::5]:
        octets = octets_of(text)
        for index, (start, end) in found_by_matcher(MATCHER, octets).items():
            assert 0 <= start < end <= len(octets)
            around = octets[max(0, start - 1) : end + 1]
            anchored = start == 0 or end == len(octets)
            assert anchored or any(matches(expression, around) for expression in expressions_of(RULES[index]))
            checked += 1
    assert checked > 1000


def test_of_several_places_of_plain_phrases_the_longest_is_told() -> None:
    matcher = matcher_of(text_rule(phrases=("full", "mailbox full")))
    assert found_by_matcher(matcher, b"full, the mailbox full, full") == {0: (10, 22)}


def test_exceptions_hold_where_re2_says_so() -> None:
    excepting = [index for index, rule in enumerate(RULES) if rule.unless]
    assert len(excepting) > 300
    texts = [octets_of(text) for text in spliced(len(excepting) * 3, seed=17)]
    said = 0
    for number, index in enumerate(excepting):
        rule = RULES[index]
        own = [octets_of(text) for text in (*rule.examples[:1], *rule.not_examples)]
        for octets in (*own, *texts[number * 3 : number * 3 + 3]):
            excepted = MATCHER.excepted(index, octets)
            assert excepted == matches(rule.unless, octets), (rule.id, octets)
            said += excepted
    assert said > 100


def test_a_rule_without_exceptions_is_never_excepted() -> None:
    index = next(index for index, rule in enumerate(RULES) if not rule.unless)
    assert not MATCHER.excepted(index, b"anything")


# --- rules made from pieces -------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["full", "信箱", "é", "user", "no", "箱", "q1", "a_b", "x-", "[t]", "ς"])
PIECES = st.sampled_from(
    [
        "full", "信箱", "é", "(user|no)", "(a|)", "x?", "[ab]", "[a-f]{1,3}", r"\d", r"\d{2}", "q{2}", "(mn){0,2}", "x+",
        ".{0,3}", ".{0,9}", ".{2}", ".", r"\b", r"\B", " ", r"\.", "[^ ]{1,3}", r"\s", r"\w", r"\W{0,2}",
        "(no|not .{0,4}) ", "ς", "(箱|é)",
    ]
)  # fmt: skip
PATTERNS = st.lists(PIECES, min_size=1, max_size=5).map("".join)
PHRASES = st.lists(WORDS, min_size=1, max_size=3).map(" … ".join)
TEXTS = st.lists(
    st.sampled_from(
        ["full", "信箱", "é", "É", "user", "no ", "not 信 ", "a", "x", "xx", "qq", "mn", "1", "42", " ", ".", "_", "-", "Σ"]
    ),
    max_size=10,
).map("".join)  # fmt: skip


def text_rule(name: str = "r", **more: object) -> Rule:
    return Rule(id=name, bounce_code=901, strength=Strength.TEXT, examples=("x",), **more)  # type: ignore[arg-type]


@given(
    st.lists(PATTERNS, max_size=8), st.lists(PHRASES, min_size=1, max_size=4), st.lists(TEXTS, min_size=1, max_size=8)
)
@settings(max_examples=250, deadline=None)
def test_made_up_rules_are_found_where_re2_finds_them(
    patterns: list[str], phrases: list[str], texts: list[str]
) -> None:
    rules = tuple(
        [text_rule(f"p{number}", pattern=pattern) for number, pattern in enumerate(patterns)]
        + [text_rule(f"w{number}", phrases=(words,)) for number, words in enumerate(phrases)]
    )
    matcher = matcher_of(*rules)
    for text in texts:
        octets = folded_octets(text)
        if not octets:
            continue
        wanted = {index for index, rule in enumerate(rules) if any(matches(e, octets) for e in expressions_of(rule))}
        found = found_by_matcher(matcher, octets)
        # An expression that matches nothing at all says nothing; the tables refuse it.
        empty = {index for index, rule in enumerate(rules) if rule.pattern and matches(rule.pattern, b"")}
        assert set(found) - empty == wanted - empty, (octets, [rules[i] for i in set(found) ^ wanted])


@given(PATTERNS, TEXTS)
@settings(max_examples=300, deadline=None)
def test_made_up_exceptions_hold_where_re2_says_so(pattern: str, text: str) -> None:
    matcher = matcher_of(text_rule(phrases=("full",), unless=pattern))
    octets = folded_octets(text)
    if octets and not matches(pattern, b""):
        assert matcher.excepted(0, octets) == matches(pattern, octets)


NEIGHBOURS = ["", " ", "a", "7", "_", "-", "信", "é", "\U0001f4eb"]


@pytest.mark.parametrize("words", ["full", "-full", "full]", "信箱", "x"])
def test_a_phrase_stands_alone_beside_every_neighbour(words: str) -> None:
    matcher = matcher_of(text_rule(phrases=(words,)))
    for left in NEIGHBOURS:
        for right in NEIGHBOURS:
            octets = f"{left}{words}{right}".encode()
            is_joined = (
                left.encode()[-1:] and left.encode()[-1] in WORD_OCTETS and words.encode()[0] in WORD_OCTETS
            ) or (right.encode()[:1] and right.encode()[0] in WORD_OCTETS and words.encode()[-1] in WORD_OCTETS)
            assert bool(found_by_matcher(matcher, octets)) == (not is_joined), octets


def test_a_phrase_inside_a_longer_word_does_not_hide_the_one_that_stands_alone() -> None:
    matcher = matcher_of(text_rule(phrases=("full", "user … full")))
    assert set(found_by_matcher(matcher, b"fully full")) == {0}
    assert set(found_by_matcher(matcher, b"fully")) == set()


def test_a_large_expression_that_the_tables_take_is_asked_for() -> None:
    wide = "|".join(f"{letter}.{{0,300}}é.{{0,300}}[^{letter}]{{1,300}}z" for letter in "ab")
    matcher = matcher_of(text_rule(pattern=wide))
    assert set(found_by_matcher(matcher, "a - é - bz".encode())) == {0}


# --- what is asked, and in which order ----------------------------------------------------------------------------------


def test_the_strongest_are_asked_first_and_the_weaker_ones_not_at_all() -> None:
    rules = tuple(text_rule(f"r{rank}", pattern=f"over [^ ]{{1,9}} quota[{rank}x]") for rank in range(5))
    with aside():
        matcher = Matcher(rules, [4, 0, 3, 1, 2])
    hits = matcher.hits(b"over your quotax")
    assert [question[2] for question in matcher.promised(hits, EVERYTHING)] == [1, 3, 4, 2, 0]
    assert [question[2] for question in matcher.promised(hits, 2)] == [1, 3, 4]
    assert matcher.promised(hits, -1) == []


def test_what_is_promised_is_asked_once() -> None:
    matcher = matcher_of(text_rule(pattern="(alpha|beta)[^ ]{1,3}(gamma|delta)"))
    hits = matcher.hits(b"alpha beta alpha gamma delta")
    questions = matcher.promised(hits, EVERYTHING)
    assert len(questions) == len({question[1] for question in questions})


def test_an_empty_text_has_no_hits() -> None:
    assert MATCHER.hits(b"") == []
    assert found_by_matcher(MATCHER, b"") == {}


def test_several_threads_share_a_matcher() -> None:
    texts = [octets_of(text) for text in spliced(150, seed=19)]
    wanted = [found_by_matcher(MATCHER, octets) for octets in texts]
    wrong: list[int] = []

    def work(seed: int) -> None:
        order = list(range(len(texts)))
        random.Random(seed).shuffle(order)  # noqa: S311  an order, no secret
        wrong.extend(place for place in order if found_by_matcher(MATCHER, texts[place]) != wanted[place])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
