"""Folders of mails: a mail has the same octets in whichever folder it lies, and a folder is gone on with where it was left."""

import fcntl
import io
import os
import threading
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omicard_relay.mail import RelayError
from omicard_relay.services import mailfolders
from omicard_relay.services.importing import sources_at
from omicard_relay.services.mailfolders import FileFolder, FoundMail, Maildir, Mbox, Unreadable
from tests.keeping import NOW, a_store

LIMIT = 100_000
LINE = b"From MAILER-DAEMON  Tue Nov 24 08:00:00 2026\n"


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path / "data") as store:
        yield store


def mail(number, body=b"gone\n"):
    return b"Subject: %d\n\n%s" % (number, body)


def in_mbox(*mails):
    return b"".join(LINE + one + b"\n" for one in mails)


def read(source, *, again=False, most=None, note=True, store=None):
    """The octets of what is new; noted as stored unless told otherwise."""
    source.begin(again=again)
    found = []
    for one in source.mails():
        found.append(one)
        if len(found) == most:
            break
    good = [one for one in found if isinstance(one, FoundMail)]
    if note and good:
        with source._store.write() as tx:
            source.note(tx, good, now=NOW)
    source.close()
    return [one.raw if isinstance(one, FoundMail) else one for one in found]


# ------------------------------------------------------------------ mbox


@pytest.fixture
def mbox(tmp_path, store):
    def mbox(content=None, limit=LIMIT):
        path = tmp_path / "mbox"
        if content is not None:
            path.write_bytes(content)
        return Mbox(path, store, limit)

    return mbox


def test_an_mbox_gives_its_mails_without_what_is_its_own(mbox):
    mails = [mail(1), mail(2, b""), mail(3, b"a\n\nb\n\n\n")]
    assert read(mbox(in_mbox(*mails))) == mails


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b">From here on\n", b"From here on\n"),
        (b">>From here on\n", b">From here on\n"),
        (b"> From here on\n", b"> From here on\n"),
        (b"a >From b\n", b"a >From b\n"),
    ],
    ids=["mboxo and mboxrd", "mboxrd quotes quotes", "a person's quote", "inside of a line"],
)
def test_quoted_lines_become_what_they_were(mbox, written, meant):
    assert read(mbox(in_mbox(mail(1, written)))) == [mail(1, meant)]


@pytest.mark.parametrize(
    "body",
    [
        b"x\nFrom MAILER-DAEMON  Tue Nov 24 08:00:00 2026\n",
        b"\nFrom the beginning we knew\n",
        b"\n From MAILER-DAEMON  Tue Nov 24 08:00:00 2026\n",
    ],
    ids=["no empty line before it", "no time of day", "not at the start of the line"],
)
def test_a_line_that_only_looks_like_a_beginning_is_text(mbox, body):
    assert read(mbox(in_mbox(mail(1, body), mail(2)))) == [mail(1, body), mail(2)]


def test_what_mail_programs_note_for_themselves_does_not_make_another_mail(mbox):
    marked = (
        b"Status: RO\nX-Status: F\nSubject: 1\nX-Keywords:\n  a\n  b\nX-UID: 7\nContent-Length: 5\n\nStatus: my own\n"
    )
    assert read(mbox(in_mbox(marked))) == [mail(1, b"Status: my own\n")]


def test_the_folders_own_pseudo_mail_is_none(mbox):
    pseudo = (
        b"From: Mail System Internal Data <MAILER-DAEMON@host>\n"
        b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1700000000 0000000002\n\nThis text is part\n"
    )
    assert read(mbox(in_mbox(pseudo, mail(1)))) == [mail(1)]


def test_windows_line_ends_become_line_feeds(mbox):
    assert read(mbox(in_mbox(mail(1), mail(2)).replace(b"\n", b"\r\n"))) == [mail(1), mail(2)]


def test_an_mbox_is_gone_on_with_where_new_mails_begin(mbox, tmp_path):
    assert read(mbox(in_mbox(mail(1)))) == [mail(1)]
    assert read(mbox()) == []
    with (tmp_path / "mbox").open("ab") as file:
        file.write(in_mbox(mail(2), mail(3)))
    assert read(mbox(), most=1) == [mail(2)]
    assert read(mbox()) == [mail(3)]


def test_what_was_not_noted_is_read_again(mbox):
    assert read(mbox(in_mbox(mail(1), mail(2))), note=False) == [mail(1), mail(2)]
    assert read(mbox()) == [mail(1), mail(2)]


@pytest.mark.parametrize(
    "changed",
    [
        in_mbox(mail(2), mail(3)),
        in_mbox(mail(9)),
        in_mbox(mail(9), mail(8), mail(7), mail(6)),
        in_mbox(mail(1), mail(3)),
        in_mbox(mail(1, b"longer than before\n"), mail(2), mail(3)),
    ],
    ids=["first mail deleted", "replaced by less", "replaced by more", "a mail in the middle deleted", "rewritten"],
)
def test_an_mbox_that_was_changed_is_read_anew(mbox, changed):
    read(mbox(in_mbox(mail(1), mail(2), mail(3))))
    fresh = [one for one in changed.split(LINE) if one]
    assert read(mbox(changed)) == [one[:-1] for one in fresh]


def test_an_emptied_mbox_that_is_filled_again_is_read(mbox):
    read(mbox(in_mbox(mail(1))))
    assert read(mbox(b"")) == []
    assert read(mbox(in_mbox(mail(2)))) == [mail(2)]


def test_again_reads_all(mbox):
    read(mbox(in_mbox(mail(1), mail(2))))
    assert read(mbox(), again=True) == [mail(1), mail(2)]


def test_a_file_without_a_mail_is_told(mbox):
    (found,) = read(mbox(b"just a text\n"))
    assert isinstance(found, Unreadable)


def test_a_mail_that_is_too_long_is_cut_and_its_neighbours_are_whole(mbox):
    source = mbox(in_mbox(mail(1), mail(2, b"x" * 70_000 + b"\n" + b"y" * 300 + b"\n"), mail(3)), limit=1000)
    source.begin(again=False)
    found = list(source.mails())
    assert [(len(one.raw), one.cut) for one in found] == [(17, False), (1000, True), (17, False)]


def test_a_huge_mail_needs_no_more_memory_than_the_limit(mbox):
    source = mbox(in_mbox(mail(1, (b"z" * 76 + b"\n") * 500_000), mail(2)), limit=10_000)
    source.begin(again=False)
    tracemalloc.start()
    assert [one.cut for one in source.mails()] == [True, False]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_mail_that_is_being_appended_waits_until_it_is_whole(mbox, tmp_path):
    """Postfix holds an fcntl lock meanwhile; POSIX locks are between processes."""
    source = mbox(in_mbox(mail(1)))
    inside, done = os.pipe()
    child = os.fork()
    if not child:
        with (tmp_path / "mbox").open("ab", buffering=0) as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            file.write(LINE + b"Subject: 2\n\nhalf")
            os.write(done, b"x")
            deadline = threading.Event()
            deadline.wait(0.5)
            file.write(b" and half\n\n")
        os._exit(0)
    os.read(inside, 1)
    assert read(source) == [mail(1), mail(2, b"half and half\n")]
    os.waitpid(child, 0)


def test_who_never_ends_writing_is_told(mbox, tmp_path, monkeypatch):
    monkeypatch.setattr(mailfolders, "_LOCK_SECONDS", 0.2)
    source = mbox(in_mbox(mail(1)))
    inside, done = os.pipe()
    ending, end = os.pipe()
    child = os.fork()
    if not child:
        with (tmp_path / "mbox").open("ab") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            os.write(done, b"x")
            os.read(ending, 1)
        os._exit(0)
    os.read(inside, 1)
    with pytest.raises(RelayError, match="another program is writing"):
        source.begin(again=False)
    os.write(end, b"x")
    os.waitpid(child, 0)


_PARTS = st.lists(
    st.sampled_from(
        [LINE, b"\n", b"From ", b">From x 08:00\n", b"a\n", b"\r\n", b"\x00\xff", b"Status: R\n", b"x" * 300]
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=_PARTS, limit=st.integers(1, 700))
def test_any_octets_are_read_and_places_lie_where_mails_begin(mbox, parts, limit):
    content = b"".join(parts)
    source = mbox(content, limit=limit)
    source.begin(again=True)
    for found in source.mails():
        if isinstance(found, FoundMail):
            assert len(found.raw) <= limit
            assert content[found.offset : found.offset + 5] in (b"From ", b"")
    assert source.position == source.total == len(content)
    source.close()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mails=st.lists(
        st.text(alphabet="ab>F\n", max_size=60).map(lambda text: mail(1, text.encode() + b"\n")), min_size=1, max_size=6
    ),
    piece=st.integers(1, 40),
)
def test_quoting_is_undone_whatever_the_pieces(mbox, mails, piece):
    quoted = [io.BytesIO(one).read().replace(b"\n>F", b"\n>F") for one in mails]
    before, mailfolders._PIECE = mailfolders._PIECE, piece
    try:
        source = mbox(in_mbox(*quoted))
        # Separators need whole lines: pieces below that are no piece of ours.
        mailfolders._PIECE = max(piece, len(LINE))
        assert read(source, again=True) == mails
    finally:
        mailfolders._PIECE = before


# ------------------------------------------------------------------ maildir


@pytest.fixture
def maildir(tmp_path, store):
    folder = tmp_path / "box"
    for name in ("tmp", "new", "cur"):
        (folder / name).mkdir(parents=True)
    return lambda: Maildir(folder.resolve(), store, LIMIT)


@pytest.fixture
def box(maildir, tmp_path):
    return tmp_path / "box"


def test_new_and_read_mails_are_given_and_drafts_of_deliveries_not(maildir, box):
    (box / "new" / "1.a").write_bytes(mail(1))
    (box / "cur" / "2.b:2,S").write_bytes(mail(2).replace(b"\n", b"\r\n"))
    (box / "tmp" / "3.c").write_bytes(mail(3))
    (box / "new" / ".hidden").write_bytes(mail(4))
    assert read(maildir()) == [mail(1), mail(2)]


def test_a_mail_that_was_read_by_a_person_meanwhile_is_the_same_one(maildir, box):
    (box / "new" / "1.a").write_bytes(mail(1))
    assert read(maildir()) == [mail(1)]
    (box / "new" / "1.a").rename(box / "cur" / "1.a:2,")
    assert read(maildir()) == []
    (box / "cur" / "1.a:2,").rename(box / "cur" / "1.a:2,RS")
    (box / "new" / "2.b").write_bytes(mail(2))
    assert read(maildir()) == [mail(2)]
    assert read(maildir(), again=True) == [mail(1), mail(2)]


def test_a_mail_that_is_renamed_between_look_and_reading_is_found(maildir, box):
    (box / "new" / "1.a").write_bytes(mail(1))
    source = maildir()
    source.begin(again=False)
    (box / "new" / "1.a").rename(box / "cur" / "1.a:2,S")
    assert [one.raw for one in source.mails()] == [mail(1)]


def test_a_mail_that_is_deleted_between_look_and_reading_is_no_fault(maildir, box):
    for number in (1, 2):
        (box / "new" / f"{number}.a").write_bytes(mail(number))
    source = maildir()
    source.begin(again=False)
    (box / "new" / "1.a").unlink()
    assert [one.raw for one in source.mails()] == [mail(2)]


def test_what_is_no_file_is_told_and_never_followed_or_waited_for(maildir, box, tmp_path):
    (tmp_path / "secret").write_bytes(mail(7))
    (box / "new" / "1.link").symlink_to(tmp_path / "secret")
    os.mkfifo(box / "new" / "2.pipe")
    (box / "new" / "3.folder").mkdir()
    (box / "new" / "4.good").write_bytes(mail(4))
    found = read(maildir())
    assert [type(one).__name__ for one in found] == ["Unreadable"] * 3 + ["bytes"]


def test_many_mails_are_asked_for_in_portions(maildir, box, monkeypatch):
    monkeypatch.setattr(mailfolders, "_NAMES", 3)
    for number in range(10):
        (box / "new" / f"{number}.a").write_bytes(mail(number))
    assert len(read(maildir(), most=4)) == 4
    assert len(read(maildir())) == 6


# ------------------------------------------------------------------ files


def test_a_file_that_has_changed_is_read_again(tmp_path, store):
    path = tmp_path / "a.eml"
    path.write_bytes(mail(1))

    def source():
        return FileFolder(tmp_path, ["a.eml"], store, LIMIT)

    assert read(source()) == [mail(1)]
    assert read(source()) == []
    path.write_bytes(mail(12))
    assert read(source()) == [mail(12)]


# ------------------------------------------------------------------ what is there


def kinds(sources):
    return [type(source).__name__ for source in sources]


@pytest.fixture
def at(tmp_path, store):
    def at(name, wanted=None, recursive=False):
        return sources_at(tmp_path / name, store, LIMIT, wanted=wanted, recursive=recursive)

    return at


def test_each_form_is_found_by_itself(at, box, tmp_path):
    (tmp_path / "mbox").write_bytes(in_mbox(mail(1)))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "one.eml").write_bytes(mail(1))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one.EML").write_bytes(mail(1))
    (tmp_path / "files" / "README").write_bytes(b"not a mail\n")
    assert [kinds(at(name)) for name in ("box", "mbox", "empty", "one.eml", "files")] == [
        ["Maildir"], ["Mbox"], ["Mbox"], ["FileFolder"], ["FileFolder"],
    ]  # fmt: skip
    assert len(read(at("files")[0])) == 1
    assert len(read(at("files", wanted="files")[0])) == 1  # the other one is known


def test_folders_below_a_maildir_are_taken_when_asked_for(at, box):
    for name in (".Old", ".Old.2025", "plain"):
        for place in ("tmp", "new", "cur"):
            (box / name / place).mkdir(parents=True)
        (box / name / "new" / "1.a").write_bytes(mail(1))
    (box / "new" / "1.a").write_bytes(mail(1))
    assert len(at("box")) == 1
    assert sorted(source.key.rpartition("box")[2] for source in at("box", recursive=True)) == [
        "", "/.Old", "/.Old.2025", "/plain",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wanted", "says"),
    [
        ("nothing", None, "there is no such file or folder"),
        ("empty-folder", None, "no maildir and no .eml files"),
        ("empty-folder", "mbox", "an mbox is a file"),
        ("mbox", "maildir", "a maildir is a folder"),
        ("box", "files", "no maildir and no .eml files"),
    ],
)
def test_what_is_not_there_is_told(at, box, tmp_path, name, wanted, says):
    (tmp_path / "empty-folder").mkdir()
    (tmp_path / "mbox").write_bytes(in_mbox(mail(1)))
    with pytest.raises(RelayError, match=says):
        at(name, wanted)
