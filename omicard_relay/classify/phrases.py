"""An expression written out as plain phrases: literals in a fixed order with bounded gaps, found without any engine.

Most rules say "one of these words, then one of those": written out, each is a literal that Hyperscan finds by itself,
and google-re2 need not be asked. What cannot be written out, or would be too many phrases, is None.
tests/classify/test_phrases.py holds the answers equal to google-re2's.
"""

import math
from collections import deque
from collections.abc import Iterator

import msgspec

from omicard_relay.classify.atoms import Clauses, clauses_of, spread
from omicard_relay.classify.expressions import Node, read_expression
from omicard_relay.classify.wording import folded_octets

__all__ = ["WORD_OCTETS", "Part", "Phrase", "find_phrase", "plain_phrase", "write_out"]

#: Phrases that one branch of an expression is written out into at most, and how many of these may have gaps: one literal
#: costs nothing until it is there, a phrase with a gap must be looked for wherever its rarest part is.
_MOST = 300
_MOST_GAPPED = 16
#: What `\b` and `\w` of google-re2 call a word: ASCII letters, digits and the underscore.
WORD_OCTETS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_")
#: Octets of one character in UTF-8.
_WIDEST = 4
#: Places of a phrase's first part that are tried one by one, which is fastest; a text with more is read in turn.
_TRIES = 4


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One literal, `least` to `most` characters behind the part before it.

    `left` and `right` say whether the neighbour must (True) or must not (False) be a letter or digit; None: anything.
    """

    octets: bytes
    least: int = 0
    most: int = 0
    left: bool | None = None
    right: bool | None = None


Phrase = tuple[Part, ...]
#: Of one way through an expression: a literal, the least and most characters of a gap, or (None) a word boundary.
_Item = str | tuple[int, int] | None


def write_out(pattern: str) -> tuple[list[Phrase], list[tuple[str, Clauses]]]:
    """The branches of an expression: phrases where they can be written out, else expressions with what they cannot do without.

    Branches of no clauses may match anything.
    """
    try:
        node = read_expression(pattern)
    except (IndexError, ValueError):
        return [], [(pattern, ())]
    phrases: list[Phrase] = []
    others: list[tuple[str, Clauses]] = []
    for branch in spread(node):
        made = _written(branch)
        if made is None:
            others.append((branch.source, clauses_of(branch)))
        else:
            phrases += made
    return list(dict.fromkeys(phrases)), others


def _written(branch: Node) -> list[Phrase] | None:
    if _ways(branch) > _MOST:
        return None
    phrases = []
    gapped = 0
    for items in _spelled(branch):
        phrase = _phrase(items)
        if phrase is None:
            return None
        if phrase:
            phrases.append(phrase)
            gapped += len(phrase) > 1
    return phrases if gapped <= _MOST_GAPPED else None


def plain_phrase(words: str, gap: str, most: int) -> Phrase:
    """A phrase of a rule: parts between `gap` signs, up to `most` characters apart; the whole stands alone as words do."""
    literals = [folded_octets(part.strip()) for part in words.split(gap) if part.strip()]
    last = len(literals) - 1
    return tuple(
        Part(
            octets=octets,
            most=most if index else 0,
            left=False if index == 0 and octets[0] in WORD_OCTETS else None,
            right=False if index == last and octets[-1] in WORD_OCTETS else None,
        )
        for index, octets in enumerate(literals)
    )


def find_phrase(octets: bytes, phrase: Phrase) -> tuple[int, int] | None:
    """Where a phrase of several parts stands; None when it does not. Linear: each part is sought in a bounded window."""
    tries = 0
    start = octets.find(phrase[0].octets)
    while start >= 0:
        end = start + len(phrase[0].octets)
        if _fits(octets, phrase[0], start, end):
            if tries == _TRIES:
                return next(((begin, last) for begin, last, _ in _in_turn(octets, phrase)), None)
            tries += 1
            last = _follow(octets, phrase, 1, end)
            if last is not None:
                return start, last
        start = octets.find(phrase[0].octets, start + 1)
    return None


def _in_turn(octets: bytes, phrase: Phrase) -> Iterator[tuple[int, int, int]]:
    """The same for a text in which the first part often stands: each place of each part is looked at once."""
    places = _places(octets, phrase[0])
    for part in phrase[1:]:
        places = _behind(octets, part, places)
    return places


def _places(octets: bytes, part: Part) -> Iterator[tuple[int, int, int]]:
    """Where a part stands, in order: its first octet, the octet behind it, and the characters up to there."""
    counted = characters = 0
    at = octets.find(part.octets)
    while at >= 0:
        end = at + len(part.octets)
        if _fits(octets, part, at, end):
            characters += _characters(octets[counted:end])
            counted = end
            yield at, end, characters
        at = octets.find(part.octets, at + 1)


def _behind(octets: bytes, part: Part, before: Iterator[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Where a part stands behind one of those places, in order, each with the earliest beginning of the whole."""
    size = _characters(part.octets)
    near: deque[tuple[int, int, int]] = deque()
    coming = next(before, None)
    for _, end, characters in _places(octets, part):
        begins = characters - size
        while coming is not None and coming[2] + part.least <= begins:
            near.append(coming)
            coming = next(before, None)
        while near and near[0][2] + part.most < begins:
            near.popleft()
        if near:
            yield near[0][0], end, characters


def _follow(octets: bytes, phrase: Phrase, index: int, end: int) -> int | None:
    """The end of the parts from `index` on, which follow the octet `end`."""
    ends = {end}
    for part in phrase[index:]:
        size = len(part.octets)
        reached = set()
        for before in ends:
            limit = before + part.most * _WIDEST + size
            at = octets.find(part.octets, before + part.least, limit)
            while at >= 0:
                if _fits(octets, part, at, at + size) and _distance_fits(octets[before:at], part):
                    reached.add(at + size)
                at = octets.find(part.octets, at + 1, limit)
        if not reached:
            return None
        ends = reached
    return min(ends)


def _distance_fits(between: bytes, part: Part) -> bool:
    return part.least <= _characters(between) <= part.most


def _characters(octets: bytes) -> int:
    return len(octets) if octets.isascii() else len(octets.decode("utf-8", "replace"))


def _fits(octets: bytes, part: Part, start: int, end: int) -> bool:
    if part.left is not None and (start > 0 and octets[start - 1] in WORD_OCTETS) is not part.left:
        return False
    return part.right is None or (end < len(octets) and octets[end] in WORD_OCTETS) is part.right


def _ways(node: Node) -> int:
    """How many phrases a node is written out into; above the limit where something in it can't be."""
    if node.kind in ("opaque", "repeat"):
        return _MOST + 1
    if node.kind == "choice":
        return sum(map(_ways, node.parts))
    return math.prod(map(_ways, node.parts))


def _spelled(node: Node) -> list[list[_Item]]:
    """Every way through the tree."""
    if node.kind == "choice":
        return [way for part in node.parts for way in _spelled(part)]
    if node.kind == "sequence":
        ways: list[list[_Item]] = [[]]
        for part in node.parts:
            spelled = _spelled(part)
            ways = [way + one for way in ways for one in spelled]
        return ways
    return [[node.text if node.kind == "literal" else (node.least, node.most) if node.kind == "gap" else None]]


def _phrase(items: list[_Item]) -> Phrase | None:
    """One way as a phrase; () when it can match nothing, None when it cannot be written as a phrase."""
    merged: list[_Item] = []
    for item in items:
        last = merged[-1] if merged else ""
        if isinstance(item, str) and merged and isinstance(last, str):
            merged[-1] = last + item
        elif isinstance(item, tuple) and isinstance(last, tuple):
            merged[-1] = last[0] + item[0], last[1] + item[1]
        elif item is not None or not merged or last is not None:
            merged.append(item)
    while merged and isinstance(merged[0], tuple) and merged[0][0] == 0:
        del merged[0]
    while merged and isinstance(merged[-1], tuple) and merged[-1][0] == 0:
        del merged[-1]
    return _parts(merged) if merged else None


def _parts(items: list[_Item]) -> Phrase | None:
    """Literals with what stands between them: gaps, and word boundaries, which must touch a literal."""
    parts: list[Part] = []
    gap, is_bound, is_open = (0, 0), False, True
    for item in items:
        if isinstance(item, tuple):
            if (is_bound and is_open) or not parts:
                return None
            gap, is_bound, is_open = item, False, True
        elif item is None:
            is_bound = True
            if not is_open:
                parts[-1] = msgspec.structs.replace(parts[-1], right=parts[-1].octets[-1] not in WORD_OCTETS)
        else:
            octets = item.encode()
            if is_bound and not is_open:
                # Both neighbours are known: the boundary is there, or it never is.
                last = parts.pop()
                if (last.octets[-1] in WORD_OCTETS) is (octets[0] in WORD_OCTETS):
                    return ()
                parts.append(Part(last.octets + octets, last.least, last.most, last.left))
            else:
                left = octets[0] not in WORD_OCTETS if is_bound else None
                parts.append(Part(octets, *gap, left))
            gap, is_bound, is_open = (0, 0), False, False
    # A gap at the end, or a boundary behind one, has nothing to hold on to.
    return tuple(parts) if parts and not is_open else None
