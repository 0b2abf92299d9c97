"""Phrases: written out, an expression finds exactly what google-re2 finds by it, and in the same place."""

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.classify import phrases
from omicard_relay.classify.phrases import WORD_OCTETS, Part, find_phrase, plain_phrase, write_out
from omicard_relay.classify.wording import folded_octets
from tests.judging import matches, policies

#: Pieces of an expression, each with some texts that it matches.
PIECES: dict[str, tuple[str, ...]] = {
    "full": ("full", "FULL"), "信箱": ("信箱",), "é": ("é", "É"), "ς": ("ς", "Σ", "σ"), "ab": ("ab",), "_": ("_",),
    "(user|mail ?box)": ("user", "mailbox", "mail box"), "(a|)": ("a", ""), "x?": ("x", ""), "[ab]": ("a", "B"),
    "[α-ω]": ("λ",), r"\d": ("0", "7"), "q{2}": ("qq",), "(mn){0,2}": ("", "mn", "mnmn"), "x+": ("x", "xx"),
    ".{0,3}": ("", "z", "信信信", "é 1"), ".{2}": ("zz", "信é"), ".": ("-",), ".{0,9}": ("", "123456789", "信" * 9),
    r"\b": ("", " "), " ": (" ",), r"\.": (".",), "(.?){2}": ("", "z", "zz"), "[^ ]{1,3}": ("z", "信é1"),
    "(no|not .{0,4}) ": ("no ", "not so "), r"(\bis\b|are)": ("is", "are"), r"\S": ("z",), "(.x|y.)": ("zx", "y信"),
}  # fmt: skip
SCRAPS = st.sampled_from(["", " ", "a", "x", "信", "é", ".", "1", "_", "full", "user"])


@st.composite
def expression_and_text(draw: st.DrawFn) -> tuple[str, str]:
    """An expression, and a text that mostly has what it wants, or nearly."""
    pieces = draw(st.lists(st.sampled_from(sorted(PIECES)), min_size=1, max_size=6))
    text = draw(SCRAPS)
    for piece in pieces:
        text += draw(st.sampled_from(PIECES[piece]))
        if draw(st.integers(0, 9)) == 0:
            text += draw(SCRAPS)
    return "".join(pieces), text + draw(SCRAPS)


@given(expression_and_text())
@settings(max_examples=800, deadline=None)
def test_phrases_and_branches_find_what_re2_finds(case: tuple[str, str]) -> None:
    pattern, text = case
    octets = folded_octets(text)
    written, branches = write_out(pattern)
    places = [place for phrase in written if (place := find_phrase(octets, phrase)) is not None]
    by_branch = False
    for branch, clauses in branches:
        holds = matches(branch, octets)
        by_branch = by_branch or holds
        # What a branch cannot do without is never missing where it matches.
        assert not holds or all(any(word.encode() in octets for word in clause) for clause in clauses)
    assert (bool(places) or by_branch) == matches(pattern, octets)
    for start, end in places:
        assert 0 <= start <= end <= len(octets)
        assert matches(pattern, octets[max(0, start - 1) : end + 1])


PARTS = st.lists(
    st.builds(
        Part,
        st.sampled_from([b"a", b"ab", b"aba", "信".encode(), "信a".encode(), b" "]),
        st.integers(0, 2),
        st.integers(2, 5),
        st.sampled_from([None, None, True, False]),
        st.sampled_from([None, None, True, False]),
    ),
    min_size=1,
    max_size=4,
).map(tuple)


@given(PARTS, st.text(alphabet="aab 信", max_size=60))
@settings(max_examples=400, deadline=None)
def test_a_text_read_in_turn_gives_the_same_place(phrase: phrases.Phrase, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phrases, "_TRIES", 1_000)
        one_by_one = find_phrase(text.encode(), phrase)
        patch.setattr(phrases, "_TRIES", 0)
        assert find_phrase(text.encode(), phrase) == one_by_one


CJK_GAPS = [
    ("信箱.{0,3}已滿", "信箱一二三已滿", True),
    ("信箱.{0,3}已滿", "信箱一二三四已滿", False),
    ("信箱.{2,3}已滿", "信箱一已滿", False),
    ("信箱.{2,3}已滿", "信箱abc已滿", True),
    ("信箱.已滿", "信箱é已滿", True),
    ("信箱.已滿", "信箱ab已滿", False),
    ("a.{0,2}b", "a\U0001f4eb\U0001f4ebb", True),
    ("a.{0,2}b", "a\U0001f4eb\U0001f4eb\U0001f4ebb", False),
]


@pytest.mark.parametrize(("pattern", "text", "stands"), CJK_GAPS)
def test_a_gap_counts_characters_not_octets(pattern: str, text: str, stands: bool) -> None:
    (phrase,), branches = write_out(pattern)
    assert branches == []
    assert (find_phrase(text.encode(), phrase) is not None) is stands
    assert matches(pattern, text.encode()) is stands


NEIGHBOURS = ["", " ", "a", "1", "_", "-", ".", "信", "é"]


@pytest.mark.parametrize(
    "pattern", [r"\bfull", r"full\b", r"\bfull\b", r"\b信箱", r"信箱\b", r"\b-x", r"x-\b", r"\b1\b", r"a\b b\b"]
)
def test_word_boundaries_hold_beside_every_neighbour(pattern: str) -> None:
    (phrase,), branches = write_out(pattern)
    assert branches == []
    word = pattern.replace(r"\b", "")
    for left in NEIGHBOURS:
        for right in NEIGHBOURS:
            octets = f"{left}{word}{right}".encode()
            assert (find_phrase(octets, phrase) is not None) == matches(pattern, octets), octets


@pytest.mark.parametrize("pattern", [r"a\bb", r"信\b箱", r" \b "])
def test_a_boundary_that_never_is_gives_no_phrase(pattern: str) -> None:
    assert write_out(pattern) == ([], [])


@pytest.mark.parametrize(
    "pattern", [".{1,3}ab", r"ab.{0,3}\b.{0,3}cd", "ab[^ ]", "(ab)+", r"\w{3}", "[a-z]{2}", "(?i)ab"]
)
def test_what_cannot_be_written_out_stays_an_expression(pattern: str) -> None:
    written, branches = write_out(pattern)
    assert written == []
    assert [branch for branch, _ in branches] == [pattern.replace("(ab)+", "(?:ab)+")]


def test_a_failed_way_on_does_not_hide_a_later_one() -> None:
    (phrase,), _ = write_out("ab.{0,2}cd.{0,2}ef")
    assert find_phrase(b"ab1cd ab22cd333ef abcdcd1ef", phrase) == (18, 27)


PHRASES = [
    ("full", "it is full.", True),
    ("full", "fully", False),
    ("full", "fully full", True),
    ("user … unknown", "the user ann is unknown", True),
    ("user … unknown", "unknown user", False),
    ("user … unknown", f"user {'x' * 58} unknown", True),
    ("user … unknown", f"user {'x' * 59} unknown", False),
    ("user … unknown", f"user{'信' * 60}unknown", True),
    ("user … unknown", f"user{'信' * 61}unknown", False),
    ("[TSS04]", "x[tss04]x", True),
    ("Почта", "почта", True),
    ("ΟΔΟΣ", "οδος", True),
    ("… full …", "full", True),
]


@pytest.mark.parametrize(("words", "text", "stands"), PHRASES)
def test_plain_phrase(words: str, text: str, stands: bool) -> None:
    assert (find_phrase(folded_octets(text), plain_phrase(words, "…", 60)) is not None) is stands


def test_empty_parts_of_a_plain_phrase_are_left_out() -> None:
    assert plain_phrase("… ab …… cd …", "…", 60) == (Part(b"ab", left=False), Part(b"cd", most=60, right=False))


def test_a_word_is_ascii() -> None:
    for octet in range(128):
        if not chr(octet).isupper():
            assert (octet in WORD_OCTETS) == bool(re2.fullmatch(r"\w", chr(octet)))


def test_every_way_of_a_shipped_rule_is_found_by_its_own_pattern() -> None:
    """Each phrase, spelled with the shortest gaps, is a text that the expression it comes from matches."""
    spelled = 0
    for rule in policies().rules[::5]:
        for phrase in write_out(rule.pattern)[0] if rule.pattern else ():
            text = b"".join(b"~" * part.least + part.octets for part in phrase)
            # A neighbour that a boundary asks for.
            text = (b"a" if phrase[0].left else b"") + text + (b"a" if phrase[-1].right else b"")
            if find_phrase(text, phrase) is not None:
                spelled += 1
                assert matches(rule.pattern, text), (rule.id, text)
    assert spelled > 1000
