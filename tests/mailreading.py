"""The mail reader with the shipped tables, for tests."""

from omicard_relay.bounce import MailReader
from omicard_relay.tables.formats import load_formats

__all__ = ["READER", "read_mail"]

READER = MailReader(load_formats())
read_mail = READER.read
