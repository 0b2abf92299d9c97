"""`Marks`: which of many plain words stand in a mail's text, subject and sender; one Hyperscan pass finds them all.

A thousand words of all forms are looked for in every mail that has no standard form. RE2's set takes twice as long for it, as
its states do not stay in the processor's cache between two mails; Hyperscan's table for plain words is a tenth of their size.
Linear time whatever the text.
Not here: which word is whose (forms.py).
"""

import threading
from collections.abc import Iterable

import hyperscan

from omicard_relay.bounce.lazily import once

__all__ = ["Marks"]

#: Between two fields; no word has it.
_BETWEEN = b"\0"


class Marks:
    """The words of each field, in lower case; `^` before one says at the beginning of the field. Threads may share it."""

    def __init__(self, *fields: Iterable[str]) -> None:
        #: Octets of a word -> (number of the field, the word, whether it must begin the field).
        self._places: dict[bytes, list[tuple[int, str, bool]]] = {}
        for field, words in enumerate(fields):
            for word in dict.fromkeys(words):
                anchored = word.startswith("^")
                octets = word.removeprefix("^").encode("utf-8", "replace")
                self._places.setdefault(octets, []).append((field, word, anchored))
        self._literals = tuple((len(octets), tuple(places)) for octets, places in self._places.items())
        self._local = threading.local()

    def compile(self) -> None:
        """Compile now, so that no mail waits for it."""
        _ = self._database

    def found(self, *fields: str) -> tuple[frozenset[str], ...]:
        """The words that stand in each of the fields, which are in lower case."""
        found: list[set[str]] = [set() for _ in fields]
        if self._literals:
            octets = [field.encode("utf-8", "replace") for field in fields]
            ends, end = [], 0
            for field in octets:
                ends.append(end := end + len(field))
                end += 1
            literals = self._literals

            def on_literal(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
                size, places = literals[number]
                for field, word, anchored in places:
                    begin = ends[field - 1] + 1 if field else 0
                    if end <= ends[field] and (end - size == begin if anchored else end - size >= begin):
                        found[field].add(word)

            try:
                scratch = self._local.scratch
            except AttributeError:
                # Each thread has its own working memory, as Hyperscan demands.
                scratch = self._local.scratch = hyperscan.Scratch(self._database)
            self._database.scan(_BETWEEN.join(octets), match_event_handler=on_literal, scratch=scratch)
        return tuple(frozenset(words) for words in found)

    @once
    def _database(self) -> "hyperscan.Database":
        database = hyperscan.Database()
        words = list(self._places)
        database.compile(expressions=words, ids=list(range(len(words))), elements=len(words), literal=True)
        return database
