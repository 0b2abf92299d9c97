"""branches_of never says "no" where google-re2 says "yes"."""

import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.classify.atoms import branches_of
from omicard_relay.classify.matcher import Matcher, expression_of, expressions_of
from omicard_relay.classify.wording import wording_of
from omicard_relay.tables import Rule, Strength, load_policies

RULES = load_policies().rules


def perhaps(pattern: str, text: str) -> bool:
    return any(all(any(word in text for word in clause) for clause in branch) for branch in branches_of(pattern))


def test_plain_words_are_literals() -> None:
    assert branches_of(r"\bmail ?box full\b") == ((frozenset({"box full"}), frozenset({"mail"})),)


def test_choice_becomes_branches() -> None:
    assert branches_of(r"\b(quota|no space)\b") == ((frozenset({"quota"}),), (frozenset({"no space"}),))


def test_optional_part_is_not_demanded() -> None:
    assert branches_of(r"full( stop)?") == ((frozenset({"full"}),),)


def test_inner_choice_is_one_clause() -> None:
    assert branches_of(r"user.{0,9}(unknown|absent)") == ((frozenset({"unknown", "absent"}), frozenset({"user"})),)


def test_beyond_the_reader_is_always_a_candidate() -> None:
    assert branches_of(r"(?i)x") == ((),)
    assert branches_of(r"\p{Greek}x") == ((),)


def test_escaped_characters_are_literal() -> None:
    assert branches_of(r"5\.1\.1 no") == ((frozenset({"5.1.1 no"}),),)


PIECES = st.sampled_from(
    ["ab", "c", "(ab|cd)", "(a|b|)", "x?", "(yz)?", "[ab]", ".{0,3}", r"\b", "(ab)+", "q{2}", "(mn){0,2}", r"\d", " "]
)


@given(st.lists(PIECES, min_size=1, max_size=6), st.text(alphabet="abcdxyzqmn1 ", max_size=20))
@settings(max_examples=600, deadline=None)
def test_whatever_matches_is_a_candidate(pieces: list[str], text: str) -> None:
    pattern = "".join(pieces)
    if re2.search(pattern, text):
        assert perhaps(pattern, text)


def test_no_shipped_expression_is_always_a_candidate() -> None:
    expressions = [
        e for rule in RULES if rule.strength in (Strength.TOKEN, Strength.TEXT) for e in expressions_of(rule)
    ]
    assert expressions
    assert [expression for expression in expressions if () in branches_of(expression)] == []


def test_every_example_word_reaches_its_own_rule() -> None:
    """The matcher finds exactly the rules that asking google-re2 one by one finds."""
    matcher = Matcher(RULES)
    texts = [wording_of(" ".join(example.split())) for rule in RULES[::7] for example in rule.examples]
    compiled = {
        index: [re2.compile(expression.encode(), _options()) for expression in expressions_of(rule)]
        for index, rule in enumerate(RULES)
        if rule.strength in (Strength.TOKEN, Strength.TEXT)
    }
    for wording in texts:
        by_patterns = {
            index
            for index, patterns in compiled.items()
            if any(p.search(wording.octets) for p in patterns) and not matcher.excepted(RULES[index], wording)
        }
        found = matcher.found(wording)
        assert by_patterns <= set(found)
        by_phrases = set(found) - by_patterns
        assert all(any(phrase.lower() in wording.folded for phrase in RULES[index].phrases) for index in by_phrases)


def _options() -> re2.Options:
    options = re2.Options()
    options.case_sensitive = False
    options.dot_nl = True
    options.never_capture = True
    return options


def test_phrase_with_gap_keeps_its_order() -> None:
    pattern = expression_of("user … unknown")
    assert re2.search(pattern, "the user ann is unknown")
    assert not re2.search(pattern, "unknown user")


def test_phrase_is_a_whole_word() -> None:
    rule = Rule(id="r", bounce_code=901, strength=Strength.TEXT, phrases=("full",), examples=("x",))
    matcher = Matcher((rule,))
    assert set(matcher.found(wording_of("it is full."))) == {0}
    assert set(matcher.found(wording_of("fully"))) == set()
    assert set(matcher.found(wording_of("fully full"))) == {0}
