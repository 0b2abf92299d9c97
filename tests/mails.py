"""Bounce mails in the shape of the wild, written for these tests: a DSN, a vacation answer, a complaint."""

__all__ = ["arf", "dsn", "vacation"]


def dsn(
    *recipients: str,
    action: str = "failed",
    status: str = "5.1.1",
    words: str = "550 5.1.1 no such user here",
    queue_id: str = "",
    message_id: str = "",
    reporting: str = "mx.there.example",
    number: int = 1,
) -> bytes:
    """RFC 3464, one group for each recipient; `queue_id` as Postfix tells its own."""
    groups = "".join(
        f"\r\nFinal-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Remote-MTA: dns; mx.there.example\r\nDiagnostic-Code: smtp; {words}\r\n"
        for recipient in recipients
    )
    own = f"X-Postfix-Queue-ID: {queue_id}\r\n" if queue_id else ""
    returned = f"Message-ID: {message_id}\r\n" if message_id else ""
    return (
        f"From: Mail Delivery System <MAILER-DAEMON@{reporting}>\r\n"
        "To: b+token@bounces.example\r\nSubject: Undelivered Mail Returned to Sender\r\n"
        f"Message-ID: <notice-{number}@{reporting}>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nYour words did not reach their reader.\r\n"
        f"\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; {reporting}\r\n{own}{groups}"
        f"\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: news@shop.example\r\n{returned}Subject: Spring\r\n"
        "\r\n--b--\r\n"
    ).encode()


def vacation(sender: str = "ann@a.example", text: str = "I am out of the office until Monday.") -> bytes:
    """RFC 3834."""
    return (
        f"From: {sender}\r\nTo: b+token@bounces.example\r\nSubject: Auto: Spring\r\n"
        f"Auto-Submitted: auto-replied (vacation)\r\nMessage-ID: <v@a.example>\r\n\r\n{text}\r\n"
    ).encode()


def arf(recipient: str = "ann@a.example", message_id: str = "<s1@shop.example>") -> bytes:
    """RFC 5965."""
    return (
        "From: <complaints@there.example>\r\nTo: b+token@bounces.example\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nThis is a complaint.\r\n"
        "\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: There/1\r\nVersion: 1\r\n"
        f"Original-Rcpt-To: <{recipient}>\r\n"
        f"\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nFrom: news@shop.example\r\nMessage-ID: {message_id}\r\n\r\nhello\r\n"
        "\r\n--b--\r\n"
    ).encode()
