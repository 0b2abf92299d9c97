"""Forms of report that are data (policies/formats): which one a mail has, and what it says about whom.

`FormBook` looks for all marks of all forms at once (one RE2 set over the header's four fields, one over the text) and
gives the first form, in the order of the table, whose marks hold. `CompiledForm.stanzas` cuts the text by the form's own
captures. Everything is RE2: linear on any input.
Not here: the table (tables/formats.py), and what a reader makes of the stanzas (readers/formed.py).
"""

from collections.abc import Iterable, Sequence

import re2

from omicard_relay.bounce.fields import RECIPIENT_LIMIT
from omicard_relay.bounce.lazily import once
from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.recipients import is_list_owner, list_of
from omicard_relay.bounce.stanzas import Stanza
from omicard_relay.bounce.text import addresses_in
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
        self._text = _Words((word, number) for number, form in enumerate(forms) for word in _text_words(form))
        self._subject = _Words(
            (word, number) for number, form in enumerate(forms) if not form.when.text for word in form.when.subject
        )
        self._sender = _Words(
            (word, number)
            for number, form in enumerate(forms)
            if not (form.when.text or form.when.subject)
            for word in form.when.sender
        )
        #: Forms that only fields tell: field name -> numbers.
        self._fields: dict[str, list[int]] = {}
        for number, form in enumerate(forms):
            if not (form.when.text or form.when.subject or form.when.sender):
                for mark in form.when.header:
                    self._fields.setdefault(mark.partition(":")[0].strip().lower(), []).append(number)

    def compile(self) -> None:
        """Compile all now, so that no mail waits for it."""
        for words in (self._text, self._subject, self._sender):
            words.words_in("-")
        for form in self._forms:
            form.compile()

    def form_of(self, letter: Letter) -> "CompiledForm | None":
        """The first form whose marks this mail bears, or None. What a person or a list passes on has none."""
        if letter.is_answer and not (letter.null_reverse_path or letter.from_daemon):
            return None
        if letter.from_list and not is_list_owner(letter.sender):
            return None
        waiting = {number for name, numbers in self._fields.items() if letter.head.get(name) for number in numbers}
        waiting |= self._subject.numbers_in(letter.head.get("subject").lower())
        waiting |= self._sender.numbers_in(letter.head.get("from").lower())
        found = self._text.words_in(" ".join(letter.text[:MARKED_LIMIT].split()).lower())
        for word in found:
            waiting |= self._text.numbers[word]
        for number in sorted(waiting):
            compiled = self._forms[number]
            if compiled.only_text and not letter.looks_like_report:
                continue
            if _in_head(compiled.form, letter) and _in_text(compiled.form, found):
                return compiled
        return None


class _Words:
    """Literals, each with the forms that wait for it; all are looked for in one pass."""

    def __init__(self, marks: Iterable[tuple[str, int]]) -> None:
        self.numbers: dict[str, set[int]] = {}
        for word, number in marks:
            self.numbers.setdefault(_folded(word), set()).add(number)
        self._words = tuple(self.numbers)

    @once
    def _set(self) -> "re2.Set":
        found = re2.Set.SearchSet()
        for word in self._words:
            found.Add(rf"\A{re2.escape(word[1:])}" if word.startswith("^") else re2.escape(word))
        found.Compile()
        return found

    def words_in(self, text: str) -> frozenset[str]:
        """The words that stand in a text in lower case."""
        if not self._words or not text:
            return frozenset()
        return frozenset(self._words[number] for number in self._set.Match(text) or ())

    def numbers_in(self, text: str) -> set[int]:
        """The forms that wait for one of the words in a text in lower case."""
        return {number for word in self.words_in(text) for number in self.numbers[word]}


class CompiledForm:
    """One form with its patterns, compiled when they are first asked for."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.only_text = not (form.when.subject or form.when.sender or form.when.header)

    @once
    def _recipient(self) -> "list[re2._Regexp[str]]":
        return [re2.compile(FLAGS + pattern) for pattern in self.form.recipient]

    @once
    def _reply(self) -> "list[re2._Regexp[str]]":
        return [re2.compile(FLAGS + pattern) for pattern in self.form.reply]

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
        body = self.own_words(letter.text)
        for pattern in self._recipient:
            found = list(_some(pattern.finditer(body)))
            if found:
                break
        else:
            return ()
        stanzas: dict[str, Stanza] = {}
        for number, match in enumerate(found):
            end = found[number + 1].start() if number + 1 < len(found) else len(body)
            stanza = self._stanza(letter, body, match, body[match.end() : end][:WORDS_LIMIT], alone=len(found) == 1)
            old = stanzas.get(stanza.recipient.lower())
            if old is None or (stanza.reply and not old.reply):
                stanzas[stanza.recipient.lower()] = stanza
        return tuple(stanzas.values())

    def _stanza(self, letter: Letter, body: str, match: "re2._Match[str]", below: str, *, alone: bool) -> Stanza:
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
            recipient=_completed(told["recipient"], self.form.domain, letter),
            words=below.strip() if not reply else (below.strip() or reply),
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
                told["reply"] = (told.get("reply") or match.group(0)).strip()[:WORDS_LIMIT]
                if told["reply"]:
                    return told
        return None


def _groups(match: "re2._Match[str]") -> dict[str, str]:
    return {name: value.strip() for name, value in match.groupdict().items() if value and value.strip()}


def _some(matches: Iterable["re2._Match[str]"]) -> Iterable["re2._Match[str]"]:
    for number, match in enumerate(matches):
        if number >= RECIPIENT_LIMIT:
            return
        if match.groupdict().get("recipient"):
            yield match


def _completed(name: str, domain: str, letter: Letter) -> str:
    """The whole address of a recipient that a report names without its domain."""
    name = name.strip().strip("<>")
    if "@" in name:
        return name
    low = name.lower()
    for field in ("to", "cc", "x-original-to", "delivered-to"):
        for found in addresses_in(letter.returned.get(field)):
            if found.address.lower().rpartition("@")[0] == low:
                return found.address
    manager = list_of(letter.sender)
    if manager.partition("@")[0].lower() == low:
        return manager
    return f"{name}@{domain}" if domain else name


def _in_head(form: Form, letter: Letter) -> bool:
    """Whether the marks in the header hold."""
    when, head = form.when, letter.head
    return (
        (not when.subject or _any(when.subject, head.get("subject").lower()))
        and (not when.sender or _any(when.sender, head.get("from").lower()))
        and (not when.header or any(_has_field(letter, mark) for mark in when.header))
    )


def _has_field(letter: Letter, mark: str) -> bool:
    name, colon, words = mark.partition(":")
    value = letter.head.get(name.strip().lower())
    return bool(value) and (not colon or words.strip().lower() in value.lower())


def _any(words: Iterable[str], value: str) -> bool:
    return any(value.startswith(word[1:].lower()) if word.startswith("^") else word.lower() in value for word in words)


def _in_text(form: Form, found: frozenset[str]) -> bool:
    when = form.when
    return (
        (not when.text or any(_folded(word) in found for word in when.text))
        and (not when.also_text or any(_folded(word) in found for word in when.also_text))
        and not any(_folded(word) in found for word in when.not_text)
    )


def _text_words(form: Form) -> list[str]:
    return [_folded(word) for word in (*form.when.text, *form.when.also_text, *form.when.not_text)]


def _folded(word: str) -> str:
    return " ".join(word.split()).lower()
