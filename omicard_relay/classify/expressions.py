"""A google-re2 expression as a tree, as far as it is plain: literals, sequences, choices, gaps, word boundaries.

What is beyond the plain part becomes an `opaque` node, or ValueError or IndexError for the whole expression. Each node
keeps its own source, so that one branch of a large expression can be asked for alone.
Used by phrases.py, which turns a tree into plain phrases, and by atoms.py, which only asks what must stand in a text.
"""

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["Node", "read_expression"]

Kind = Literal["literal", "sequence", "choice", "repeat", "gap", "bound", "opaque"]

_ESCAPE_OR_CHARACTER = re.compile(r"\\.|.", re.DOTALL)
_QUANTIFIERS = "?*+{"
#: Members of a character class that is spread into a choice; more stay opaque.
_CLASS_MEMBERS = 10
#: Copies of a repeated literal that are written out.
_COPIES = 3
#: A digit, written ten times, is not repeated: the product would be too large for anything.
_DIGITS = 10
_RANGE = re.compile(r"([0-9a-z])-([0-9a-z])")
_ANY_RANGE = re.compile("(.)-(.)")
_CLOSED = "[^\\]"
#: Both forms of the small sigma are one letter in a wording, too.
_SIGMA = str.maketrans("\u03c2", "\u03c3")


@dataclass(frozen=True, slots=True)
class Node:
    """`text` of a literal, `parts` of a sequence, a choice or a repeat, `least` and `most` characters of a gap."""

    kind: Kind
    source: str = ""
    text: str = ""
    parts: tuple["Node", ...] = ()
    least: int = 0
    most: int = 0


def read_expression(pattern: str) -> Node:
    """The tree of an expression, in lower case. Raises ValueError or IndexError where it is beyond this reader."""
    return _Reader(pattern).read()


def _lower(found: re.Match[str]) -> str:
    """Letters in lower case; `\\S` stays, for `\\s` is something else."""
    piece = found.group()
    return piece if piece[0] == "\\" or len(piece.lower()) != 1 else piece.lower().translate(_SIGMA)


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._given = pattern
        self._pattern = _ESCAPE_OR_CHARACTER.sub(_lower, pattern)
        self._at = 0

    def read(self) -> Node:
        node = self._choice()
        if self._at != len(self._pattern):
            raise ValueError("unbalanced )")
        return node

    def _choice(self) -> Node:
        parts = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._sequence())
        if len(parts) == 1:
            return parts[0]
        return Node("choice", source=f"(?:{'|'.join(part.source for part in parts)})", parts=tuple(parts))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            part = self._quantified(self._one())
            parts += part.parts if part.kind == "sequence" else (part,)
        return Node("sequence", source="".join(part.source for part in parts), parts=tuple(parts))

    def _one(self) -> Node:
        char = self._take()
        if char == "(":
            if self._peek() == "?":
                if self._pattern[self._at : self._at + 2] != "?:":
                    raise ValueError("group options")
                self._at += 2
            node = self._choice()
            if self._take() != ")":
                raise ValueError("missing )")
            return node
        if char == "[":
            return self._class()
        if char == "\\":
            return self._escape()
        if char in "^$":
            # Not spread into phrases, and nothing that a text must hold.
            return Node("opaque", char)
        return Node("gap", ".", least=1, most=1) if char == "." else Node("literal", char, char)

    def _escape(self) -> Node:
        char = self._take()
        source = f"\\{char}"
        if char == "b":
            return Node("bound", source)
        if char == "d":
            return Node("choice", source, parts=tuple(Node("literal", digit, digit) for digit in "0123456789"))
        if char in "swDSWB":
            return Node("opaque", source)
        if char.isalnum():
            raise ValueError(f"escape {char}")
        return Node("literal", source, char)

    def _class(self) -> Node:
        """A character class; a choice where it lists a few characters one by one."""
        start = self._at
        if self._peek() == "^":
            self._at += 1
        first = True
        while first or self._peek() != "]":
            first = False
            if self._take() == "\\":
                self._take()
        members = self._pattern[start : self._at]
        self._at += 1
        ranges = _ANY_RANGE.findall(self._given[start : self._at])
        if "[:" in members or any(low.isupper() != high.isupper() for low, high in ranges):
            # In lower case, `[A-z]` would be another class, and `[Z-a]` none.
            raise ValueError("class")
        listed = _RANGE.sub(lambda found: "".join(map(chr, range(ord(found[1]), ord(found[2]) + 1))), members)
        # A dash that is left between two others is a range of letters that are not ASCII.
        is_plain = not any(char in members for char in _CLOSED) and "-" not in listed[1:-1]
        if not is_plain or not listed or len(listed) > _CLASS_MEMBERS:
            return Node("opaque", f"[{members}]")
        return Node("choice", f"[{members}]", parts=tuple(Node("literal", re.escape(char), char) for char in listed))

    def _quantified(self, node: Node) -> Node:
        mark = self._peek()
        if not mark or mark not in _QUANTIFIERS:
            return node
        start = self._at
        self._at += 1
        least, most = {"?": (0, 1), "*": (0, -1), "+": (1, -1)}.get(mark, (0, 0))
        if mark == "{":
            end = self._pattern.index("}", self._at)
            low, comma, high = self._pattern[self._at : end].partition(",")
            # google-re2 reads `{,3}` as these four characters.
            least, most = int(low), int(high or -1) if comma else int(low)
            self._at = end + 1
        if self._peek() == "?":
            self._at += 1
        inner = node.source if node.kind in ("literal", "opaque", "gap", "choice") else f"(?:{node.source})"
        return _repeated(node, inner + self._pattern[start : self._at], least, most)

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self) -> str:
        char = self._pattern[self._at]
        self._at += 1
        return char


def _repeated(node: Node, source: str, least: int, most: int) -> Node:
    if node.kind == "gap" and node.least == node.most == 1 and most >= 0:
        return Node("gap", source, least=least, most=most)
    if node.kind in ("opaque", "gap"):
        return Node("opaque", source)
    if 0 < most <= _COPIES and (most == 1 or len(node.parts) != _DIGITS):
        copies = tuple(
            Node("sequence", node.source * count, parts=(node,) * count) for count in range(most, least - 1, -1)
        )
        return Node("choice", source, parts=copies)
    # One copy is certain where there must be any, what follows it is not.
    return Node("repeat", source, parts=(node,)) if least else Node("opaque", source)
