"""policies/formats/responders.toml, notices.toml -> `Responders`: what automatic replies and notices say of themselves.

An entry is a few ways to say one thing (`means`) in one language at one place of a mail (`where`). Words are phrases or one
RE2 pattern, matched case-blind with white space folded; one expression a place answers first whether anything is there at
all, so a mail that says none of it costs one linear pass. A site's files of these names have the same shape; an id that
stands there too replaces the shipped entry.
Not here: which of them make a mail an automatic reply or a report (bounce/readers/autoreply.py, notice.py).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
import re2
from msgspec import Meta

from omicard_relay.mail import TableError
from omicard_relay.tables.cache import cached, digest_of
from omicard_relay.tables.toml import convert, read_toml, shipped

__all__ = ["FILE_NAME", "FILE_NAMES", "Means", "Responder", "Responders", "Where", "load_responders"]

FILE_NAME = "responders.toml"
#: The files of the table, in the order in which they are read.
FILE_NAMES = (FILE_NAME, "notices.toml")
#: In a phrase: any few words between two parts.
GAP = "…"
#: At the end of a phrase: the last word may go on.
OPEN_END = "*"
# Characters that `…` stands for; a longer gap is another sentence.
_GAP_LENGTH = 40
#: Octets that RE2 may take for one expression and its states.
_MEMORY = 32 << 20
# RE2 knows `\b` and `\W` of ASCII letters alone.
_LEFT, _RIGHT = r"(?:^|[^\pL\pN])", r"(?:$|[^\pL\pN])"
_DRESS = r"[\s\pP\pS]{0,10}"
#: Between an address and what is said behind it, in the same sentence.
_BEHIND = r"^[\s>)\]}\"'”’」』＞）,，、;:：–—-]{0,6}"
#: What stands before a subject's own words: `[EXTERNAL]`, `***SPAM***`, brackets and the like.
_SUBJECT_START = rf"^{_DRESS}(?:\[[^\]]{{1,20}}\]{_DRESS}|\*{{2,5}}\pL{{2,12}}\*{{2,5}}\s{{0,3}})?"


# The dot of an address or a host, which ends no sentence.
_DOT_INSIDE = re.compile(r"\.(?=[^\s.])")


class Where(StrEnum):
    """At which place of a mail an entry is looked for."""

    #: At the beginning of the subject.
    SUBJECT = "subject-start"
    #: Anywhere in the subject or in the writer's own words.
    TEXT = "text"
    #: Anywhere in the subject or the words of a mail that a system wrote.
    NOTICE = "notice"
    #: In the words before an address; for `old` directly before it.
    BEFORE = "before-address"
    #: Directly behind an address.
    AFTER = "after-address"


class Means(StrEnum):
    """What an entry says."""

    #: A machine answers; no cause told.
    AUTOMATIC = "automatic"
    ABSENT = "absent"
    #: The absence ends: whoever is named meanwhile is a stand-in.
    RETURNS = "returns"
    #: Acknowledged, a ticket was opened.
    RECEIVED = "received"
    #: The person works there no more.
    LEFT = "left"
    #: The mailbox or address is given up.
    CLOSED = "closed"
    #: A new address is announced.
    MOVED = "moved"
    #: The sender is asked to prove being a person.
    CHALLENGE = "challenge"
    #: A moderator has to let the mail through.
    HELD = "held"
    #: A mail was not delivered; unless sure, only that an account is closed, full or forbidden to the sender.
    UNDELIVERED = "undelivered"
    #: The mail waits, and is tried again.
    DELAYED = "delayed"
    #: The mail was handed over: no failure.
    DELIVERED = "delivered"
    #: For the owner of a mailbox, or its administrator: nearly full, a digest of quarantined mail, a test.
    OWNER = "owner"
    #: From now on another address is to be used; an announcement unless the writer is only away.
    FROM_NOW = "from-now"
    #: Spam in a bounce's clothes: "click to release your messages".
    LURE = "lure"
    #: The sender is asked to write to the address.
    ASKS = "asks"
    #: The address is that of somebody else who helps.
    DEPUTY = "deputy"
    #: The address is the one that is given up.
    OLD = "old"


_IN_NOTICES = frozenset({Means.UNDELIVERED, Means.DELAYED, Means.DELIVERED, Means.OWNER})
_ABOUT_ADDRESSES = frozenset({Means.MOVED, Means.FROM_NOW, Means.ASKS, Means.DEPUTY, Means.OLD})


class Responder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`words` are phrases of whole words (`…` stands for up to 40 characters, `*` at the end lets the last word go on) and
    `pattern` an RE2 expression beside them, in lower case. `sure`: only a machine writes so; other words count only in a
    mail that has a mark of a machine. `examples` are found by this entry, `not_examples` are not.
    """

    id: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]*$")]
    language: Annotated[str, Meta(pattern="^[a-z]{2}(?:-[A-Z]{2})?$")]
    means: Means
    where: Where
    sure: bool = False
    words: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    pattern: str = ""
    source: Annotated[str, Meta(min_length=1)]
    examples: Annotated[tuple[str, ...], Meta(min_length=1)]
    not_examples: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    responder: tuple[Responder, ...] = ()


class _Match(Protocol):
    def end(self) -> int: ...


class _Expression(Protocol):
    """What is used of a compiled RE2 expression; on octets, because its Python door counts characters of other texts first."""

    def search(self, text: bytes) -> object | None: ...

    def finditer(self, text: bytes) -> Iterator[_Match]: ...


@dataclass(frozen=True)
class Responders:
    """The table; without entries nothing is ever found. Expressions are compiled when first used."""

    entries: tuple[Responder, ...] = ()

    def compile(self) -> None:
        """Compile all expressions now, so that no mail waits for it."""
        _ = self._any_of, self._each

    def said(self, where: Where, text: str) -> Mapping[Means, bool]:
        """What is said at a place of a text (white space folded): True where only a machine says it so. {} costs one pass."""
        any_of = self._any_of.get(where)
        low = _low(_DOT_INSIDE.sub("-", text) if where is Where.NOTICE else text)
        if any_of is None or not any_of.search(low):
            return {}
        found: dict[Means, bool] = {}
        for means, sure, expression in self._each[where]:
            if expression.search(low):
                found[means] = found.get(means, False) or sure
        return found

    def says(self, means: Means, text: str) -> bool:
        """Whether a text says this one thing."""
        low = _low(text)
        return any(one is means and expression.search(low) for one, _, expression in self._each.get(Where.TEXT, ()))

    def last(self, means: Means, text: str) -> int:
        """Where in the words before an address the last mention of this ends, in octets; -1 when there is none."""
        expression = self._before.get(means)
        if expression is None:
            return -1
        return max((match.end() for match in expression.finditer(_low(text))), default=-1)

    @cached_property
    def _any_of(self) -> dict[Where, _Expression]:
        return {where: _together(entry for entry in self.entries if entry.where is where) for where in self._places}

    @cached_property
    def _each(self) -> dict[Where, list[tuple[Means, bool, _Expression]]]:
        groups: dict[tuple[Where, Means, bool], list[Responder]] = {}
        for entry in self.entries:
            groups.setdefault((entry.where, entry.means, entry.sure), []).append(entry)
        each: dict[Where, list[tuple[Means, bool, _Expression]]] = {}
        for (where, means, sure), entries in groups.items():
            each.setdefault(where, []).append((means, sure, _together(entries)))
        return each

    @cached_property
    def _before(self) -> dict[Means, _Expression]:
        return {means: expression for means, _, expression in self._each.get(Where.BEFORE, ())}

    @cached_property
    def _places(self) -> frozenset[Where]:
        return frozenset(entry.where for entry in self.entries)


def load_responders(site_dir: Path | None = None) -> Responders:
    """The shipped entries, with a site's own in their place or behind them. Raises TableError: file, entry, key, what to do."""
    paths = [shipped("policies", "formats", name) for name in FILE_NAMES]
    digest = digest_of((b"responders", *(path.read_bytes() for path in paths if path.exists())))
    entries = cached("responders", digest, tuple[Responder, ...], lambda: tuple(_read(paths)))
    if site_dir is not None:
        own = [path for name in FILE_NAMES if (path := site_dir / "formats" / name).exists()]
        entries = tuple({entry.id: entry for entry in (*entries, *_read(own))}.values()) if own else entries
    return Responders(entries)


def _read(paths: Iterable[Path]) -> Iterator[Responder]:
    seen: set[str] = set()
    for path in paths:
        for entry in convert(read_toml(path), _File, path).responder:
            for key, sentence in _faults(entry, seen):
                raise TableError(f"{path}: entry `{entry.id}`, `{key}`: {sentence}")
            seen.add(entry.id)
            yield entry


def _places_of(means: Means) -> tuple[Where, ...]:
    if means in _IN_NOTICES:
        return (Where.NOTICE,)
    return (Where.BEFORE, Where.AFTER) if means in _ABOUT_ADDRESSES else (Where.SUBJECT, Where.TEXT)


def _faults(entry: Responder, seen: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What the types alone cannot say: (key, what to do)."""
    if entry.id in seen:
        yield "id", "stands twice; ids must differ."
    if not entry.words and not entry.pattern:
        yield "words", "is empty; give `words` or a `pattern`."
    allowed = _places_of(entry.means)
    if entry.where not in allowed:
        yield "where", f"`{entry.where}` does not go with means `{entry.means}`; allowed are {', '.join(allowed)}."
    if entry.sure and entry.means in _ABOUT_ADDRESSES:
        yield "sure", "says nothing about an address; leave it out."
    for phrase in entry.words:
        if not phrase.replace(GAP, "").strip(OPEN_END + " "):
            yield "words", f"`{phrase}` also matches an empty text; write words."
    if entry.pattern:
        try:
            compiled = _compiled(entry.pattern)
        except re2.error as error:
            yield "pattern", f"google-re2 does not take it ({_why(error)}); look-around is not allowed."
            return
        if compiled.search(b""):
            yield "pattern", "also matches an empty text; make some part of it obligatory."


def _expression(entries: Iterable[Responder]) -> str:
    """Entries of one place as one RE2 expression, to be searched for in folded text in lower case.

    Word boundaries are classes of all letters: each is written once, not once a phrase, or the program grows too large.
    """
    bounded: dict[tuple[bool, bool], list[str]] = {}
    directly, anchored, pieces = False, "", []
    for entry in entries:
        directly = entry.means is Means.OLD and entry.where is Where.BEFORE
        anchored = {Where.SUBJECT: _SUBJECT_START, Where.AFTER: _BEHIND}.get(entry.where, "")
        for phrase in entry.words:
            plain = phrase.removesuffix(OPEN_END).lower()
            ends = (_spaced(plain[0]) and not anchored, _spaced(plain[-1]) and plain == phrase.lower() and not directly)
            gap = f".{{0,{_GAP_LENGTH}}}"
            bounded.setdefault(ends, []).append(gap.join(re2.escape(part) for part in plain.split(GAP)))
        if entry.pattern:
            bounded.setdefault((False, False), []).append(entry.pattern)
    for (left, right), phrases in bounded.items():
        pieces.append(f"{_LEFT if left else ''}(?:{'|'.join(phrases)}){_RIGHT if right else ''}")
    return f"{anchored}(?:{'|'.join(pieces)}){_DRESS + '$' if directly else ''}"


def _low(text: str) -> bytes:
    return text.lower().replace("’", "'").encode("utf-8", "replace")


def _spaced(letter: str) -> bool:
    """Whether it is a letter or digit of a script that puts spaces between words (Korean does, but its words take endings)."""
    return letter.isalnum() and letter < "\u0e00"


def _together(entries: Iterable[Responder]) -> _Expression:
    return _compiled(_expression(entries))


def _compiled(expression: str) -> _Expression:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _MEMORY
    compiled: _Expression = re2.compile(expression.encode(), options)
    return compiled


def _why(error: Exception) -> str:
    text = error.args[0] if error.args else error
    return " ".join((text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)).split())[:120]
