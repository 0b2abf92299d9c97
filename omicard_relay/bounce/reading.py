"""`MailReader`: the octets of a mail to the return path -> what it says (`MailReading`). Never raises.

The order of the readers is written down here: standard forms by their media types first, then forms that are data, reports in
plain text, notices in a system's own words, automatic replies, flufl.bounce last. The first that knows the mail decides. A mail
whose media types already tell its form is shown to the one reader of that form; the others are asked when it does not know it.
Not here: judging (classify/), and whose mail it answers (the signed reverse-path, services/).
"""

from collections.abc import Sequence

from omicard_relay.bounce.forms import FormBook
from omicard_relay.bounce.letter import Letter, open_letter
from omicard_relay.bounce.nested import LEVELS, with_inner
from omicard_relay.bounce.readers.arf import Arf
from omicard_relay.bounce.readers.autoreply import AutoReply
from omicard_relay.bounce.readers.decoy import Decoy
from omicard_relay.bounce.readers.dsn import STATUS_TYPES, Dsn, FieldlessReport
from omicard_relay.bounce.readers.flufl import Flufl
from omicard_relay.bounce.readers.formed import Formed
from omicard_relay.bounce.readers.mdn import Mdn
from omicard_relay.bounce.readers.notice import Notice
from omicard_relay.bounce.readers.plain import PlainReport
from omicard_relay.bounce.readers.sns import Sns
from omicard_relay.bounce.result import MailReading, Reader, reading
from omicard_relay.mail import MailKind
from omicard_relay.tables.formats import Form
from omicard_relay.tables.responders import Responders, load_responders

__all__ = ["MailReader"]


#: Media types that tell another form, though a status part stands beside.
_BEFORE_STATUS = frozenset({"message/feedback-report"})


class MailReader:
    """Reads mails by the forms of the tables; never changes, so that threads may share it."""

    def __init__(self, forms: Sequence[Form] = (), responders: Responders | None = None) -> None:
        """`responders` None: the shipped table, which is read here."""
        answers = load_responders() if responders is None else responders
        self._answers, self._book = answers, FormBook(forms)
        self._dsn, decoy = Dsn(), Decoy(answers)
        self.readers: tuple[Reader, ...] = (
            Arf(),
            self._dsn,
            Mdn(),
            Sns(),
            decoy,
            Formed(self._book, decoy),
            PlainReport(answers),
            Notice(answers),
            FieldlessReport(),
            AutoReply(answers),
            Flufl(),
        )

    def compile(self) -> None:
        """Compile what is otherwise compiled when a mail first needs it; that takes a few tenths of a second."""
        self._answers.compile()
        self._book.compile()

    def read(self, raw: bytes) -> MailReading:
        """What a mail says: its kind, one Evidence a recipient, its own Message-ID, and notes on what was not read.

        A report in no form that we read is `other`, a person's mail `not-a-bounce`; both have no evidence.
        """
        return self._read(open_letter(raw), LEVELS)

    def _read(self, letter: Letter, levels: int) -> MailReading:
        found = self._known(letter)
        if found is None:
            return reading(letter, MailKind.OTHER if letter.looks_like_report else MailKind.NOT_A_BOUNCE)
        if found.kind is MailKind.DSN and levels:
            return with_inner(letter, found, lambda inner: self._read(inner, levels - 1))
        return found

    def _known(self, letter: Letter) -> MailReading | None:
        """What the first reader says that knows the mail."""
        types = letter.part_types
        if not types.isdisjoint(STATUS_TYPES) and types.isdisjoint(_BEFORE_STATUS):
            found = self._dsn.read(letter)
            if found is not None:
                return found
        for reader in self.readers:
            found = reader.read(letter)
            if found is not None:
                return found
        return None
