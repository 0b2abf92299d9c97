"""The errors that this project raises on purpose; anything else that escapes is a bug.

A message is a full sentence that says what to do next. A bad mail is never an error: readers of mail return what they
could read, with notes. A bad table or setting stops the start.
"""

__all__ = ["RelayError", "SigningError", "StoreBusyError", "StoreError", "TableError", "WireError"]


class RelayError(Exception):
    """Root of all of them: the command line prints the message and ends with 1."""


class TableError(RelayError):
    """A policy table or the configuration is wrong: the message names file, key, what was found and what is allowed."""


class WireError(RelayError):
    """Bytes from a peer, or from us, that break a protocol."""


class StoreError(RelayError):
    """The database is missing, read-only, of another version or broken."""


class StoreBusyError(StoreError):
    """The database is locked for now: trying again helps (451 on the relay, exit 75 in the pipe)."""


class SigningError(RelayError):
    """A key is missing, unreadable, too open or of the wrong kind."""
