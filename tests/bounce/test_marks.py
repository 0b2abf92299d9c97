"""Words of several fields in one pass: each counts in its own field alone, `^` only at its beginning."""

from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce.marks import Marks

LETTERS = "ab é信\n"
WORDS = st.lists(st.text("ab é信", min_size=1, max_size=3).map(str.strip).filter(bool), max_size=4)
FIELDS = st.tuples(st.text(LETTERS, max_size=20), st.text(LETTERS, max_size=20))


def test_a_word_counts_in_its_own_field_alone():
    marks = Marks(["full"], ["failure"], ["^mailer-daemon"])
    assert marks.found("the mailbox is full", "full", "mailer-daemon full") == (
        frozenset({"full"}),
        frozenset(),
        frozenset({"^mailer-daemon"}),
    )


def test_a_word_does_not_reach_from_one_field_into_the_next():
    marks = Marks(["end"], ["^begin", "dbeg"])
    assert marks.found("the en", "d begin") == (frozenset(), frozenset())
    assert marks.found("the end", "begin") == (frozenset({"end"}), frozenset({"^begin"}))


def test_without_words_nothing_is_found():
    assert Marks((), ()).found("full", "failure") == (frozenset(), frozenset())


@given(WORDS, WORDS, FIELDS)
def test_it_finds_what_stands_there(first, second, fields):
    anchored = [f"^{word}" for word in second]
    in_first, in_second = Marks(first, anchored).found(*fields)
    assert in_first == {word for word in first if word in fields[0]}
    assert in_second == {word for word in anchored if fields[1].startswith(word[1:])}
