"""Bytes of a mail -> Evidence: DSN, disposition notification, feedback report, automatic reply, older forms. No I/O."""

from omicard_relay.bounce.reading import READERS, read_mail
from omicard_relay.bounce.result import MailReading, Reader

__all__ = ["READERS", "MailReading", "Reader", "read_mail"]
