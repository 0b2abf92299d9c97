"""The habits: what a client hears from each, and what they send later."""

import email
import email.policy
import socket
from email.message import EmailMessage

import pytest

from lab import receivers
from lab.behaviour import Behaviour, Envelope
from lab.books import Books
from lab.dns_server import DnsServer, Records
from lab.domains import Pace, domain_named, make_behaviour
from lab.later import Postman, complaint
from lab.receivers import AnswersLater, Greylists, TooBig, later_habits
from lab.silent import SilentHost
from lab.smtp_server import Receiver
from omicard_relay.mail import MailKind

ENVELOPE = Envelope(
    receiver="later",
    reverse_path="b+token@bounces.test",
    recipients=("ann@later.test",),
    content="Message-ID: <7@shop.test>\r\nSubject: Hi\r\n\r\n秋天\r\n".encode(),
    message_id="<7@shop.test>",
)


class _Session:
    """What the habits read of a session."""

    def __init__(self) -> None:
        self.client_ip, self.reverse_path, self.hostname = "127.0.0.1", "n@a.test", "mx.here.test"


async def test_greylisting_refuses_each_triplet_until_its_time_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(receivers.time, "monotonic", lambda: now)
    habit, session = Greylists(3), _Session()
    assert "450 4.7.1 <ann@b.test>: greylisted" in str(await habit.rcpt(session, "ann@b.test"))  # type: ignore[arg-type]
    now = 102.9
    assert str(await habit.rcpt(session, "ann@b.test")).startswith("450")  # type: ignore[arg-type]
    now = 103.0
    assert str(await habit.rcpt(session, "ann@b.test")).startswith("250")  # type: ignore[arg-type]
    assert str(await habit.rcpt(session, "ben@b.test")).startswith("450")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [("SIZE=1001", "552"), ("BODY=8BITMIME size=1001", "552"), ("SIZE=1000", "250"), ("", "250"), ("SIZE=x", "250")],
)
async def test_a_declared_size_above_the_limit_is_refused_at_mail(parameters: str, code: str) -> None:
    assert str(await TooBig(1000, announced=False).mail(_Session(), "n@a", parameters)).startswith(code)  # type: ignore[arg-type]


@pytest.mark.parametrize(("octets", "code"), [(1000, "250"), (1001, "552")])
async def test_an_undeclared_size_above_the_limit_is_refused_at_the_end(octets: int, code: str) -> None:
    envelope = Envelope(receiver="x", reverse_path="n@a", recipients=("r@b",), content=b"x" * octets, message_id="")
    assert str(await TooBig(1000, announced=False).content(_Session(), envelope)).startswith(code)  # type: ignore[arg-type]


def _made(habit: str) -> EmailMessage:
    _, make = later_habits()[habit]
    return email.message_from_bytes(make(ENVELOPE, "ann@later.test", "mx.later.test"), policy=email.policy.default)


@pytest.mark.parametrize("habit", list(later_habits()))
def test_a_later_mail_cannot_be_answered_by_a_machine(habit: str) -> None:
    mail = _made(habit)
    assert mail["Auto-Submitted"].startswith(("auto-replied", "auto-generated"))
    assert mail["To"].addresses[0].addr_spec == "b+token@bounces.test"
    assert mail["Message-ID"].endswith("@mx.later.test>")


@pytest.mark.parametrize(
    ("habit", "status"), [pytest.param("later", "5.1.1", id="unknown"), pytest.param("full-later", "5.2.2", id="full")]
)
def test_a_failure_report_has_the_parts_of_rfc_3464(habit: str, status: str) -> None:
    mail = _made(habit)
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "delivery-status"
    text, report, original = mail.iter_parts()
    per_message, per_recipient = report.get_payload()
    assert per_message["Reporting-MTA"] == "dns; mx.later.test"
    assert per_recipient["Final-Recipient"] == "rfc822;ann@later.test"
    assert (per_recipient["Action"], per_recipient["Status"]) == ("failed", status)
    assert per_recipient["Diagnostic-Code"].startswith(f"smtp; 55{'0' if status == '5.1.1' else '2'} {status} <ann@")
    assert original.get_content_type() == "text/rfc822-headers"
    assert "<7@shop.test>" in original.get_content()
    assert "ann@later.test" in text.get_content()


def test_a_complaint_has_the_parts_of_rfc_5965_and_the_whole_mail() -> None:
    octets = complaint(ENVELOPE, "ann@later.test", hostname="mx.later.test", source_ip="127.0.0.1")
    mail = email.message_from_bytes(octets, policy=email.policy.default)
    assert mail.get_param("report-type") == "feedback-report"
    _, report, original = mail.iter_parts()
    assert report.get_content_type() == "message/feedback-report"
    assert original.get_content()["Message-ID"] == "<7@shop.test>"
    assert "秋天".encode() in octets


def test_an_automatic_reply_names_the_mail_it_answers_and_a_move_the_new_address() -> None:
    assert _made("vacation")["In-Reply-To"] == "<7@shop.test>"
    assert _made("vacation")["Auto-Submitted"] == "auto-replied (vacation)"
    assert "ann@good.test" in _made("moved").get_content()


async def _postman_and_home(books: Books, records: Records) -> tuple[Postman, Receiver, DnsServer]:
    dns_server = DnsServer(records, "127.0.0.1", 0)
    await dns_server.start()
    home = Receiver("home", Behaviour(), books, hostname="mx.bounces.test", host="127.0.0.1", port=0)
    await home.start()
    return Postman(books, dns_host="127.0.0.1", dns_port=dns_server.port, smtp_port=home.port), home, dns_server


async def test_the_postman_finds_the_reverse_path_by_its_mx_and_uses_the_null_reverse_path() -> None:
    books, records = Books(), Records()
    records.add("bounces.test", "MX", "10 mx.bounces.test.")
    records.add("mx.bounces.test", "A", "127.0.0.1")
    postman, home, dns_server = await _postman_and_home(books, records)
    await postman.send(ENVELOPE, MailKind.DSN, "ann@later.test", _made("later").as_bytes(), "mx.later.test")
    (entry,), (mail,) = books.accepted(), books.later_mails()
    assert (entry.reverse_path, entry.recipient) == ("", "b+token@bounces.test")
    assert (mail.delivered, mail.kind, mail.recipient) == (True, "dsn", "ann@later.test")
    await home.stop()
    await dns_server.stop()


async def test_a_reverse_path_without_a_server_is_given_up_after_some_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.later.TRIES", 2)
    monkeypatch.setattr("lab.later.REST_SECONDS", 0.0)
    books = Books()
    postman, home, dns_server = await _postman_and_home(books, Records())
    await postman.send(ENVELOPE, MailKind.DSN, "ann@later.test", b"x\r\n", "mx.later.test")
    (mail,) = books.later_mails()
    assert not mail.delivered
    assert mail.reply.startswith("400 no address for bounces.test")
    await home.stop()
    await dns_server.stop()


@pytest.mark.parametrize("habit", list(later_habits()))
async def test_a_mail_from_the_null_reverse_path_is_never_answered(habit: str) -> None:
    books = Books()
    behaviour = make_behaviour(
        domain_named(f"{habit}.test"), Postman(books, dns_host="127.0.0.1"), Pace(later_seconds=0)
    )
    assert isinstance(behaviour, AnswersLater)
    await behaviour.taken(Envelope(receiver="x", reverse_path="", recipients=("a@b",), content=b"", message_id=""))
    assert books.later_mails() == []


async def test_nobody_gets_an_answer_from_a_silent_host() -> None:
    host = SilentHost("127.0.0.1", 0)
    host.start()
    with socket.socket() as client:
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.connect(("127.0.0.1", host.port))
    host.stop()
