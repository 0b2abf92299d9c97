"""The table of responders' words: each entry's own examples and counter-examples; layers; what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import TableError
from omicard_relay.tables.responders import FILE_NAME, Means, Responder, Responders, Where, load_responders

TABLE = load_responders()
LANGUAGES = {"en", "zh-TW", "zh-CN", "ja", "ko", "de", "fr", "es", "pt", "it", "nl", "ru"}


def finds(entry: Responder, text: str) -> bool:
    alone, folded = Responders((entry,)), " ".join(text.split())
    if entry.where is Where.BEFORE:
        return alone.last(entry.means, folded) >= 0
    return entry.means in alone.said(entry.where, folded)


@pytest.mark.parametrize("entry", TABLE.entries, ids=lambda entry: entry.id)
def test_entry_finds_its_examples_and_no_counter_example(entry: Responder) -> None:
    assert [text for text in entry.examples if not finds(entry, text)] == []
    assert [text for text in entry.not_examples if finds(entry, text)] == []


def test_whole_table_finds_what_the_entries_find() -> None:
    for entry in TABLE.entries:
        for text in entry.examples:
            folded = " ".join(text.split())
            if entry.where is Where.BEFORE:
                assert TABLE.last(entry.means, folded) >= 0, entry.id
            else:
                assert entry.means in TABLE.said(entry.where, folded), entry.id


@pytest.mark.parametrize(
    ("means", "where"),
    [
        (Means.AUTOMATIC, Where.SUBJECT),
        (Means.AUTOMATIC, Where.TEXT),
        (Means.ABSENT, Where.TEXT),
        (Means.RETURNS, Where.TEXT),
        (Means.RECEIVED, Where.TEXT),
        (Means.LEFT, Where.TEXT),
        (Means.CLOSED, Where.TEXT),
        (Means.MOVED, Where.BEFORE),
        (Means.FROM_NOW, Where.BEFORE),
        (Means.ASKS, Where.BEFORE),
        (Means.DEPUTY, Where.BEFORE),
        (Means.OLD, Where.BEFORE),
    ],
)
def test_each_language_can_say_it(means: Means, where: Where) -> None:
    told = {entry.language for entry in TABLE.entries if entry.means is means and entry.where is where}
    assert told >= LANGUAGES


def test_it_is_told_what_only_a_machine_says() -> None:
    assert TABLE.said(Where.TEXT, "This is an automated response. I am on vacation.") == {
        Means.AUTOMATIC: True,
        Means.ABSENT: False,
        Means.RETURNS: False,
    }
    assert TABLE.said(Where.TEXT, "Seven, please.") == {}


def test_one_thing_is_asked_for_alone() -> None:
    assert TABLE.says(Means.LURE, "Click here to release 5 messages")
    assert not TABLE.says(Means.LURE, "I am on vacation")
    assert not TABLE.says(Means.MOVED, "My new address is")  # said about an address, not in a text alone


def test_typographic_apostrophe_is_read_as_the_plain_one() -> None:
    assert TABLE.said(Where.TEXT, "Cette adresse n’est plus utilisée.") == {Means.CLOSED: False}


def entry(**keys: object) -> str:
    values = {
        "id": "x-one",
        "language": "en",
        "means": "absent",
        "where": "text",
        "words": ["gone fishing"],
        "source": "a test",
        "examples": ["I am gone fishing"],
        **keys,
    }
    lines = [
        f"{key} = {value if isinstance(value, list) else chr(34) + str(value) + chr(34)}"
        for key, value in values.items()
    ]
    return "[[responder]]\n" + "\n".join(lines) + "\n"


def site(tmp_path: Path, text: str) -> Path:
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats" / FILE_NAME).write_text(text.replace("'", '"'), encoding="utf-8")
    return tmp_path


def test_site_adds_an_entry(tmp_path: Path) -> None:
    table = load_responders(site(tmp_path, entry()))
    assert len(table.entries) == len(TABLE.entries) + 1
    assert table.said(Where.TEXT, "I am gone fishing.") == {Means.ABSENT: False}


def test_site_replaces_an_entry_by_its_id(tmp_path: Path) -> None:
    table = load_responders(site(tmp_path, entry(id="en-absent")))
    assert len(table.entries) == len(TABLE.entries)
    assert Means.ABSENT not in table.said(Where.TEXT, "I am out of the office.")
    assert Means.ABSENT in TABLE.said(Where.TEXT, "I am out of the office.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (entry() + entry(), "entry `x-one`, `id`: stands twice"),
        (entry(words=[]), "`words`: is empty"),
        (entry(words=["…"]), "also matches an empty text"),
        (entry(words=[], pattern="(?=away)"), "`pattern`: google-re2 does not take it"),
        (entry(words=[], pattern="(away)?"), "`pattern`: also matches an empty text"),
        (entry(where="before-address"), "does not go with means `absent`"),
        (entry(means="moved"), "does not go with means `moved`"),
        (entry(means="asleep"), "asleep"),
        (entry(meens="absent"), "meens"),
        (entry(language="english"), "language"),
        (entry(examples=[]), "examples"),
        (entry(means="moved", where="before-address") + "sure = true\n", "`sure`: says nothing about an address"),
    ],
)
def test_faulty_entry_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(TableError) as error:
        load_responders(site(tmp_path, text))
    assert words in str(error.value)
    assert FILE_NAME in str(error.value)


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("on leave", "I am ON LEAVE.", True),
        ("on leave", "upon leave", False),
        ("on leave", "on leaves", False),
        ("on leav*", "on leaves", True),
        ("back … monday", "back at work on Monday", True),
        ("休假", "我休假中", True),
        ("отпуск*", "в отпуске", True),
        ("пуск", "в отпуске", False),
        ("a.b", "axb", False),
    ],
)
def test_phrase(phrase: str, text: str, found: bool) -> None:
    one = Responder(
        id="one", language="en", means=Means.ABSENT, where=Where.TEXT, words=(phrase,), source="a test", examples=("x",)
    )
    assert finds(one, text) is found


def test_empty_table_finds_nothing() -> None:
    assert Responders().said(Where.TEXT, "I am out of the office") == {}
    assert Responders().last(Means.MOVED, "My new address is") == -1


@given(st.text(max_size=200))
def test_any_text_never_raises(text: str) -> None:
    for where in Where:
        TABLE.said(where, text)
    for means in Means:
        TABLE.last(means, text)
