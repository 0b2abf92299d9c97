"""`MailReader`: the octets of a mail to the return path -> what it says (`MailReading`). Never raises.

The order of the readers is written down here: standard forms by their media types first, then forms that are data, reports in
plain text, automatic replies, and flufl.bounce last. The first that knows the mail decides.
Not here: judging (classify/), and whose mail it answers (the signed reverse-path, services/).
"""

from collections.abc import Sequence

from omicard_relay.bounce.forms import FormBook
from omicard_relay.bounce.letter import open_letter
from omicard_relay.bounce.readers.arf import Arf
from omicard_relay.bounce.readers.autoreply import AutoReply
from omicard_relay.bounce.readers.dsn import Dsn
from omicard_relay.bounce.readers.flufl import Flufl
from omicard_relay.bounce.readers.formed import Formed
from omicard_relay.bounce.readers.mdn import Mdn
from omicard_relay.bounce.readers.plain import PlainReport
from omicard_relay.bounce.readers.sns import Sns
from omicard_relay.bounce.result import MailReading, Reader, reading
from omicard_relay.mail import MailKind
from omicard_relay.tables.formats import Form

__all__ = ["MailReader"]


class MailReader:
    """Reads mails by the forms of the tables; never changes, so that threads may share it."""

    def __init__(self, forms: Sequence[Form] = ()) -> None:
        self.readers: tuple[Reader, ...] = (
            Arf(),
            Dsn(),
            Mdn(),
            Sns(),
            Formed(FormBook(forms)),
            PlainReport(),
            AutoReply(),
            Flufl(),
        )

    def read(self, raw: bytes) -> MailReading:
        """What a mail says: its kind, one Evidence a recipient, its own Message-ID, and notes on what was not read.

        A report in no form that we read is `other`, a person's mail `not-a-bounce`; both have no evidence.
        """
        letter = open_letter(raw)
        for reader in self.readers:
            found = reader.read(letter)
            if found is not None:
                return found
        return reading(letter, MailKind.OTHER if letter.looks_like_report else MailKind.NOT_A_BOUNCE)
