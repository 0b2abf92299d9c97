"""Bytes of a mail -> Evidence: DSN, disposition notification, feedback report, automatic reply, older forms. No I/O."""

from omicard_relay.bounce.reading import MailReader
from omicard_relay.bounce.result import MailReading, Reader

__all__ = ["MailReader", "MailReading", "Reader"]
