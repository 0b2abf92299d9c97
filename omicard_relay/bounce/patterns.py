"""`Pattern`: a google-re2 expression with named groups -> what it captures; linear on any input, and quick at Python's door.

google-re2 counts the characters of every text before it searches, and asks the expression for its groups at every match. Nearly
all reports are plain ASCII, in which each octet is a character: they are searched as octets.
"""

from collections.abc import Iterator, Mapping

import re2

from omicard_relay.bounce.lazily import once

__all__ = ["Capture", "Pattern"]


class Capture:
    """A match: where it stands, and the groups that took part, by name."""

    __slots__ = ("_text", "groups", "span")

    def __init__(self, text: str, span: tuple[int, int], groups: Mapping[str, str]) -> None:
        self._text, self.span, self.groups = text, span, groups

    def start(self) -> int:
        """The character at which it begins."""
        return self.span[0]

    def end(self) -> int:
        """The character behind it."""
        return self.span[1]

    @property
    def whole(self) -> str:
        """All that was matched."""
        return self._text[self.span[0] : self.span[1]]


class Pattern:
    """An expression in RE2's syntax. Never changes."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._octets = re2.compile(expression.encode())
        # Octets name their groups in octets.
        self._groups = tuple((name.decode(), number) for name, number in self._octets.groupindex.items())

    @once
    def _characters(self) -> "re2._Regexp[str]":
        return re2.compile(self._expression)

    def search(self, text: str) -> Capture | None:
        """The first match; None when there is none."""
        match = self._octets.search(text.encode()) if text.isascii() else self._characters.search(text)
        return self._capture(text, match) if match else None

    def finditer(self, text: str) -> Iterator[Capture]:
        """The matches in order."""
        matches = self._octets.finditer(text.encode()) if text.isascii() else self._characters.finditer(text)
        for match in matches:
            yield self._capture(text, match)

    def _capture(self, text: str, match: "re2._Match[str]") -> Capture:
        groups = {}
        for name, number in self._groups:
            start, end = match.span(number)
            if start >= 0:
                groups[name] = text[start:end]
        return Capture(text, match.span(), groups)
