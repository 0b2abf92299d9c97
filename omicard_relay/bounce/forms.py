"""Forms of report that are data (policies/formats): which one a mail has, and what it says about whom.

`FormBook` looks for all words of all forms at once (marks.py) and gives the first form, in the order of the table, whose
marks hold. `CompiledForm.stanzas` cuts the text by the form's own captures (patterns.py). Linear on any input.
Not here: the table (tables/formats.py), and what a reader makes of the stanzas (readers/formed.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from omicard_relay.bounce.fields import RECIPIENT_LIMIT
from omicard_relay.bounce.lazily import once
from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.marks import Marks
from omicard_relay.bounce.noise import without_noise
from omicard_relay.bounce.patterns import Capture, Pattern
from omicard_relay.bounce.recipients import completed, is_list_owner
from omicard_relay.bounce.stanzas import Stanza
from omicard_relay.bounce.text import has_words
from omicard_relay.mail import Stage
from omicard_relay.tables.formats import FLAGS, Form

__all__ = ["CompiledForm", "FormBook"]

#: Characters of the readable text in which a form's marks are looked for: a report's own words come first.
MARKED_LIMIT = 8_192
#: Characters of what is said about one recipient.
WORDS_LIMIT = 4_000

_STAGES = {
    "connect": Stage.CONNECT,
    "helo": Stage.HELO,
    "ehlo": Stage.HELO,
    "starttls": Stage.STARTTLS,
    "auth": Stage.AUTH,
    "mail": Stage.MAIL,
    "rcpt": Stage.RCPT,
    "recipient": Stage.RCPT,
    "sender": Stage.MAIL,
    "data": Stage.DATA,
    "bdat": Stage.END_OF_DATA,
    "dot": Stage.END_OF_DATA,
    "end of data": Stage.END_OF_DATA,
    "final dot": Stage.END_OF_DATA,
}


class FormBook:
    """All forms; never changes. Each part is compiled when it is first asked for, or all of them by `compile`.

    Each form waits for one of its marks: words in the text, else in the subject, the sender or a field. A mail is looked
    through once for the marks of all forms, and only the forms whose mark it bears are tried, in the order of the table.
    """

    def __init__(self, forms: Sequence[Form] = ()) -> None:
        self._forms = tuple(CompiledForm(form) for form in forms)
        # Each waits for the first of these that it has.
        self._text, self._subject, self._sender = _Waiting(), _Waiting(), _Waiting()
        for number, form in enumerate(forms):
            when = form.when
            for waiting, words in ((self._text, when.text), (self._subject, when.subject), (self._sender, when.sender)):
                if words:
                    waiting.add(words, number)
                    break
        others = {_folded(word) for form in forms for word in (*form.when.also_text, *form.when.not_text)}
        self._marks = Marks((*self._text, *others), self._subject, self._sender)
        #: Forms that only fields tell: field name -> numbers.
        self._fields: dict[str, list[int]] = {}
        for number, form in enumerate(forms):
            if not (form.when.text or form.when.subject or form.when.sender):
                for mark in form.when.header:
                    self._fields.setdefault(_field_mark(mark)[0], []).append(number)

    def compile(self) -> None:
        """Compile all now, so that no mail waits for it."""
        self._marks.compile()
        for form in self._forms:
            form.compile()

    def form_of(self, letter: Letter) -> "CompiledForm | None":
        """The first form whose marks this mail bears, or None. What a person or a list passes on has none."""
        if letter.is_answer and not (letter.null_reverse_path or letter.from_daemon):
            return None
        if letter.from_list and not is_list_owner(letter.sender):
            return None
        subject, sender = letter.subject.lower(), letter.head.get("from").lower()
        waiting = {number for name, numbers in self._fields.items() if letter.head.get(name) for number in numbers}
        text = " ".join(letter.text[:MARKED_LIMIT].split()).lower()
        found, in_subject, in_sender = self._marks.found(text, subject, sender)
        waiting |= self._text.of(found) | self._subject.of(in_subject) | self._sender.of(in_sender)
        for number in sorted(waiting):
            compiled = self._forms[number]
            if not compiled.has_words(found) or not compiled.has_fields(letter, subject, sender):
                continue
            if compiled.only_text and not letter.looks_like_report:
                continue
            return compiled
        return None


class _Waiting(dict[str, set[int]]):
    """Word -> the forms that wait for it."""

    def add(self, words: Iterable[str], number: int) -> None:
        """A form waits for one of these words."""
        for word in words:
            self.setdefault(_folded(word), set()).add(number)

    def of(self, words: Iterable[str]) -> set[int]:
        """The forms that wait for one of these words."""
        return {number for word in words for number in self.get(word, ())}


class CompiledForm:
    """One form with its patterns, compiled when they are first asked for."""

    def __init__(self, form: Form) -> None:
        self.form = form
        when = form.when
        self.only_text = not (when.subject or when.sender or when.header)
        # Folded once, since they are compared with every mail.
        self._subject, self._sender = tuple(map(str.lower, when.subject)), tuple(map(str.lower, when.sender))
        self._header = tuple(_field_mark(mark) for mark in when.header)
        self._text, self._also, self._not = (
            frozenset(map(_folded, words)) for words in (when.text, when.also_text, when.not_text)
        )

    def has_words(self, found: frozenset[str]) -> bool:
        """Whether the marks in the text hold, of which those in `found` stand there."""
        return (
            not (self._text and self._text.isdisjoint(found))
            and not (self._also and self._also.isdisjoint(found))
            and self._not.isdisjoint(found)
        )

    def has_fields(self, letter: Letter, subject: str, sender: str) -> bool:
        """Whether the marks in the header hold; the subject and the sender are in lower case."""
        if (self._subject and not _any(self._subject, subject)) or (self._sender and not _any(self._sender, sender)):
            return False
        return not self._header or any(_has_field(letter, name, words) for name, words in self._header)

    @once
    def _recipient(self) -> list[Pattern]:
        return [Pattern(FLAGS + pattern) for pattern in self.form.recipient]

    @once
    def _reply(self) -> list[Pattern]:
        return [Pattern(FLAGS + pattern) for pattern in self.form.reply]

    def compile(self) -> None:
        """Compile its patterns now."""
        _ = self._recipient, self._reply

    def own_words(self, text: str) -> str:
        """The report's own words: from where they begin down to where the returned mail does."""
        low = text.lower()
        start = 0
        for word in self.form.begin:
            at = low.find(word.lower())
            if at >= 0:
                end = text.find("\n", at)
                start = len(text) if end < 0 else end + 1
                break
        ends = [at for word in self.form.returned if (at := low.find(word.lower(), start)) >= 0]
        if not ends:
            return text[start:]
        return text[start : text.rfind("\n", 0, min(ends)) + 1]

    def action(self, text: str) -> str:
        """What became of the mail, by the form and its words of delay."""
        if self.form.delayed:
            low = " ".join(text.split()).lower()
            if any(word.lower() in low for word in self.form.delayed):
                return "delayed"
        return self.form.action

    def stanzas(self, letter: Letter) -> tuple[Stanza, ...]:
        """One a recipient, in order; () when the form names none in this mail."""
        body, found = self._named(letter)
        if not found:
            return ()
        told: list[Stanza] = []
        for number, match in enumerate(found):
            end = found[number + 1].start() if number + 1 < len(found) else len(body)
            told.append(self._stanza(letter, body, match, body[match.end() : end][:WORDS_LIMIT], alone=len(found) == 1))
        stanzas: dict[str, Stanza] = {}
        for stanza in self._shared(told, body):
            old = stanzas.get(stanza.recipient.lower())
            if old is None or (stanza.reply and not old.reply):
                stanzas[stanza.recipient.lower()] = stanza
        return tuple(stanzas.values())

    def _named(self, letter: Letter) -> tuple[str, list[Capture]]:
        """The report's own words and where they name recipients; without the returned header, which names one too."""
        body = self.own_words(letter.text)
        own = letter.own_words
        for text in (own, body) if len(own) < len(body) and not self.form.begin else (body,):
            for pattern in self._recipient:
                if found := list(_some(pattern.finditer(text))):
                    return text, found
        return body, []

    def _shared(self, told: list[Stanza], body: str) -> list[Stanza]:
        """Recipients in a list have the words below the list; in a `shared` form, what the report says once."""
        if all(stanza.reply for stanza in told):
            return told
        out: list[Stanza] = []
        once_for_all = self._said(body) if self.form.shared else None
        for stanza in reversed(told):
            if not stanza.reply and out and out[-1].reply and (self.form.shared or not has_words(stanza.words)):
                below = out[-1]
                stanza = replace(
                    stanza,
                    words=below.words,
                    reply=below.reply,
                    host=below.host,
                    status=below.status,
                    stage=below.stage,
                )
            elif not stanza.reply and once_for_all is not None:
                stanza = replace(stanza, words=once_for_all["reply"], reply=once_for_all["reply"])
            out.append(stanza)
        return out[::-1]

    def _stanza(self, letter: Letter, body: str, match: Capture, below: str, *, alone: bool) -> Stanza:
        told = _groups(match)
        reply = told.get("reply", "")
        if not reply:
            for region in (below, body) if alone else (below,):
                if (said := self._said(region)) is not None:
                    reply = said.pop("reply")
                    told = {**told, **said}
                    break
        code = told.get("code", "")
        if code and reply and not reply.lstrip().startswith(code):
            reply = f"{code} {reply}"
        stage = _STAGES.get(told.get("stage", "").lower().split(" to")[0].strip(), self.form.stage)
        return Stanza(
            recipient=completed(told["recipient"], letter, self.form.domain),
            words=without_noise(below.strip()) if not reply else (below.strip() or reply),
            original=told.get("original", ""),
            reply=reply,
            host=told.get("host") or None,
            status=told.get("status") or None,
            stage=stage,
        )

    def _said(self, region: str) -> dict[str, str] | None:
        """What a reply pattern captures in a region: `reply` is always there."""
        for pattern in self._reply:
            match = pattern.search(region)
            if match is not None:
                told = _groups(match)
                told["reply"] = (told.get("reply") or match.whole).strip()[:WORDS_LIMIT]
                if told["reply"]:
                    return told
        return None


def _groups(match: Capture) -> dict[str, str]:
    return {name: value.strip() for name, value in match.groups.items() if value and value.strip()}


def _some(matches: Iterable[Capture]) -> Iterable[Capture]:
    for number, match in enumerate(matches):
        if number >= RECIPIENT_LIMIT:
            return
        if match.groups.get("recipient"):
            yield match


def _field_mark(mark: str) -> tuple[str, str]:
    """(name, words) of `Name` or `Name: words`, in lower case."""
    name, _, words = mark.lower().partition(":")
    return name.strip(), words.strip()


def _has_field(letter: Letter, name: str, words: str) -> bool:
    value = letter.head.get(name)
    return bool(value) and (not words or words in value.lower())


def _any(words: Iterable[str], value: str) -> bool:
    for word in words:  # noqa: SIM110  twice as fast as any() with a generator
        if value.startswith(word[1:]) if word.startswith("^") else word in value:
            return True
    return False


def _folded(word: str) -> str:
    return " ".join(word.split()).lower()
