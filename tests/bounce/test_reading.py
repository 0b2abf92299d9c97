"""read_mail over whole mails: kinds, recipients, the deciding words; counter-examples; hostile input."""

import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omicard_relay.bounce import MailReading
from omicard_relay.bounce.mime import OCTET_LIMIT
from omicard_relay.mail import MailKind, Road, Stage, Trust
from tests.mailreading import READER, read_mail

MAILS = Path(__file__).parent / "mails"
NAMES = sorted(path.name for path in MAILS.glob("*.eml"))


def read(name: str) -> MailReading:
    return read_mail((MAILS / name).read_bytes())


KINDS = {
    "arf-abuse": MailKind.ARF,
    "arf-not-spam": MailKind.ARF,
    "autoreply-moved": MailKind.AUTOREPLY,
    "autoreply-vacation": MailKind.AUTOREPLY,
    "autoreply-zh-tw": MailKind.AUTOREPLY,
    "dsn-delayed": MailKind.DSN,
    "dsn-exchange": MailKind.DSN,
    "dsn-no-diagnostic": MailKind.DSN,
    "dsn-no-recipient": MailKind.DSN,
    "dsn-postfix-two": MailKind.DSN,
    "dsn-sendmail": MailKind.DSN,
    "dsn-smtputf8": MailKind.DSN,
    "dsn-success": MailKind.DSN,
    "mdn-displayed": MailKind.NOT_A_BOUNCE,
    "mdn-refused": MailKind.DSN,
    "other-probe": MailKind.OTHER,
    "other-tlsrpt": MailKind.OTHER,
    "person-about-office": MailKind.NOT_A_BOUNCE,
    "person-answers-autoreply": MailKind.NOT_A_BOUNCE,
    "person-forwards-dsn": MailKind.NOT_A_BOUNCE,
    "person-list-quotes-dsn": MailKind.NOT_A_BOUNCE,
    "plain-delayed": MailKind.DSN,
    "plain-domino": MailKind.DSN,
    "plain-exim": MailKind.DSN,
    "plain-prose": MailKind.DSN,
    "plain-qmail": MailKind.DSN,
    "sns-bounce": MailKind.DSN,
    "sns-complaint": MailKind.ARF,
}


@pytest.mark.parametrize("name", NAMES, ids=[name.removesuffix(".eml") for name in NAMES])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_kind_of_each_mail_with_either_line_end(name: str, ends: bytes) -> None:
    raw = (MAILS / name).read_bytes().replace(b"\n", ends)
    assert read_mail(raw).kind is KINDS[name.removesuffix(".eml")]


def test_every_mail_has_an_expectation() -> None:
    assert set(KINDS) == {name.removesuffix(".eml") for name in NAMES}


RECIPIENTS = {
    "arf-abuse": ["joan@isp.example", "kurt@isp.example"],
    "arf-not-spam": ["lena@isp.example"],
    "autoreply-zh-tw": ["ming@corp.example.tw"],
    "dsn-exchange": ["carl@corp.example"],
    "dsn-no-recipient": [""],
    "dsn-postfix-two": ["ann@example.com", "bob@example.net"],
    "dsn-smtputf8": ["王小明@utf8.example"],
    "mdn-displayed": [],
    "mdn-refused": ["ivan@example.com"],
    "person-about-office": [],
    "plain-domino": ["uma@notes.example"],
    "plain-exim": ["tom@far.example"],
    "plain-prose": ["vera@far.example"],
    "sns-bounce": ["ada@far.example", "ben@far.example"],
    "sns-complaint": ["cyd@far.example"],
    "plain-qmail": ["paul@far.example", "rita@full.example"],
}


@pytest.mark.parametrize("name", RECIPIENTS)
def test_recipients_in_report_order(name: str) -> None:
    assert [item.recipient for item in read(f"{name}.eml").evidence] == RECIPIENTS[name]


# name, recipient number, reply code, a part of the deciding words, stage
WORDS = [
    ("dsn-postfix-two", 0, 550, "no mailbox of that name", Stage.RCPT),
    ("dsn-postfix-two", 1, 452, "mailbox of bob is full", Stage.END_OF_DATA),
    ("dsn-exchange", 0, 550, "RESOLVER.RST.AuthRequired", Stage.UNKNOWN),
    ("dsn-smtputf8", 0, 550, "沒有這個使用者", Stage.UNKNOWN),
    ("dsn-no-diagnostic", 0, 550, "switched off", Stage.UNKNOWN),
    ("dsn-sendmail", 0, 553, "not here any longer", Stage.RCPT),
    ("mdn-refused", 0, None, "holds a virus", Stage.LATER),
    ("autoreply-vacation", 0, None, "nicht im Büro", Stage.LATER),
    ("autoreply-zh-tw", 0, None, "我出差中", Stage.LATER),
    ("plain-qmail", 0, 550, "nobody of that name", Stage.RCPT),
    ("plain-qmail", 1, None, "mailbox over there is full", Stage.UNKNOWN),
    ("plain-exim", 0, 550, "we do not want this", Stage.RCPT),
    ("plain-domino", 0, None, "in the Address Book", Stage.UNKNOWN),
    ("plain-prose", 0, 554, "too big for this house", Stage.UNKNOWN),
    ("sns-bounce", 0, 550, "over there nobody", Stage.UNKNOWN),
    ("plain-delayed", 0, None, "did not answer our requests", Stage.UNKNOWN),
]


@pytest.mark.parametrize(
    ("name", "number", "reply_code", "words", "stage"), WORDS, ids=[f"{w[0]}-{w[1]}" for w in WORDS]
)
def test_deciding_words(name: str, number: int, reply_code: int | None, words: str, stage: Stage) -> None:
    reply = read(f"{name}.eml").evidence[number].reply
    assert reply is not None
    assert words in " ".join(reply.text.split())
    assert reply.reply_code == reply_code
    assert reply.stage is stage


def test_dsn_fields_of_message_and_recipient() -> None:
    ann, bob = read("dsn-postfix-two.eml").evidence
    assert ann.road is Road.DSN
    assert (ann.dsn_action, ann.status) == ("failed", "5.1.1")
    assert ann.original_recipient == "ann+news@example.com"  # xtext of ORCPT decoded
    assert (ann.reporting_mta, ann.remote_mta) == ("mx.sender.example", "mx.example.com")
    assert ann.queue_id == "4Zx9Qk1L2Mz6"
    assert ann.envelope_id == "spring-2026"
    assert ann.message_id == "<spring-1@sender.example>"
    assert ann.time == datetime(2026, 3, 3, 1, 15, 42, tzinfo=UTC)  # the mail's Date
    assert bob.time == datetime(2026, 3, 3, 1, 14, tzinfo=UTC)  # its own Last-Attempt-Date
    assert ann.trust is Trust.CLAIMED


def test_own_message_id_is_told_apart_from_the_returned_one() -> None:
    found = read("dsn-postfix-two.eml")
    assert found.message_id == "<4Zx9Qk1L2Mz7@mx.sender.example>"


def test_original_recipient_from_the_returned_mail() -> None:
    assert read("dsn-exchange.eml").evidence[0].original_recipient == "carl.old@corp.example"


def test_unicode_escapes_of_an_original_recipient() -> None:
    assert read("dsn-smtputf8.eml").evidence[0].original_recipient == "王小明@utf8.example"


@pytest.mark.parametrize(
    ("name", "dsn_action"),
    [("dsn-delayed", "delayed"), ("dsn-success", "relayed"), ("plain-delayed", "delayed"), ("plain-qmail", "failed")],
)
def test_what_happened_to_the_mail(name: str, dsn_action: str) -> None:
    assert read(f"{name}.eml").evidence[0].dsn_action == dsn_action


def test_report_without_recipient_is_kept_with_a_note() -> None:
    found = read("dsn-no-recipient.eml").evidence[0]
    assert found.notes == ("the report names no recipient",)
    assert found.reporting_mta == "gone.example"


def test_complaint_fields() -> None:
    found = read("arf-abuse.eml").evidence[0]
    assert (found.road, found.feedback_type) == (Road.ARF, "abuse")
    assert found.message_id == "<spring-6@sender.example>"
    assert found.notes == ("reverse-path b+token@return.sender.example",)
    assert read("arf-not-spam.eml").evidence[0].feedback_type == "not-spam"


def test_automatic_reply_names_the_mail_it_answers() -> None:
    found = read("autoreply-vacation.eml").evidence[0]
    assert found.road is Road.AUTOREPLY
    assert found.message_id == "<spring-8@sender.example>"
    assert found.new_address is None  # a stand-in, and a quoted address


def test_announced_new_address() -> None:
    found = read("autoreply-moved.eml").evidence[0]
    assert (found.recipient, found.new_address) == ("olga@old.example", "olga.k@new.example")


def test_read_receipt_says_what_it_is() -> None:
    assert read("mdn-displayed.eml").notes == ("disposition notification: manual-action/mdn-sent-manually; displayed",)


def test_order_of_readers_is_written_down() -> None:
    names = [type(reader).__name__ for reader in READER.readers]
    assert names == [
        "Arf",
        "Dsn",
        "Mdn",
        "Sns",
        "Decoy",
        "Formed",
        "PlainReport",
        "Notice",
        "FieldlessReport",
        "AutoReply",
        "Flufl",
    ]


@given(st.binary(max_size=3000))
def test_any_bytes_never_raise(raw: bytes) -> None:
    read_mail(raw)


HEADS = [
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n",
    b"Content-Type: multipart/report; report-type=feedback-report; boundary=b\n",
    b"From: MAILER-DAEMON@x.example\nSubject: Undelivered mail\n",
    b"Auto-Submitted: auto-replied\nContent-Type: text/html; charset=x-no-such\n",
    b"Content-Transfer-Encoding: base64\nContent-Type: message/delivery-status\n",
]
PIECES = [
    b"--b\n",
    b"--b--\n",
    b"\n",
    b"\r\n",
    b"Content-Type: message/delivery-status\n",
    b"Content-Type: message/rfc822\n",
    b"Content-Type: multipart/mixed; boundary=b\n",
    b"Final-Recipient: rfc822; ann@example.com\n",
    b"Diagnostic-Code: smtp; 550 5.1.1 no\n",
    b"Action: failed\n",
    b"<ann@example.com>: 550 gone\n",
    b"=?utf-8?b?gICA?=\n",
    b"Date: 99 Foo 999999999 99:99:99\n",
    b">>> RCPT To:<a@b.example>\n<<< 550 no\n",
    b"@@@\x00\xff<>\n",
]


@given(st.sampled_from(HEADS), st.lists(st.sampled_from(PIECES) | st.binary(max_size=40), max_size=30))
def test_any_mixture_of_report_pieces_never_raises(head: bytes, pieces: list[bytes]) -> None:
    read_mail(head + b"\n" + b"".join(pieces))


@pytest.mark.parametrize("name", ["dsn-postfix-two.eml", "dsn-exchange.eml", "arf-abuse.eml"])
def test_report_cut_at_any_byte_is_read_without_error(name: str) -> None:
    raw = (MAILS / name).read_bytes()
    kinds = {read_mail(raw[:length]).kind for length in range(len(raw))}
    assert KINDS[name.removesuffix(".eml")] in kinds


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2400), st.binary(min_size=1, max_size=4))
def test_report_with_broken_octets_never_raises(at: int, junk: bytes) -> None:
    raw = (MAILS / "dsn-postfix-two.eml").read_bytes()
    read_mail(raw[:at] + junk + raw[at + len(junk) :])


def nested(depth: int) -> bytes:
    opened = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth))
    return b"From: a@b.example\n" + opened + b"\nhello\n" + b"".join(b"--b%d--\n" % n for n in reversed(range(depth)))


def forwarded(depth: int) -> bytes:
    return b"From: a@b.example\n" + b"Content-Type: message/rfc822\n\n" * depth + b"\nhello\n"


SAME = (
    b"From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n\n"
    + b"--b\nContent-Type: multipart/mixed; boundary=b\n\n" * 5000
)

HOSTILE = {
    "nested-1000-deep": nested(1000),
    "forwarded-1000-deep": forwarded(1000),
    "one-boundary-for-all": SAME,
    "nothing-but-boundaries": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n" * 1_000_000,
    "nothing-but-headers": b"Content-Type: multipart/mixed; boundary=b\n\n--b\n"
    + (b"X-A: b\n" * 19_000 + b"--b\n") * 30,
    "million-headers": b"From: MAILER-DAEMON\nX-A: b\n" + b"X-A: b\n" * 1_000_000 + b"\nhello\n",
    "endless-line": b"From: MAILER-DAEMON\nSubject: failure\n\n" + b"a@" * 4_000_000,
    "endless-header": b"Subject: " + b"=?utf-8?q?" * 500_000 + b"\n\nhi",
    "body-of-30-mb": b"From: MAILER-DAEMON\nSubject: Undelivered\n\n<ann@example.com>: 550 no\n"
    + b"abc def ghi\n" * 2_600_000,
    "hundred-thousand-parts": b"Content-Type: multipart/report; boundary=b\n\n" + b"--b\n\nx\n" * 100_000,
    "spaces": b"From: MAILER-DAEMON\nSubject: failure\n\n" + b" " * 3_000_000 + b"\n" + b"\t\n" * 500_000,
    "angle-brackets": b"From: MAILER-DAEMON\nContent-Type: text/html\n\n" + b"<" * 3_000_000,
    "open-comments": b"From: MAILER-DAEMON\nContent-Type: text/html\n\n" + b"<!--" * 700_000,
    "at-signs": b"From: MAILER-DAEMON\nSubject: failure\n\n" + b"x" * 100 + b"@" * 3_000_000,
    "colons": b"Content-Type: message/delivery-status\n\n" + b"Final-Recipient: rfc822; a@b.example\n\n" * 80_000,
    "deep-json": b"From: a@b.example\n\n" + b'{"mail":' * 1_000_000,
    "many-mute-recipients": b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\n"
    + b"a word about nobody@b.example\n" * 2000
    + b"--b\nContent-Type: message/delivery-status\n\n"
    + b"Final-Recipient: rfc822; ann@c.example\nAction: failed\n\n" * 20_000
    + b"--b--\n",
    "one-name-on-every-line": b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\n"
    + b"about a@b.example in word\n" * 5000
    + b"--b\nContent-Type: message/delivery-status\n\n"
    + b"Final-Recipient: rfc822; a@b.example\nAction: failed\n\n" * 50
    + b"--b--\n",
    "many-failed-recipients": b"From: MAILER-DAEMON\nX-Failed-Recipients: "
    + b", ".join(b"a%d@b.example" % n for n in range(1000))
    + b"\n\nfailed\n"
    + b"a word about nobody@b.example\n" * 3000,
    "quoted-printable": b"Content-Transfer-Encoding: quoted-printable\nFrom: MAILER-DAEMON\n\n" + b"=3D" * 1_300_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mail_is_read_in_bounded_time(name: str) -> None:
    begin = time.process_time()
    read_mail(HOSTILE[name])
    # Each takes about a tenth of a second; anything quadratic over these sizes would take minutes.
    assert time.process_time() - begin < 3


def test_memory_beside_a_large_mail_is_bounded() -> None:
    raw = HOSTILE["body-of-30-mb"] * 3
    tracemalloc.start()
    read_mail(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * OCTET_LIMIT


def test_cutting_is_noted() -> None:
    assert read_mail(HOSTILE["body-of-30-mb"]).notes == (f"only the first {OCTET_LIMIT} octets were read",)
    assert any("nesting" in note for note in read_mail(nested(1000)).notes)
    assert any("parts" in note for note in read_mail(HOSTILE["hundred-thousand-parts"]).notes)


def test_recipient_before_a_huge_body_is_found() -> None:
    assert read_mail(HOSTILE["body-of-30-mb"]).evidence[0].recipient == "ann@example.com"


def test_long_report_is_cut_between_lines_so_that_no_address_is_half() -> None:
    raw = b"From: MAILER-DAEMON\nSubject: Undelivered\n\n" + b"<ann@harbour.example>: no such user\n" * 4_000
    assert {evidence.recipient for evidence in read_mail(raw).evidence} == {"ann@harbour.example"}


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"\x00" * 100, b"From x\n"], ids=["empty", "newline", "nul", "envelope-only"]
)
def test_nothing_is_no_bounce(raw: bytes) -> None:
    assert read_mail(raw).kind is MailKind.NOT_A_BOUNCE


FAILURE_SUBJECTS = [
    "Undeliverable: Spring",
    "無法傳遞: Spring",
    "未送达: Spring",
    "配信不能: Spring",
    "배달되지 않음: Spring",
    "Unzustellbar: Spring",
    "Non remis : Spring",
    "No se puede entregar: Spring",
    "Não entregue: Spring",
    "Mancato recapito: Spring",
    "Onbestelbaar: Spring",
    "Не доставлено: Spring",
]


@pytest.mark.parametrize("subject", FAILURE_SUBJECTS)
def test_failure_is_told_by_subjects_in_many_languages(subject: str) -> None:
    raw = f"Return-Path: <>\nFrom: x@far.example\nSubject: {subject}\n\n<ann@example.com>: 550 5.1.1 nobody\n".encode()
    found = read_mail(raw)
    assert (found.kind, found.evidence[0].recipient) == (MailKind.DSN, "ann@example.com")


def test_flat_report_from_an_ordinary_address_is_known_by_its_subject() -> None:
    raw = (
        b"From: news@far.example\nSubject: Undelivered Mail Returned to Sender\n\n<ann@example.com>: 550 5.1.1 nobody\n"
    )
    assert read_mail(raw).kind is MailKind.DSN
    assert read_mail(b"X-Mailer: Pen 3\n" + raw).kind is MailKind.NOT_A_BOUNCE
    assert read_mail(raw.replace(b"Subject: ", b"Subject: Re: ")).kind is MailKind.NOT_A_BOUNCE


def test_report_of_a_mail_system_in_unknown_words_is_no_vacation() -> None:
    raw = b"From: MAILER-DAEMON@far.example\nSubject: xyzzy\nAuto-Submitted: auto-replied\n\nxyzzy plugh\n"
    assert read_mail(raw).kind is MailKind.OTHER
