"""What can be wrong with a source of mails: each fault with its sentence, whose places are filled when it is raised.

The sentences are English; the command line has them in other languages, and finds the right one by the fault.
Not here: a store that fails (StoreError), and what is wrong with a single mail beyond these words.
"""

from enum import StrEnum

from omicard_relay.mail import RelayError, one_line

__all__ = ["Fault", "MailFault", "SourceError"]


class Fault(StrEnum):
    """Why a whole source cannot be read, and what to do; `{why}` is what the system, or the server, said."""

    NOT_THERE = "{name}: there is no such file or folder; check the path."
    CLOSED = "{name}: cannot be read ({why}); check its permissions, or run this as a user who may read it."
    IS_A_FILE = "{name}: is a file, and a maildir is a folder; leave --format out."
    IS_A_FOLDER = "{name}: is a folder, and an mbox is a file; leave --format out."
    NO_MAILS = (
        "{name}: no maildir and no .eml files in it; `--recursive` looks below it, `--format files` takes every file."
    )
    NO_URL = "{name}: is no address such as imaps://user@mail.example.com/INBOX."
    URL_CUT_SHORT = "{name}: user or host is missing; write imaps://user@mail.example.com/INBOX."
    URL_TELLS_TOO_MUCH = "the password must not stand in the URL; use --password-file or $OMICARD_RELAY_IMAP_PASSWORD."
    NO_LIBRARY = (
        "IMAP needs a library that is not installed; run `pip install 'omicard-relay[imap]'` with this program's pip."
    )
    NO_TLS = "{name}: offers no STARTTLS, and a password never goes out in the clear; use imaps://."
    NOT_REACHED = "{name}: cannot be reached ({why}); check host, port and network."
    NOT_LET_IN = "{name}: the server refuses user or password ({why})."
    NOT_OPENED = "{name}: the server does not open the mailbox ({why}); check its name, which stands behind the host."
    BROKEN_OFF = "{name}: {why}; start it again: it goes on where it was."


class MailFault(StrEnum):
    """Why a single mail was left out."""

    NO_FILE = "is no file"
    NO_MAIL = "no mail begins in it"
    NO_CONTENT = "the server does not give its content"


class SourceError(RelayError):
    """A source that cannot be read. `fields` fill the fault's sentence, in whatever language; they are safe to print."""

    def __init__(self, fault: Fault, *, name: str = "", why: str = "") -> None:
        self.fault = fault
        self.fields = {"name": one_line(name, 400), "why": one_line(why, 300)}
        super().__init__(fault.value.format(**self.fields))
