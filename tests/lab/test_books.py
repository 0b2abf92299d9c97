"""The books: what is kept, what a second process reads, and waiting without sleeping."""

import threading
from datetime import UTC, datetime
from pathlib import Path

from lab.books import BookEntry, Books, LaterMail, read_books
from omicard_relay.mail import Stage

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def _entry(recipient: str, *, accepted: bool = True) -> BookEntry:
    return BookEntry(
        receiver="good", time=NOW, recipient=recipient, stage=Stage.END_OF_DATA, reply="250 ok", accepted=accepted
    )


def test_a_file_of_entries_comes_back_as_it_was_and_a_half_written_line_is_left_out(tmp_path: Path) -> None:
    books = Books(tmp_path / "new" / "books.jsonl")
    entries = [_entry("ann@good.test"), _entry("王@good.test", accepted=False)]
    for entry in entries:
        books.append(entry)
    with (tmp_path / "new" / "books.jsonl").open("ab") as file:
        file.write(b'{"receiver":"go')
    assert read_books(tmp_path / "new" / "books.jsonl") == entries
    assert books.entries(recipient="ann@good.test") == entries[:1]
    assert books.accepted() == entries[:1]
    assert books.entries(receiver="other") == []


def test_later_mails_are_kept_apart(tmp_path: Path) -> None:
    books = Books(tmp_path / "books.jsonl")
    mail = LaterMail(
        receiver="later",
        time=NOW,
        kind="dsn",
        recipient="a@later.test",
        reverse_path="n@b.test",
        message_id="<1@b.test>",
        reply="250 ok",
        delivered=True,
    )
    books.append(mail)
    assert (books.entries(), books.later_mails()) == ([], [mail])
    assert (tmp_path / "later-books.jsonl").read_bytes().count(b"\n") == 1
    assert not (tmp_path / "books.jsonl").exists()


def test_waiting_ends_with_the_entry_that_was_waited_for_or_with_the_time() -> None:
    books = Books()
    threading.Thread(target=books.append, args=(_entry("ann@good.test"),)).start()
    assert books.wait_until(lambda: bool(books.accepted()), 10)
    assert not books.wait_until(lambda: len(books.accepted()) == 2, 0.01)
