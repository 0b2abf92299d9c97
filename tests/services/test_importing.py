"""Importing: the token proves, not the field in which it stands; each mail counts once, however often it is read."""

import pytest

from omicard_relay.mail import ListName, MailKind, StoreBusyError
from omicard_relay.services import importing
from omicard_relay.services.answers import AnswerRule
from omicard_relay.services.importing import Importer, envelope_of, sources_at
from omicard_relay.services.ingest import Ingester
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.signing import ReturnPathKeys, ReturnPathSigner
from omicard_relay.store import answers, lists, schema
from omicard_relay.store.writer import Writer
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.settings import AnswersSettings
from omicard_relay.tables.suppress import load_suppress
from tests.keeping import NOW, a_store, dump, hand_over, rows, submit
from tests.mails import dsn

SIGNER = ReturnPathSigner(keys=ReturnPathKeys(secrets={"a": b"0123456789abcdef"}), domain="bounces.example")
FORGER = ReturnPathSigner(keys=ReturnPathKeys(secrets={"a": b"fedcba9876543210"}), domain="bounces.example")
TODAY = int(NOW.timestamp()) // 86_400
LIMIT = 100_000
LINE = b"From MAILER-DAEMON  Tue Nov 24 08:00:00 2026\n"
PERSON = b"From: Ann <ann@a.example>\nTo: b@bounces.example\nSubject: Re: our offer\n\nPlease send two.\n"


def token(address, signer=SIGNER):
    return signer.make(address, day=TODAY, nonce=b"12345")


@pytest.fixture(scope="module")
def policies():
    return load_policies()


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path / "data") as store:
        yield store


@pytest.fixture
def ingester(store, policies):
    writer = Writer(store)
    yield Ingester(
        store,
        Rulebook.of(policies, load_suppress()),
        SIGNER,
        LIMIT,
        clock=lambda: NOW,
        writer=writer,
        answers=AnswerRule(AnswersSettings()),
    )
    writer.close()


@pytest.fixture
def run(store, ingester, tmp_path):
    def run(name, *, again=False, **more):
        importer = Importer(store, ingester, domain="bounces.example", clock=lambda: NOW, **more)
        return [
            done
            for source in sources_at(tmp_path / name, store, LIMIT, wanted=None, recursive=True)
            for done in importer.run(source, again=again)
        ]

    return run


def bounce(address, number=1, signer=SIGNER):
    """A bounce as Postfix's local(8) and virtual(8) deliver it."""
    head = f"Return-Path: <>\nX-Original-To: {token(address, signer)}\nDelivered-To: bounces@host.example\n"
    return head.encode() + dsn(address, number=number).replace(b"\r\n", b"\n")


def fill(tmp_path, mails):
    """The same mails as mbox, maildir and files."""
    (tmp_path / "mbox").write_bytes(b"".join(LINE + one + b"\n" for one in mails))
    for place in ("box/new", "box/cur", "files"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(mails):
        (tmp_path / "box" / ("cur" if number % 2 else "new") / f"{number}.host").write_bytes(one)
        (tmp_path / "files" / f"{number}.eml").write_bytes(one.replace(b"\n", b"\r\n"))


def known_bounces(store):
    with store.read() as tx:
        return sorted(e.value for e in lists.entries(tx, ListName.KNOWN_BOUNCE, now=NOW))


@pytest.mark.parametrize("name", ["mbox", "box", "files"])
def test_a_bounce_from_a_folder_acts_as_if_postfix_had_brought_it(run, store, tmp_path, name):
    people = ["ann@a.example", "bob@a.example", "cat@a.example"]
    ids = submit(store, *people, reverse_paths=tuple(map(token, people)))
    hand_over(store, ids, "4QAAAAA1")
    fill(tmp_path, [bounce(people[0]), bounce(people[1]), bounce(people[2], signer=FORGER)])
    assert [done.kind for done in run(name)] == [MailKind.DSN] * 3
    assert known_bounces(store) == people[:2]
    assert rows(store, schema.bounce_mail, "sender", "times_seen") == [("", 1)] * 3
    assert sorted(rows(store, schema.bounce_mail, "trust")) == ["claimed", "proven", "proven"]


def test_a_mail_is_the_same_in_every_folder_and_counts_once(run, store, tmp_path):
    fill(tmp_path, [bounce("ann@a.example"), bounce("bob@a.example"), PERSON])
    assert len({done.digest for done in run("mbox")}) == 3
    before = dump(store)
    for name in ("box", "files"):
        assert [(done.kind, done.error) for done in run(name)] == [(None, None)] * 3
        assert run(name) == []
    assert [done.kind for done in run("mbox", again=True)] == [None] * 3
    places = ("import_place", "import_done")
    assert {k: v for k, v in dump(store).items() if k not in places} == {
        k: v for k, v in before.items() if k not in places
    }


def test_the_same_mail_twice_in_one_folder_counts_once(run, store, tmp_path):
    fill(tmp_path, [bounce("ann@a.example")] * 3)
    assert [done.kind for done in run("box")] == [MailKind.DSN, None, None]
    assert rows(store, schema.bounce_mail, "times_seen") == [1]


class Crash(BaseException):
    """kill -9."""


@pytest.mark.parametrize("name", ["mbox", "box", "files"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_kill_between_what_is_stored_and_its_note_doubles_nothing(run, store, tmp_path, monkeypatch, name, at):
    monkeypatch.setattr(importing, "_BATCH", 3)
    fill(tmp_path, [bounce(f"u{number}@a.example", number) for number in range(8)])
    real, calls = Importer._stored, []

    def dies(self, batch):
        calls.append(1)
        result = real(self, batch)
        if len(calls) == at:
            raise Crash
        return result

    monkeypatch.setattr(Importer, "_stored", dies)
    with pytest.raises(Crash):
        run(name)
    monkeypatch.setattr(Importer, "_stored", real)
    rest = run(name)
    assert len(rest) == 8 - 3 * (at - 1)
    assert rows(store, schema.bounce_mail, "times_seen") == [1] * 8
    assert run(name) == []


def test_a_locked_store_stops_it_and_it_goes_on_later(run, store, ingester, tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "_BATCH", 2)
    fill(tmp_path, [bounce(f"u{number}@a.example", number) for number in range(6)])
    real, calls = ingester.begin, []

    def begin(raw, **more):
        calls.append(1)
        if len(calls) == 4:
            raise StoreBusyError("locked")
        return real(raw, **more)

    monkeypatch.setattr(ingester, "begin", begin)
    with pytest.raises(StoreBusyError):
        run("mbox")
    monkeypatch.undo()
    run("mbox")
    assert rows(store, schema.bounce_mail, "times_seen") == [1] * 6


def test_a_mail_on_which_we_fail_is_named_and_the_others_go_on(run, store, ingester, tmp_path, monkeypatch):
    fill(tmp_path, [bounce("ann@a.example"), PERSON, bounce("bob@a.example")])
    real = ingester.begin

    def begin(raw, **more):
        if b"Please send" in raw:
            raise RuntimeError("a bug")
        return real(raw, **more)

    monkeypatch.setattr(ingester, "begin", begin)
    assert [done.error is None for done in run("box")] == [True, False, True]
    monkeypatch.undo()
    # It was not noted as done.
    assert [done.kind for done in run("box")] == [MailKind.NOT_A_BOUNCE]


def test_a_long_mail_is_cut_as_everywhere(run, store, tmp_path):
    fill(tmp_path, [bounce("ann@a.example") + b"x" * 2 * LIMIT])
    run("box")
    ((size, notes),) = rows(store, schema.bounce_mail, "size", "notes")
    assert size == LIMIT
    assert "longer than the size limit" in notes


def test_mails_of_people_wait_to_be_handed_on(run, store, tmp_path):
    fill(tmp_path, [PERSON, bounce("ann@a.example")])
    run("mbox")
    with store.read() as tx:
        assert answers.count_waiting(tx) == 1


# ------------------------------------------------------------------ the envelope

OWN = "b+token@bounces.example"
HEADS = {
    "Postfix, with an alias to a mailbox": (
        f"Return-Path: <>\nX-Original-To: {OWN}\nDelivered-To: bounces@host.example\n", ("", OWN)
    ),
    "the mailbox above": (f"Delivered-To: bounces@host.example\nDelivered-To: {OWN}\n", ("", OWN)),
    "Exim": (f"Return-path: <x@y.example>\nEnvelope-to: {OWN}\n", ("x@y.example", OWN)),
    "others": (f"X-Envelope-To: <{OWN}>\n", ("", OWN)),
    "no field of a server": (f'To: "bounces" <{OWN}>\n', ("", OWN)),
    "To of another domain": ("To: ann@a.example\n", ("", "")),
    "only a mailbox": ("Delivered-To: bounces@host.example\nTo: ann@a.example\n", ("", "bounces@host.example")),
    "nothing": ("Subject: x\n", ("", "")),
    "no address": ("Delivered-To: nobody in particular\nX-Original-To: <\n", ("", "")),
    "in the text": (f"Subject: x\n\nDelivered-To: {OWN}\n", ("", "")),
    "folded": (f"X-Original-To:\n\t{OWN}\n", ("", OWN)),
}  # fmt: skip


@pytest.mark.parametrize(("head", "envelope"), HEADS.values(), ids=HEADS)
def test_the_envelope_is_what_the_delivering_server_wrote(head, envelope):
    assert envelope_of(head.encode() + b"\nbody\n", "bounces.example") == envelope


def test_a_given_recipient_wins():
    raw = f"Delivered-To: {OWN}\n\n".encode()
    assert envelope_of(raw, "bounces.example", "b+other@bounces.example") == ("", "b+other@bounces.example")


def test_a_forged_field_proves_no_more_than_a_forged_recipient(run, store, tmp_path):
    ids = submit(store, "ann@a.example", reverse_paths=(token("ann@a.example"),))
    hand_over(store, ids, "4QAAAAA1")
    fill(tmp_path, [bounce("ann@a.example", signer=FORGER)])
    run("box")
    assert known_bounces(store) == []
