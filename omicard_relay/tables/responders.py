"""policies/formats/responders.toml -> `Responders`: what automatic replies say of themselves, in many languages.

An entry is a few ways to say one thing (`means`) in one language at one place of a mail (`where`). Words are phrases or one
RE2 pattern, matched case-blind with white space folded; one expression a place answers first whether anything is there at
all, so a mail that says none of it costs one linear pass. A site's formats/responders.toml has the same shape; an id that
stands there too replaces the shipped entry.
Not here: which of them make a mail an automatic reply (bounce/readers/autoreply.py).
"""

from collections.abc import Iterable, Iterator
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

__all__ = ["FILE_NAME", "Means", "Responder", "Responders", "Where", "load_responders"]

FILE_NAME = "responders.toml"
#: In a phrase: any few words between two parts.
GAP = "…"
#: At the end of a phrase: the last word may go on.
OPEN_END = "*"
# Characters that `…` stands for; a longer gap is another sentence.
_GAP_LENGTH = 40
# RE2 knows `\b` and `\W` of ASCII letters alone.
_LEFT, _RIGHT = r"(?:^|[^\pL\pN])", r"(?:$|[^\pL\pN])"
_DRESS = r"[\s\pP\pS]{0,10}"
#: What stands before a subject's own words: `[EXTERNAL]`, `***SPAM***`, brackets and the like.
_SUBJECT_START = rf"^{_DRESS}(?:\[[^\]]{{1,20}}\]{_DRESS}|\*{{2,5}}\pL{{2,12}}\*{{2,5}}\s{{0,3}})?"


class Where(StrEnum):
    """At which place of a mail an entry is looked for."""

    #: At the beginning of the subject.
    SUBJECT = "subject-start"
    #: Anywhere in the subject or in the writer's own words.
    TEXT = "text"
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
    #: The sender is asked to write to the address.
    ASKS = "asks"
    #: The address is that of somebody else who helps.
    DEPUTY = "deputy"
    #: The address is the one that is given up.
    OLD = "old"


_ABOUT_ADDRESSES = frozenset({Means.MOVED, Means.ASKS, Means.DEPUTY, Means.OLD})


class Responder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`words` are phrases of whole words (`…` stands for up to 40 characters, `*` at the end lets the last word go on), `pattern`
    an RE2 expression beside them. `sure`: only a machine writes so; other words count only in a mail that has a mark of a
    machine. `examples` are found by this entry, `not_examples` are not.
    """

    id: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]*$")]
    language: Annotated[str, Meta(pattern="^[a-z]{2}(?:-[A-Z]{2})?$")]
    means: Means
    where: Where
    sure: bool = False
    words: tuple[Annotated[str, Meta(min_length=2)], ...] = ()
    pattern: str = ""
    source: Annotated[str, Meta(min_length=1)]
    examples: Annotated[tuple[str, ...], Meta(min_length=1)]
    not_examples: tuple[str, ...] = ()

    @property
    def expression(self) -> str:
        """The entry as one RE2 expression, to be searched for in folded text."""
        inner = "|".join([*map(_phrase, self.words), *([f"(?:{self.pattern})"] if self.pattern else [])])
        if self.where is Where.SUBJECT:
            return f"{_SUBJECT_START}(?:{inner})"
        if self.where is Where.AFTER:
            return f"^{_DRESS}(?:{inner})"
        return f"(?:{inner}){_DRESS}$" if self.means is Means.OLD else f"(?:{inner})"


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    responder: tuple[Responder, ...] = ()


class _Expression(Protocol):
    """What is used of a compiled RE2 expression."""

    def search(self, text: str) -> object | None: ...


@dataclass(frozen=True)
class Responders:
    """The table; without entries nothing is ever found. Expressions are compiled when first used."""

    entries: tuple[Responder, ...] = ()

    def found(self, where: Where, text: str) -> tuple[Responder, ...]:
        """The entries of a place whose words are in a text (white space folded); () costs one pass."""
        any_of = self._any_of.get(where)
        if any_of is None or not any_of.search(text):
            return ()
        return tuple(entry for entry, expression in self._each[where] if expression.search(text))

    def last(self, means: Means, text: str) -> int:
        """Where in the words before an address the last mention of this ends; -1 when there is none."""
        expression = self._before.get(means)
        if expression is None:
            return -1
        return max((match.end() for match in expression.finditer(text)), default=-1)

    @cached_property
    def _each(self) -> dict[Where, list[tuple[Responder, "re2._Regexp"]]]:
        compiled: dict[Where, list[tuple[Responder, re2._Regexp]]] = {where: [] for where in Where}
        for entry in self.entries:
            compiled[entry.where].append((entry, _compiled(entry.expression)))
        return compiled

    @cached_property
    def _any_of(self) -> dict[Where, "re2._Regexp"]:
        return {
            where: _compiled("|".join(f"(?:{entry.expression})" for entry in self.entries if entry.where is where))
            for where in {entry.where for entry in self.entries}
        }

    @cached_property
    def _before(self) -> dict[Means, "re2._Regexp"]:
        before = [entry for entry in self.entries if entry.where is Where.BEFORE]
        return {
            means: _compiled("|".join(entry.expression for entry in before if entry.means is means))
            for means in {entry.means for entry in before}
        }


def load_responders(site_dir: Path | None = None) -> Responders:
    """The shipped entries, with a site's own in their place or behind them. Raises TableError: file, entry, key, what to do."""
    path = shipped("policies", "formats", FILE_NAME)
    digest = digest_of((b"responders", path.read_bytes() if path.exists() else b""))
    entries = cached("responders", digest, tuple[Responder, ...], lambda: tuple(_read(path)))
    if site_dir is not None and (own := site_dir / "formats" / FILE_NAME).exists():
        entries = tuple({entry.id: entry for entry in (*entries, *_read(own))}.values())
    return Responders(entries)


def _read(path: Path) -> Iterator[Responder]:
    seen: set[str] = set()
    for entry in convert(read_toml(path), _File, path).responder:
        for key, sentence in _faults(entry, seen):
            raise TableError(f"{path}: entry `{entry.id}`, `{key}`: {sentence}")
        seen.add(entry.id)
        yield entry


def _faults(entry: Responder, seen: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What the types alone cannot say: (key, what to do)."""
    if entry.id in seen:
        yield "id", "stands twice; ids must differ."
    if not entry.words and not entry.pattern:
        yield "words", "is empty; give `words` or a `pattern`."
    if (entry.means in _ABOUT_ADDRESSES) != (entry.where in (Where.BEFORE, Where.AFTER)):
        places = "before-address, after-address" if entry.means in _ABOUT_ADDRESSES else "subject-start, text"
        yield "where", f"`{entry.where}` does not go with means `{entry.means}`; allowed are {places}."
    for phrase in entry.words:
        if not phrase.replace(GAP, "").strip(OPEN_END + " "):
            yield "words", f"`{phrase}` also matches an empty text; write words."
    if entry.pattern:
        try:
            compiled = _compiled(entry.pattern)
        except re2.error as error:
            yield "pattern", f"google-re2 does not take it ({_why(error)}); look-around is not allowed."
            return
        if compiled.search(""):
            yield "pattern", "also matches an empty text; make some part of it obligatory."


def _phrase(words: str) -> str:
    """A phrase as an expression: whole words where the script has spaces, gaps, an open end."""
    open_end = words.endswith(OPEN_END)
    plain = words.removesuffix(OPEN_END)
    parts = [re2.escape(part) for part in plain.split(GAP)]
    left = _LEFT if _spaced(plain[0]) else ""
    right = _RIGHT if not open_end and _spaced(plain[-1]) else ""
    return f"{left}{f'.{{0,{_GAP_LENGTH}}}'.join(parts)}{right}"


def _spaced(letter: str) -> bool:
    """Whether it is a letter of a script that puts spaces between words (Korean does, but its words take endings)."""
    return letter.isalnum() and letter < "\u2e80"


def _compiled(expression: str) -> "re2._Regexp":
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.never_capture = True
    return re2.compile(expression, options)


def _why(error: Exception) -> str:
    text = error.args[0] if error.args else error
    return " ".join((text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)).split())[:120]
