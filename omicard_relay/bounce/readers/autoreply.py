"""RFC 3834 automatic replies: out of office, vacation, acknowledgements -> one Evidence, road AUTOREPLY.

Known by Auto-Submitted: auto-replied and the fields that responders set; else by the subject's wording at its beginning;
else by a weak mark (Precedence: bulk, null reverse-path, auto-generated) together with an absent person's words. Words
inside a quoted mail, in an answer (`Re:`) or on a mailing list are no mark. The mail *was* delivered.
The recipient is the one that answers (From); the reply is the subject and the first words, stage `later`.
"""

from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.readers.moved import new_address
from omicard_relay.bounce.readers.wording import ABSENT, NAMED
from omicard_relay.bounce.result import MailReading, reading
from omicard_relay.bounce.text import first_address, unquoted
from omicard_relay.mail import Evidence, MailKind, Road, Stage, read_reply

__all__ = ["AutoReply"]

#: Characters of the answer that are kept as its words.
_WORDS_LIMIT = 2_000
#: Fields that only responders set, whatever their value but "no".
_RESPONDER_FIELDS = (
    "x-autoreply",
    "x-autoreply-from",
    "x-auto-reply",
    "x-auto-reply-from",
    "x-autorespond",
    "x-autoresponder",
    "x-mail-autoreply",
    "x-vacation",
)


class AutoReply:
    """The reader of automatic replies."""

    def read(self, letter: Letter) -> MailReading | None:
        if not _is_automatic(letter):
            return None
        words = unquoted(letter.text).strip()[:_WORDS_LIMIT]
        text = f"{letter.subject}\n{words}".strip()
        recipient = letter.sender or first_address(letter.head.get("reply-to"))
        return reading(
            letter,
            MailKind.AUTOREPLY,
            (
                Evidence(
                    road=Road.AUTOREPLY,
                    recipient=recipient,
                    replies=(read_reply(text, stage=Stage.LATER, time=letter.time),) if text else (),
                    message_id=_answered_id(letter),
                    new_address=new_address(unquoted(letter.text), known=_known(letter)),
                    time=letter.time,
                ),
            ),
        )


def _answered_id(letter: Letter) -> str | None:
    """The Message-ID that is answered (RFC 3834 §3.1.6): In-Reply-To, else the last of References."""
    ids = letter.head.get("in-reply-to").split() or letter.head.get("references").split()
    return next((word for word in reversed(ids) if word.startswith("<") and "@" in word), letter.returned_id)


def _known(letter: Letter) -> frozenset[str]:
    """The addresses that cannot be the new one: both ends of this mail and of the returned one."""
    names = [letter.head.get(name) for name in ("from", "sender", "to", "cc", "reply-to")]
    names += [letter.returned.get(name) for name in ("from", "to", "cc")]
    return frozenset(address.lower() for name in names if (address := first_address(name)))


def _tells_absence(letter: Letter) -> bool:
    return ABSENT.search(f"{letter.subject[:300]}\n{unquoted(letter.text)[:_WORDS_LIMIT]}") is not None


def _is_automatic(letter: Letter) -> bool:
    head = letter.head
    if letter.from_daemon and not NAMED.match(letter.subject[:300]) and not _tells_absence(letter):
        # Mail systems set Auto-Submitted: auto-replied on reports too (Exim); one that we cannot read is no vacation.
        return False
    if letter.auto_submitted.startswith("auto-replied"):
        return True
    if any((value := head.get(name)) and value.lower() != "no" for name in _RESPONDER_FIELDS):
        return True
    precedence = head.get("precedence").lower()
    if precedence.startswith(("auto_reply", "auto-reply", "autoreply")):
        return True
    if "ooftemplate" in head.get("x-message-class").lower() + head.get("x-ms-exchange-message-class").lower():
        return True
    if letter.from_list or letter.is_answer:
        return False
    if NAMED.match(letter.subject[:300]):
        return True
    if "autoresponder" in head.get("delivered-to").lower():
        return True
    looped = bool(head.get("x-ms-exchange-inbox-rules-loop"))
    if looped and (head.get("in-reply-to") or letter.auto_submitted.startswith("auto-")):
        return True
    weak = (
        looped
        or letter.null_reverse_path
        or letter.auto_submitted.startswith("auto-")
        or bool(head.get("x-auto-response-suppress"))
        or precedence in ("bulk", "junk")
    )
    return weak and _tells_absence(letter)
