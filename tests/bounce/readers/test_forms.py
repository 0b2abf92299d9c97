"""Single forms in detail: what the whole-mail tests do not show."""

import pytest

from omicard_relay.bounce import MailReader, MailReading
from omicard_relay.bounce.readers.flufl import Flufl
from omicard_relay.mail import MailKind, Road
from tests.mailreading import read_mail


def report(report_type: str, *parts: tuple[str, str], head: str = "") -> MailReading:
    body = "".join(f"--b\nContent-Type: {kind}\n\n{text}\n" for kind, text in parts)
    return read_mail(
        f"From: MAILER-DAEMON@r.example\n{head}Content-Type: multipart/report; report-type={report_type}; boundary=b\n\n"
        f"{body}--b--\n".encode()
    )


STATUS = "message/delivery-status"
FAILED = "Reporting-MTA: dns; r.example\n\nFinal-Recipient: rfc822; ann@example.com\nAction: failed\nStatus: 5.0.0\n"


@pytest.mark.parametrize(
    ("disposition", "kind"),
    [
        ("manual-action/MDN-sent-manually; displayed", MailKind.NOT_A_BOUNCE),
        ("manual-action/MDN-sent-automatically; deleted", MailKind.NOT_A_BOUNCE),
        ("automatic-action/MDN-sent-automatically; deleted", MailKind.NOT_A_BOUNCE),
        ("automatic-action/MDN-sent-automatically; deleted/error", MailKind.DSN),
        ("automatic-action/MDN-sent-automatically; denied/error", MailKind.DSN),
        ("automatic-action/MDN-sent-automatically; failed", MailKind.DSN),
        ("automatic-action/MDN-sent-automatically; processed/failure", MailKind.DSN),
        ("", MailKind.NOT_A_BOUNCE),
    ],
)
def test_dispositions(disposition: str, kind: MailKind) -> None:
    fields = f"Final-Recipient: rfc822; ann@example.com\nDisposition: {disposition}\n"
    assert report("disposition-notification", ("message/disposition-notification", fields)).kind is kind


@pytest.mark.parametrize("feedback_type", ["abuse", "fraud", "opt-out", "virus", "other", "not-spam", "auth-failure"])
def test_feedback_types(feedback_type: str) -> None:
    (found,) = report("feedback-report", ("message/feedback-report", f"Feedback-Type: {feedback_type}\n")).evidence
    assert (found.road, found.feedback_type, found.recipient) == (Road.ARF, feedback_type, "")


def test_complaint_without_a_feedback_part() -> None:
    raw = (
        b"From: staff@mail.example\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
        b"X-HmXmrOriginalRecipient: ann@example.com\nFrom: news@sender.example\n\nhi\n--b--\n"
    )
    found = read_mail(raw)
    assert (found.kind, found.evidence[0].recipient) == (MailKind.ARF, "ann@example.com")


def test_unsubscribe_by_a_mail_program_is_an_opt_out() -> None:
    found = read_mail(
        b"From: ann@example.com\nSubject: unsubscribe\nAuto-Submitted: auto-generated\n\nSent by a program.\n"
    )
    assert (found.kind, found.evidence[0].feedback_type) == (MailKind.ARF, "opt-out")
    assert read_mail(b"From: ann@example.com\nSubject: unsubscribe\n\nPlease.\n").kind is MailKind.NOT_A_BOUNCE


def test_recipient_that_is_a_pipe_is_replaced_by_the_original_one() -> None:
    fields = "Final-Recipient: x-local; |/usr/bin/filter\nOriginal-Recipient: rfc822; ann@example.com\nAction: failed\n"
    (found,) = report("delivery-status", (STATUS, fields)).evidence
    assert found.recipient == "ann@example.com"


def test_recipient_of_the_returned_mail_is_taken_with_a_note() -> None:
    parts = ((STATUS, "Reporting-MTA: dns; r.example\n"), ("message/rfc822", "To: ann@example.com\nSubject: x\n\nhi"))
    (found,) = report("delivery-status", *parts).evidence
    assert found.recipient == "ann@example.com"
    assert found.notes == ("the report names no recipient; taken from the returned mail",)


@pytest.mark.parametrize(
    ("action", "dsn_action"),
    [
        ("failed", "failed"),
        ("Failed (no mailbox)", "failed"),
        ("failure", "failed"),
        ("DELAYED", "delayed"),
        ("", None),
    ],
)
def test_action_words(action: str, dsn_action: str | None) -> None:
    fields = f"Final-Recipient: rfc822; ann@example.com\nAction: {action}\nStatus: 5.0.0\n"
    assert report("delivery-status", (STATUS, fields)).evidence[0].dsn_action == dsn_action


def test_status_field_speaks_where_nothing_else_does() -> None:
    fields = FAILED.replace("Status: 5.0.0", "Status: 5.1.1 (bad destination mailbox address)")
    (found,) = report("delivery-status", (STATUS, fields)).evidence
    assert found.status == "5.1.1"
    assert "bad destination" in found.replies[-1].text


def test_expired_report_gives_way_to_what_the_server_had_said() -> None:
    human = "We tried for two days.\n\nServer at mx.example.com returned '452 4.2.2 the box is full'\n"
    fields = FAILED + "Diagnostic-Code: smtp; 550 4.4.7 QUEUE.Expired; message expired\n"
    (found,) = report("delivery-status", ("text/plain", human), (STATUS, fields)).evidence
    assert ["expired" in reply.text for reply in found.replies] == [True, False]
    assert found.replies[-1].reply_code == 452


def test_last_host_of_a_transcript_decides_and_not_the_protocol_error_behind_it() -> None:
    human = (
        "... while talking to mx1.example.com.:\n>>> RCPT To:<ann@example.com>\n<<< 450 busy now\n"
        "... while talking to mx2.example.com.:\n>>> RCPT To:<ann@example.com>\n<<< 551 not ours\n"
        ">>> DATA\n<<< 503 need RCPT\n"
    )
    (found,) = report("delivery-status", ("text/plain", human), (STATUS, FAILED)).evidence
    reply = found.replies[-1]
    assert (reply.reply_code, reply.host) == (551, "mx2.example.com")


def test_fields_in_a_part_of_the_wrong_type() -> None:
    assert report("delivery-status", ("text/plain", FAILED)).evidence[0].recipient == "ann@example.com"


def test_fields_in_the_body_of_a_flat_report() -> None:
    raw = f"From: MAILER-DAEMON@r.example\nSubject: Undelivered mail\n\nSorry.\n\n{FAILED}".encode()
    assert [item.recipient for item in read_mail(raw).evidence] == ["ann@example.com"]


def test_base64_status_part_is_read() -> None:
    raw = (
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n"
        b"Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n"
        b"RmluYWwtUmVjaXBpZW50OiByZmM4MjI7IGFubkBleGFtcGxlLmNvbQpBY3Rpb246IGZhaWxlZAo=\n--b--\n"
    )
    assert read_mail(raw).evidence[0].recipient == "ann@example.com"


def test_flufl_knows_what_nothing_else_does() -> None:
    reader = MailReader()
    reader.readers = (Flufl(),)
    raw = (
        b"From: MAILER-DAEMON@q.example\nSubject: failure notice\n\nHi. This is the qmail-send program at q.example.\n"
        b"\n<ann@example.com>:\nnobody here\n\n--- Below this line is a copy of the message.\n"
    )
    found = reader.read(raw)
    assert [item.recipient for item in found.evidence] == ["ann@example.com"]
    assert found.notes == ("recipients found by flufl.bounce, cause not read",)
    assert reader.read(b"From: ann@example.com\n\nhello\n").kind is MailKind.NOT_A_BOUNCE


def test_notification_whose_long_line_was_broken_on_the_way() -> None:
    raw = (
        b'From: no-reply@notify.example\n\n{"notificationType":"Bounce","mail":{},"bounce":{"bouncedRecipients":'
        b'[{"emailAddress":"ann@exa!\n mple.com"}]}}\n'
    )
    assert read_mail(raw).evidence[0].recipient == "ann@example.com"


@pytest.mark.parametrize(
    "text",
    [
        '{"notificationType":"Delivery","mail":{}}',
        '{"mail":',
        '{"mail":[1]}',
        '{"notificationType":["Bounce"],"mail":1}',
    ],
    ids=["delivery", "cut", "no-type", "wrong-types"],
)
def test_other_objects_are_no_bounce(text: str) -> None:
    assert read_mail(f"From: a@b.example\n\n{text}\n".encode()).kind is MailKind.NOT_A_BOUNCE
