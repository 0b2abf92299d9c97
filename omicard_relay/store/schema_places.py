"""The tables that tell how far logs and folders were read, and who does common work; a part of schema.py."""

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from omicard_relay.store.columns import Moment, metadata

__all__ = ["follow_place", "housekeeping", "import_done", "import_place"]

#: How far each log was read, moved in the same transaction as what was read.
follow_place = Table(
    "follow_place",
    metadata,
    Column("path", Text, primary_key=True),
    Column("inode", BigInteger, nullable=False),
    Column("head_digest", String(64), nullable=False),
    Column("head_length", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("read", Moment),  # all that was written before this moment has been read; null before the first end
)

#: How far a folder of mails was imported, moved in the same transaction as what was imported.
import_place = Table(
    "import_place",
    metadata,
    Column("source", Text, primary_key=True),
    Column("identity", Text, nullable=False),  # tells another folder, or another file, of the same name
    Column("offset", BigInteger, nullable=False),  # octets of an mbox, or the last UID of an IMAP mailbox
    Column("moved", Moment, nullable=False),
)

#: A mail of a folder of files that was imported; its content may have another one's digest.
import_done = Table(
    "import_done",
    metadata,
    Column("source", Text, primary_key=True),
    Column("name", Text, primary_key=True),  # of a maildir without its flags
    Column("mark", Text, nullable=False),  # size and time of a file that may be changed; empty in a maildir
)

#: Work that one process at a time does, for all machines of this store: who does it, until when he may, and when it was done.
housekeeping = Table(
    "housekeeping",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", Text),
    Column("until", Moment),
    Column("done", Moment),
)
