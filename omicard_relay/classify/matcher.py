"""Which rules' words stand in a text: one Hyperscan pass finds the plain words, google-re2 confirms and cuts them out.

Both are linear-time by construction, whatever the text. Hyperscan gets literals only, the phrases and the words that
an expression cannot do without (classify/atoms.py): thousands of them compile in a few hundredths of a second, where
the expressions themselves took 8 s (docs/decisions/0003-reply-matching.md). Everything is read as UTF-8 octets in
lower case. Known limit: `\\b` and `\\w` know ASCII letters only.
"""

import threading
from collections.abc import Iterator
from functools import lru_cache

import hyperscan
import re2

from omicard_relay.classify.atoms import branches_of
from omicard_relay.classify.wording import Wording
from omicard_relay.tables.rules import GAP, Rule, Strength

__all__ = ["Found", "Matcher", "expression_of", "expressions_of", "matcher_for"]

#: Rule index -> the words found and the octet at which they begin.
Found = dict[int, tuple[str, int]]

_OPTIONS = re2.Options()
_OPTIONS.case_sensitive = False
_OPTIONS.never_capture = True
_OPTIONS.dot_nl = True
_OPTIONS.log_errors = False
#: Mail logs say the same few thousand things; with addresses masked, most replies have been read before.
_REMEMBERED = 4096
#: Longer texts are not remembered, so that the memory stays below some 10 MB.
_REMEMBERED_OCTETS = 1000
_WORD_OCTETS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_")


class Matcher:
    """The words of a set of rules; rules are spoken of by their index. Safe to use from several threads."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        literals: dict[str, int] = {}
        #: Literal number -> the rules of which it is a whole phrase; its octets stand beside it.
        self._phrases: dict[int, list[int]] = {}
        #: Literal number -> (rule, all the literal sets of one branch, as bit masks).
        self._branches: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
        self._always: list[int] = []
        self._expressions: dict[int, list[str]] = {}
        for index, rule in enumerate(rules):
            if rule.strength not in (Strength.TOKEN, Strength.TEXT):
                continue
            for phrase in rule.phrases:
                if GAP not in phrase:
                    number = literals.setdefault(phrase.lower(), len(literals))
                    self._phrases.setdefault(number, []).append(index)
            self._expressions[index] = list(expressions_of(rule))
            for expression in self._expressions[index]:
                self._index(index, expression, literals)
        self._octets = [literal.encode() for literal in literals]
        # An atom is asked for once; a phrase must be seen wherever it stands, for it may be part of a longer word first.
        flags = [0 if number in self._phrases else hyperscan.HS_FLAG_SINGLEMATCH for number in range(len(self._octets))]
        self._database = _compile(self._octets, flags)
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._find)
        self._local = threading.local()
        self._compiled: dict[str, object] = {}

    def found(self, wording: Wording) -> Found:
        """The rules whose pattern or phrase stands in the text and whose `unless` does not, with the words."""
        if len(wording.octets) > _REMEMBERED_OCTETS:
            return self._find(wording)
        return self._remembered(wording)

    def _find(self, wording: Wording) -> Found:
        octets, all_octets = wording.octets, self._octets
        if not octets:
            return {}
        found: Found = {}
        seen = 0
        phrases = self._phrases

        def on_literal(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            nonlocal seen
            seen |= 1 << number
            indexes = phrases.get(number)
            if indexes:
                size = len(all_octets[number])
                if _stands_alone(octets, end - size, end):
                    for index in indexes:
                        if index not in found or len(found[index][0]) < size:
                            found[index] = _cut(wording, end - size, end), end - size

        self._database.scan(octets, match_event_handler=on_literal, scratch=self._scratch())
        for index in self._candidates(seen):
            if index in found:
                continue
            for expression in self._expressions[index]:
                span = self._search(expression, octets)
                if span and (index not in found or len(found[index][0]) < span[1] - span[0]):
                    found[index] = _cut(wording, *span), span[0]
        return {index: words for index, words in found.items() if not self.excepted(self._rules[index], wording)}

    def excepted(self, rule: Rule, wording: Wording) -> bool:
        """Whether the rule's `unless` stands in the text."""
        return bool(rule.unless) and self._search(rule.unless, wording.octets) is not None

    def _index(self, index: int, expression: str, literals: dict[str, int]) -> None:
        """Put an expression under the most telling literals of each of its branches."""
        for branch in branches_of(expression):
            if not branch:
                self._always.append(index)
                return
            masks = []
            for clause in branch:
                mask = 0
                for literal in clause:
                    mask |= 1 << literals.setdefault(literal, len(literals))
                masks.append(mask)
            entry = (index, tuple(masks[1:]))
            for literal in branch[0]:
                self._branches.setdefault(literals[literal], []).append(entry)

    def _candidates(self, seen: int) -> set[int]:
        """The rules of which some branch has all its literals in the text."""
        candidates = set(self._always)
        left = seen
        while left:
            lowest = left & -left
            left ^= lowest
            for index, masks in self._branches.get(lowest.bit_length() - 1, ()):
                if index not in candidates and all(seen & mask for mask in masks):
                    candidates.add(index)
        return candidates

    def _search(self, expression: str, octets: bytes) -> tuple[int, int] | None:
        compiled = self._compiled.get(expression)
        if compiled is None:
            compiled = self._compiled[expression] = re2.compile(expression.encode(), _OPTIONS)
        match = compiled.search(octets)  # type: ignore[attr-defined]
        return match.span() if match else None

    def _scratch(self) -> hyperscan.Scratch:
        """This thread's own working memory, as Hyperscan demands."""
        scratch = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = hyperscan.Scratch(self._database)
        return scratch


@lru_cache(maxsize=8)
def matcher_for(rules: tuple[Rule, ...]) -> Matcher:
    """The compiled matcher of these rules, kept for the process."""
    return Matcher(rules)


def expressions_of(rule: Rule) -> Iterator[str]:
    """The expressions that a rule needs: its pattern, and its phrases with gaps."""
    if rule.pattern:
        yield rule.pattern
    yield from (expression_of(phrase) for phrase in rule.phrases if GAP in phrase)


def expression_of(phrase: str) -> str:
    """A phrase with gaps as an expression: parts in this order, up to 60 characters between them."""
    parts = [re2.escape(part.strip()) for part in phrase.lower().split(GAP)]
    left = r"\b" if _is_word(phrase[0]) else ""
    right = r"\b" if _is_word(phrase[-1]) else ""
    return left + ".{0,60}".join(parts) + right


def _compile(literals: list[bytes], flags: list[int]) -> hyperscan.Database:
    database = hyperscan.Database()
    # A database must hold something.
    words, flags = (literals, flags) if literals else ([b"\x01\x02"], [0])
    database.compile(expressions=words, ids=list(range(len(words))), elements=len(words), flags=flags, literal=True)
    return database


def _stands_alone(octets: bytes, start: int, end: int) -> bool:
    """Whether a literal is not part of a longer word, as far as its own ends are letters or digits."""
    if octets[start] in _WORD_OCTETS and start > 0 and octets[start - 1] in _WORD_OCTETS:
        return False
    return not (octets[end - 1] in _WORD_OCTETS and end < len(octets) and octets[end] in _WORD_OCTETS)


def _cut(wording: Wording, start: int, end: int) -> str:
    """The words in their own case, where lower case has the same length."""
    shown = wording.shown.encode("utf-8", "replace")
    source = shown if len(shown) == len(wording.octets) else wording.octets
    return source[start:end].decode("utf-8", "replace")


def _is_word(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char == "_")
