"""What must stand in a text for an expression to match it: plain words, found before google-re2 is asked.

An expression becomes branches (one of them must match), a branch becomes clauses (all must hold), a clause is a set of
literals (one must occur). Asking costs one Hyperscan pass over all literals of all rules. The answer may be "perhaps"
too often, never "no" wrongly: tests/classify/test_atoms.py holds that against google-re2.
The syntax is the plain part of google-re2's; an expression with anything else is simply always a candidate.
"""

from dataclasses import dataclass

__all__ = ["Branches", "branches_of"]

#: One set of literals is a clause, clauses are a branch, branches are an expression; an empty branch always holds.
Branches = tuple[tuple[frozenset[str], ...], ...]

#: Branches that one expression is spread into; above, the rest stays together (more candidates, same answer).
_MAX_BRANCHES = 64
#: A literal of one octet says next to nothing.
_SHORTEST = 2
_MOST_CLAUSES = 3
_QUANTIFIERS = "?*+{"


@dataclass(frozen=True, slots=True)
class _Node:
    """`kind`: literal (text), sequence, choice (parts), or any (something that gives no literal)."""

    kind: str
    text: str = ""
    parts: tuple["_Node", ...] = ()


_ANY = _Node("any")
_NOTHING = _Node("sequence")


def branches_of(pattern: str) -> Branches:
    """The branches of an expression; `((),)` (always a candidate) when it is beyond this reader."""
    try:
        node = _Reader(pattern.lower() if pattern.isascii() else _lower(pattern)).read()
    except (IndexError, ValueError):
        return ((),)
    return tuple(_telling(_clauses(branch)) for branch in _spread(node))


def _telling(clauses: list[frozenset[str]]) -> tuple[frozenset[str], ...]:
    """The clauses worth asking: the first few, and none of two octets beside a longer one."""
    longer = [clause for clause in clauses if min(map(len, clause)) > _SHORTEST]
    return tuple((longer or clauses)[:_MOST_CLAUSES])


def _lower(pattern: str) -> str:
    return "".join(char.lower() if len(char.lower()) == 1 else char for char in pattern)


def _spread(node: _Node) -> list[_Node]:
    """The node as a list of alternatives, as far as its first parts are a choice."""
    if node.kind == "choice":
        spread = [branch for part in node.parts for branch in _spread(part)]
        return spread if len(spread) <= _MAX_BRANCHES else list(node.parts)
    if node.kind == "sequence":
        for index, part in enumerate(node.parts):
            if part.kind == "choice":
                before, after = node.parts[:index], node.parts[index + 1 :]
                inner = _spread(part)
                return [_Node("sequence", parts=(*before, *_flat(branch), *after)) for branch in inner]
            if part.kind == "literal":
                break
    return [node]


def _flat(node: _Node) -> tuple[_Node, ...]:
    return node.parts if node.kind == "sequence" else (node,)


def _clauses(node: _Node) -> list[frozenset[str]]:
    """What must all hold, the most telling clause first."""
    found: list[frozenset[str]] = []
    if node.kind == "literal":
        found = [frozenset({node.text})] if len(node.text) >= _SHORTEST else []
    elif node.kind == "choice":
        best = [_best(part) for part in node.parts]
        if all(clause is not None for clause in best):
            found = [frozenset().union(*(clause for clause in best if clause is not None))]
    else:
        run = ""
        for part in (*node.parts, _ANY):
            if part.kind == "literal":
                run += part.text
                continue
            if len(run) >= _SHORTEST:
                found.append(frozenset({run}))
            run = ""
            found += _clauses(part) if part.kind != "any" else []
    return sorted(found, key=_worth, reverse=True)


def _best(node: _Node) -> frozenset[str] | None:
    return next(iter(_clauses(node)), None)


def _worth(clause: frozenset[str]) -> tuple[int, int]:
    return min(map(len, clause)), -len(clause)


class _Reader:
    """A recursive reader of the plain part of the syntax. Raises ValueError or IndexError for the rest."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def read(self) -> _Node:
        node = self._choice()
        if self._at != len(self._pattern):
            raise ValueError("unbalanced )")
        return node

    def _choice(self) -> _Node:
        parts = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else _Node("choice", parts=tuple(parts))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._peek() not in ("", "|", ")"):
            part = self._quantified(self._one())
            # Anchors and word boundaries are empty sequences: the letters on both sides stay together.
            parts += _flat(part)
        return _Node("sequence", parts=tuple(parts))

    def _one(self) -> _Node:
        char = self._take()
        if char == "(":
            if self._peek() == "?":
                if self._pattern[self._at : self._at + 2] != "?:":
                    raise ValueError("group options")
                self._at += 2
            node = self._choice()
            if self._take() != ")":
                raise ValueError("missing )")
            # A group may be quantified as a whole, so it must stay one part until then.
            return _Node("sequence", parts=(node,)) if self._peek() in _QUANTIFIERS and self._peek() else node
        if char == "[":
            self._class()
            return _ANY
        if char == "\\":
            return self._escape()
        if char in "^$":
            return _NOTHING
        return _ANY if char == "." else _Node("literal", char)

    def _escape(self) -> _Node:
        char = self._take()
        if char == "b":
            return _NOTHING
        if char in "dsw":
            return _ANY
        if char.isalnum():
            raise ValueError(f"escape {char}")
        return _Node("literal", char)

    def _class(self) -> None:
        if self._peek() == "^":
            self._at += 1
        first = True
        while first or self._peek() != "]":
            first = False
            if self._take() == "\\":
                self._take()
        self._at += 1

    def _quantified(self, node: _Node) -> _Node:
        mark = self._peek()
        if not mark or mark not in _QUANTIFIERS:
            return node
        self._at += 1
        needed = mark == "+"
        if mark == "{":
            end = self._pattern.index("}", self._at)
            needed = int(self._pattern[self._at : end].split(",")[0] or 0) > 0
            self._at = end + 1
        if self._peek() == "?":
            self._at += 1
        if not needed:
            return _ANY
        # One copy is certain, what follows it is not.
        return _Node("sequence", parts=(_ANY, *_flat(node), _ANY))

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self) -> str:
        char = self._pattern[self._at]
        self._at += 1
        return char
