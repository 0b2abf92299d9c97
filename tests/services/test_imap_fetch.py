"""IMAP: each mail once by UID and UIDVALIDITY, passwords never in the clear and never in a URL.

A real server answers in integration/13-bounce-import.
"""

import builtins
import socketserver
import threading

import imapclient
import pytest

from omicard_relay.mail import RelayError
from omicard_relay.services import imap_fetch
from omicard_relay.services.imap_fetch import ImapFolder, parse_imap_url
from omicard_relay.services.importfaults import Fault, SourceError
from omicard_relay.services.mailfolders import FoundMail
from tests.keeping import NOW

URL = "imaps://bounces@mail.example/INBOX"


class Mailbox:
    """A mailbox as IMAPClient shows it. `mails`: UID -> content."""

    def __init__(self, mails, *, validity=7, capabilities=("MOVE", "UIDPLUS"), tells_next=True):
        self.mails, self.validity, self.capabilities, self.tells_next = dict(mails), validity, capabilities, tells_next
        self.next = max(mails, default=0) + 1
        self.done, self.folders, self.fetched = [], {"INBOX"}, []

    def select_folder(self, folder, readonly):
        self.readonly = readonly
        return {b"UIDVALIDITY": self.validity} | ({b"UIDNEXT": self.next} if self.tells_next else {})

    def folder_status(self, folder, what):
        return {b"UIDNEXT": self.next}

    def folder_exists(self, folder):
        return folder in self.folders

    def create_folder(self, folder):
        self.folders.add(folder)

    def has_capability(self, name):
        return name in self.capabilities

    def search(self, criteria):
        start, end = map(int, criteria[1].split(":"))
        self.done.append(("search", *criteria[2:]))
        # RFC 3501 §6.4.8: a range that is written backwards, or ends behind the last one, may still hit the last one.
        return [uid for uid in sorted(self.mails, reverse=True) if start <= uid <= end or uid == max(self.mails)]

    def fetch(self, uids, what):
        if what == ["RFC822.SIZE"]:
            return {uid: {b"RFC822.SIZE": len(self.mails[uid])} for uid in uids if uid in self.mails}
        self.fetched.append(list(uids))
        most = int(what[0].partition(".PEEK[]<0.")[2].rstrip(">"))
        return {uid: {b"SEQ": 1, b"BODY[]<0>": self.mails[uid][:most]} for uid in uids if uid in self.mails}

    def __getattr__(self, name):
        def note(*arguments, **_):
            self.done.append((name, *arguments))

        return note


@pytest.fixture
def folder(store, monkeypatch):
    def folder(mailbox, limit=1000, url=URL, **options):
        monkeypatch.setattr(imap_fetch, "_connect", lambda *_: mailbox)
        return ImapFolder(parse_imap_url(url), store, limit, password="secret", **options)

    return folder


def read(source, *, again=False, most=None):
    """(UID, octets) of what is new; noted as stored."""
    source.begin(again=again)
    found = []
    for one in source.mails():
        found.append(one)
        if len(found) == most:
            break
    if found:
        with source._store.write() as tx:
            source.note(tx, found, now=NOW)
    source.close()
    assert all(isinstance(one, FoundMail) for one in found)
    return [(one.offset, one.raw) for one in found]


def test_mails_come_by_ascending_uid_with_line_feeds(folder):
    assert read(folder(Mailbox({3: b"b\r\n", 2: b"a\r\n"}))) == [(2, b"a\n"), (3, b"b\n")]


def test_only_what_came_since_is_read_and_the_last_mail_not_again(folder):
    mailbox = Mailbox({2: b"a", 3: b"b", 9: b"c"})
    assert [uid for uid, _ in read(folder(mailbox), most=2)] == [2, 3]
    assert [uid for uid, _ in read(folder(mailbox))] == [9]
    assert read(folder(mailbox)) == []
    assert len(read(folder(mailbox), again=True)) == 3


def test_another_uidvalidity_means_other_mails(folder):
    read(folder(Mailbox({1: b"a", 2: b"b"})))
    assert len(read(folder(Mailbox({1: b"x", 2: b"y"}, validity=8)))) == 2


def test_a_server_may_keep_uidnext_to_itself(folder):
    assert len(read(folder(Mailbox({1: b"a"}, tells_next=False)))) == 1


def test_each_mailbox_and_user_has_a_place_of_its_own(folder):
    mailbox = Mailbox({1: b"a"})
    for url in (URL, "imaps://bounces@mail.example/Other", "imaps://ann@mail.example/INBOX"):
        assert len(read(folder(mailbox, url=url))) == 1


def test_uids_with_wide_gaps_are_found_in_several_looks(folder, monkeypatch):
    monkeypatch.setattr(imap_fetch, "_WINDOW", 10)
    mailbox = Mailbox({1: b"a", 12: b"b", 35: b"c"})
    assert [uid for uid, _ in read(folder(mailbox))] == [1, 12, 35]


def test_a_long_mail_is_cut_at_the_server(folder):
    source = folder(Mailbox({1: b"x" * 5000}))
    source.begin(again=False)
    (found,) = source.mails()
    assert (len(found.raw), found.cut) == (1000, True)


def test_no_more_is_fetched_at_once_than_fits(folder, monkeypatch):
    monkeypatch.setattr(imap_fetch, "_FETCH_OCTETS", 250)
    mailbox = Mailbox(dict.fromkeys(range(1, 6), b"x" * 100) | {6: b"x" * 900})
    read(folder(mailbox))
    assert mailbox.fetched == [[1, 2], [3, 4], [5], [6]]


def test_mails_are_left_as_they_are_unless_asked_for(folder):
    mailbox = Mailbox({1: b"a"})
    read(folder(mailbox))
    assert mailbox.readonly
    assert [name for name, *_ in mailbox.done] == ["search", "logout"]


def test_what_is_stored_is_marked_and_moved(folder):
    mailbox = Mailbox({1: b"a", 2: b"b"})
    read(folder(mailbox, mark_seen=True, move_to="Done"))
    assert not mailbox.readonly
    assert "Done" in mailbox.folders
    assert mailbox.done[1:3] == [("add_flags", [1, 2], [b"\\Seen"]), ("move", [1, 2], "Done")]


@pytest.mark.parametrize(
    ("capabilities", "last"), [(("UIDPLUS",), "uid_expunge"), ((), "delete_messages")], ids=["UIDPLUS", "neither"]
)
def test_without_move_nothing_but_our_own_is_expunged(folder, capabilities, last):
    mailbox = Mailbox({1: b"a"}, capabilities=capabilities)
    read(folder(mailbox, move_to="Done"))
    names = [name for name, *_ in mailbox.done if name != "logout"]
    assert names[1:3] == ["copy", "delete_messages"]
    assert names[-1] == last


def test_since_is_asked_of_the_server(folder):
    mailbox = Mailbox({1: b"a"})
    read(folder(mailbox, since=NOW.date()))
    assert mailbox.done[0] == ("search", "SINCE", NOW.date())


@pytest.mark.parametrize(
    "error", [OSError("connection reset"), imapclient.exceptions.IMAPClientAbortError("bye")], ids=["network", "server"]
)
def test_a_connection_that_is_lost_is_told_in_a_sentence(folder, monkeypatch, error):
    mailbox = Mailbox({1: b"a"})
    source = folder(mailbox)
    source.begin(again=False)
    monkeypatch.setattr(mailbox, "fetch", lambda *_: (_ for _ in ()).throw(error), raising=False)
    with pytest.raises(RelayError, match=r"imaps://bounces@mail\.example:993/INBOX: .*start it again"):
        list(source.mails())


def test_a_mailbox_that_the_server_does_not_open_is_told_as_that(folder, monkeypatch):
    mailbox = Mailbox({1: b"a"})
    error = imapclient.exceptions.IMAPClientError("select failed: NO no such mailbox")
    monkeypatch.setattr(mailbox, "select_folder", lambda *_, **__: (_ for _ in ()).throw(error), raising=False)
    with pytest.raises(SourceError, match=r"does not open the mailbox \(select failed: NO no such mailbox\)") as caught:
        folder(mailbox).begin(again=False)
    assert caught.value.fault is Fault.NOT_OPENED


# ------------------------------------------------------------------ the address


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("imaps://bounces@mail.example", ("imaps", "mail.example", 993, "bounces", "INBOX")),
        ("imap://b@localhost:1143/INBOX/Old", ("imap", "localhost", 1143, "b", "INBOX/Old")),
        ("imaps://ann@a.example@mail.example/x", ("imaps", "mail.example", 993, "ann@a.example", "x")),
        ("imaps://ann%40a.example@mail.example/a%20b", ("imaps", "mail.example", 993, "ann@a.example", "a b")),
        ("imap://b@[::1]/INBOX", ("imap", "::1", 143, "b", "INBOX")),
    ],
)
def test_an_address_is_taken_apart(url, parts):
    found = parse_imap_url(url)
    assert (found.scheme, found.host, found.port, found.user, found.folder) == parts


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("imaps://ann:secret@mail.example/INBOX", "password must not stand in the URL"),
        ("imaps://mail.example/INBOX", "user or host is missing"),
        ("imaps://ann@/INBOX", "user or host is missing"),
        ("imaps://ann@mail.example:x/", "is no address"),
        ("imaps://ann:secret@mail.example:x/", "is no address"),
    ],
)
def test_a_wrong_address_is_told_without_its_password(url, says):
    with pytest.raises(RelayError, match=says) as caught:
        parse_imap_url(url)
    assert "secret" not in str(caught.value)


# ------------------------------------------------------------------ what must not be said to whom


class _Talk(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"* OK hello\r\n")
        while line := self.rfile.readline():
            tag, verb = line.split()[:2]
            self.server.heard.append(line)
            if verb == b"CAPABILITY":
                self.wfile.write(b"* CAPABILITY IMAP4rev1\r\n")
            answer = b"NO [AUTHENTICATIONFAILED] no" if verb == b"LOGIN" else b"OK"
            self.wfile.write(tag + b" " + answer + b" done\r\n")
            if verb == b"LOGOUT":
                return


@pytest.fixture
def server():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Talk) as server:
        server.daemon_threads = True
        server.heard = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def the_folder(server, store):
    url = f"imap://ann@127.0.0.1:{server.server_address[1]}/INBOX"
    return ImapFolder(parse_imap_url(url), store, 1000, password="secret")


def test_without_tls_no_password_leaves_the_machine(server, store, monkeypatch):
    monkeypatch.setattr(imap_fetch, "_is_loopback", lambda host: False)
    with pytest.raises(RelayError, match=r"offers no STARTTLS.*use imaps://"):
        the_folder(server, store).begin(again=False)
    assert not any(b"secret" in line for line in server.heard)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("192.0.2.1", False), ("a.test", False)],
)
def test_only_the_machine_itself_is_trusted_without_tls(host, is_loopback):
    assert imap_fetch._is_loopback(host) is is_loopback


def test_a_wrong_password_is_told_and_not_shown(server, store):
    with pytest.raises(RelayError, match="refuses user or password") as caught:
        the_folder(server, store).begin(again=False)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_away_is_told(server, store):
    server.shutdown()
    server.server_close()
    with pytest.raises(RelayError, match="Connection refused"):
        the_folder(server, store).begin(again=False)


def test_without_the_library_it_says_what_to_install(server, store, monkeypatch):
    real = builtins.__import__

    def missing(name, *more, **options):
        if name == "imapclient":
            raise ImportError
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(RelayError, match=r"pip install 'omicard-relay\[imap\]'"):
        the_folder(server, store).begin(again=False)
