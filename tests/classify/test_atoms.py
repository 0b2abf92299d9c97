"""The clauses of an expression's branches never say "no" where google-re2 says "yes"."""

import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.classify.atoms import Clauses, clauses_of, spread
from omicard_relay.classify.expressions import read_expression
from omicard_relay.classify.wording import folded_octets, wording_of
from omicard_relay.mail import read_reply
from tests.judging import matches, policies, spliced

RULES = policies().rules


def branches_of(pattern: str) -> tuple[Clauses, ...]:
    """The clauses of each branch; one branch without any where the expression is beyond the reader."""
    try:
        node = read_expression(pattern)
    except (IndexError, ValueError):
        return ((),)
    return tuple(clauses_of(branch) for branch in spread(node))


def perhaps(pattern: str, octets: bytes) -> bool:
    return any(
        all(any(word.encode() in octets for word in clause) for clause in branch) for branch in branches_of(pattern)
    )


def test_plain_words_are_one_literal_across_word_boundaries() -> None:
    assert branches_of(r"\bmail\b box\b") == ((frozenset({"mail box"}),),)


def test_an_optional_letter_is_told_apart() -> None:
    ((first, *_),) = branches_of("mail ?box full")
    assert first == {"mail box full", "mailbox full"}


def test_choice_becomes_branches() -> None:
    assert branches_of(r"\b(quota|no space)\b") == ((frozenset({"quota"}),), (frozenset({"no space"}),))


def test_optional_part_is_not_demanded() -> None:
    assert perhaps(r"full( stop)?", b"full")


def test_inner_choice_is_one_clause() -> None:
    assert branches_of(r"user.{0,9}(unknown|absent)") == ((frozenset({"unknown", "absent"}), frozenset({"user"})),)


def test_beyond_the_reader_is_always_a_candidate() -> None:
    assert branches_of(r"(?i)x") == ((),)
    assert branches_of(r"\p{Greek}x") == ((),)
    assert branches_of(r"ab[[:digit:]]") == ((),)


def test_escaped_characters_are_literal() -> None:
    assert branches_of(r"5\.1\.1 no") == ((frozenset({"5.1.1 no"}),),)


def test_a_large_choice_stays_together() -> None:
    words = [f"w{chr(97 + first)}{chr(97 + second)}" for first in range(13) for second in range(10)]
    pattern = f"({'|'.join(words)})x"
    assert len(spread(read_expression(pattern))) <= 130
    assert all(perhaps(pattern, f"{word}x".encode()) for word in words)


PIECES = st.sampled_from(
    [
        "ab", "c", "(ab|cd)", "(a|b|)", "(ab|(cd|ef)g)", "x?", "(yz)?", "[ab]", "[α-ω]", ".{0,3}", r"\b", "(ab)+", "q{2}",
        "(mn){0,2}", r"\d", r"\S", " ", "(ab.{0,2}|cd)", "ς", "信箱",
    ]
)  # fmt: skip


@given(st.lists(PIECES, min_size=1, max_size=6), st.text(alphabet="abcdefgxyzqmn1 ςσλ信箱", max_size=20))
@settings(max_examples=400, deadline=None)
def test_whatever_matches_is_a_candidate(pieces: list[str], text: str) -> None:
    pattern = "".join(pieces)
    octets = folded_octets(text)
    if matches(pattern, octets):
        assert perhaps(pattern, octets)


def test_whatever_matches_of_the_shipped_expressions_is_a_candidate() -> None:
    expressions = [(rule, rule.pattern) for rule in RULES if rule.pattern][::2] + [
        (r, r.unless) for r in RULES if r.unless
    ][::2]
    matched = 0
    for (rule, expression), other in zip(expressions, spliced(len(expressions), 31), strict=True):
        for text in (rule.examples[0], other):
            octets = wording_of(read_reply(text).innermost).octets
            if matches(expression, octets):
                matched += 1
                assert perhaps(expression, octets), (rule.id, expression, text)
    assert matched > 500


def test_branches_of_a_spread_tree_are_expressions_of_their_own() -> None:
    for pattern in (r"\b(ab|c[de]) ?x", "(a|b){2}c", "(no|not (yet|now)) found", r"\d[ab]q"):
        sources = [branch.source for branch in spread(read_expression(pattern))]
        for text in ("ab x", "cdx", "abc", "bac", "not now found", "no found", "3aq", "nothing"):
            assert any(re2.search(source, text) for source in sources) == bool(re2.search(pattern, text))
