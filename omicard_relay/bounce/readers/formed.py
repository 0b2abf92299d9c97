"""Reports in a form that is data (policies/formats) -> one Evidence a recipient.

Asked before the general reader of plain reports: a form knows where its mail system writes the recipient and the remote
server's own words. What a form leaves open (a recipient that only the returned mail names, words without a reply) is read as in
any other plain report.
"""

from omicard_relay.bounce.forms import CompiledForm, FormBook
from omicard_relay.bounce.human import HumanPart
from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.readers.arf import complaint
from omicard_relay.bounce.readers.decoy import Decoy
from omicard_relay.bounce.readers.plain import general_stanzas, report_evidence
from omicard_relay.bounce.result import MailReading, reading
from omicard_relay.bounce.stanzas import Stanza
from omicard_relay.mail import MailKind

__all__ = ["Formed"]


class Formed:
    """The reader of known forms."""

    def __init__(self, book: FormBook, decoy: Decoy) -> None:
        self._book, self._decoy = book, decoy

    def read(self, letter: Letter) -> MailReading | None:
        form = self._book.form_of(letter)
        if form is None:
            return None
        # A mail with a report's subject and no other mark of a mail system was not shown to the reader of decoys.
        is_report = form.form.kind is MailKind.DSN
        if is_report and not letter.looks_like_report and (lure := self._decoy.lure(letter)) is not None:
            return lure
        note = f"form {form.form.id}"
        if form.form.kind is MailKind.ARF:
            return complaint(letter, {}, [one.recipient for one in form.stanzas(letter) if "@" in one.recipient], note)
        if not is_report:
            return reading(letter, form.form.kind, (), note)
        return _report(letter, form, note)


def _report(letter: Letter, form: CompiledForm, note: str) -> MailReading:
    stanzas = form.stanzas(letter) or general_stanzas(letter) or (Stanza(recipient="", words=""),)
    human = HumanPart(letter, len(stanzas))
    action = form.action(form.own_words(letter.text))
    return reading(letter, MailKind.DSN, [report_evidence(letter, human, one, action) for one in stanzas], note)
