"""Notifications of Amazon SES in the envelope of an SNS topic."""

import json

import pytest

from omicard_relay.bounce import MailReading
from omicard_relay.mail import MailKind
from tests.mailreading import read_mail

BOUNCE = {
    "notificationType": "Bounce",
    "bounce": {
        "bouncedRecipients": [
            {
                "emailAddress": "ann@isp.example",
                "action": "failed",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 nobody",
            }
        ],
        "timestamp": "2026-03-03T01:02:03.000Z",
    },
    "mail": {"messageId": "0102", "destination": ["ann@isp.example"]},
}
COMPLAINT = {
    "notificationType": "Complaint",
    "complaint": {"complainedRecipients": [{"emailAddress": "ann@isp.example"}], "complaintFeedbackType": "abuse"},
    "mail": {"messageId": "0102"},
}


def notification(message: object) -> MailReading:
    text = json.dumps({"Type": "Notification", "MessageId": "x", "Message": message}, indent=1)
    head = "From: no-reply@sns.example\nSubject: AWS Notification Message\n"
    return read_mail(f"{head}\n{text}\n\n--\nIf you wish to stop, click below.\n".encode())


@pytest.mark.parametrize(
    ("message", "kind"), [(BOUNCE, MailKind.DSN), (COMPLAINT, MailKind.ARF)], ids=["bounce", "complaint"]
)
def test_object_inside_the_envelope_is_read(message: object, kind: MailKind) -> None:
    found = notification(json.dumps(message))
    assert (found.kind, [item.recipient for item in found.evidence]) == (kind, ["ann@isp.example"])


@pytest.mark.parametrize(
    "message", ["hello", "{", '{"notificationType": "Delivery", "mail": {}}', 7, None, "[" * 9_000]
)
def test_other_messages_are_no_bounce(message: object) -> None:
    assert notification(message).kind is MailKind.NOT_A_BOUNCE
