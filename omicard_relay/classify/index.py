"""Rules -> what the matcher looks up: the literals, their Hyperscan database, and what each literal speaks for.

Each phrase and each branch of an expression stands under one literal, or a few: those that are rarest in the rules' own
examples, so that everyday words such as "mail" open next to nothing.
`MatchTables` is plain data, so that it can be kept on disk and read back instead of being made anew.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version

import hyperscan
import msgspec
import re2

from omicard_relay.classify.atoms import Clauses
from omicard_relay.classify.phrases import Part, Phrase, plain_phrase, write_out
from omicard_relay.classify.wording import wording_of
from omicard_relay.tables.rules import GAP, Rule, Strength

__all__ = [
    "FORM",
    "Literal",
    "MatchTables",
    "Needs",
    "Unless",
    "build_tables",
    "expressions_of",
    "is_known",
    "is_usable",
    "know_tables",
    "tables_of",
]

#: Changes with the meaning of the tables, and with the library that compiled them.
FORM = f"3 hyperscan {version('hyperscan')}"
#: Characters that `…` in a phrase stands for at most.
_GAP_CHARACTERS = 60
#: Words of a clause that are worth looking for one by one before google-re2 is asked.
_MOST_WORDS = 40

#: Examples of which the everyday words are learnt.
_SAMPLE = 500
#: Sets of rules of which a process keeps the tables: the shipped ones, the site's, and those of a release to come.
_KNOWN = 6

#: What must stand in a text for an expression to match: of each clause some word.
Needs = tuple[tuple[bytes, ...], ...]
#: What must not stand in it: words, phrases, and expressions with what they need.
Unless = tuple[tuple[bytes, ...], tuple[Phrase, ...], tuple[tuple[Needs, str], ...]]


class Literal(msgspec.Struct, frozen=True, array_like=True):
    """One literal of `size` octets.

    `alone`: the rules of which it is a whole phrase, by what its left and right neighbour must be (phrases.Part).
    `phrases`: rule, another part that must be there, and the phrase. `atoms`: numbers of the expressions that it opens.
    """

    size: int
    alone: tuple[tuple[bool | None, bool | None, tuple[int, ...]], ...]
    phrases: tuple[tuple[int, bytes, Phrase], ...]
    atoms: tuple[int, ...]


class MatchTables(msgspec.Struct, frozen=True):
    """All that a matcher needs beside the rules' conditions.

    `expressions` are (rule index, google-re2 pattern, needs), of which atoms speak by number; `always` are those that no
    literal announces; `unless` is by rule index; `database` is Hyperscan's own form.
    """

    literals: list[Literal]
    expressions: list[tuple[int, str, Needs]]
    always: tuple[int, ...]
    unless: dict[int, Unless]
    database: bytes


class _Builder:
    def __init__(self, examples: bytes) -> None:
        self.numbers: dict[bytes, int] = {}
        self.alone: dict[int, dict[tuple[bool | None, bool | None], list[int]]] = {}
        self.phrases: dict[int, list[tuple[int, bytes, Phrase]]] = {}
        self.atoms: dict[int, list[int]] = {}
        self.expressions: list[tuple[int, str, Needs]] = []
        self.always: list[int] = []
        self._frequency = cache(examples.count)

    def number(self, octets: bytes) -> int:
        return self.numbers.setdefault(octets, len(self.numbers))

    def add_phrase(self, index: int, phrase: Phrase) -> None:
        """Under its own octets when it is one literal, else under its rarest part."""
        if len(phrase) == 1:
            part = phrase[0]
            indexes = self.alone.setdefault(self.number(part.octets), {}).setdefault((part.left, part.right), [])
            if index not in indexes:
                indexes.append(index)
            return
        rarest, second, *_ = sorted((part.octets for part in phrase), key=lambda word: self._commonness([word]))
        self.phrases.setdefault(self.number(rarest), []).append((index, second, phrase))

    def add_expression(self, index: int, pattern: str, clauses: Clauses) -> None:
        """Under the words of its rarest clause."""
        expression = len(self.expressions)
        if not clauses:
            self.always.append(expression)
            self.expressions.append((index, pattern, ()))
            return
        first, *others = sorted(map(_octets, clauses), key=self._commonness)
        # The rarest first: it fails soonest. Of its words the most common ones, which are found soonest.
        needs = tuple(
            tuple(sorted(words, key=lambda word: self._commonness([word]), reverse=True))
            for words in others
            if len(words) <= _MOST_WORDS
        )
        self.expressions.append((index, pattern, needs))
        for word in first:
            self.atoms.setdefault(self.number(word), []).append(expression)

    def _commonness(self, words: Iterable[bytes]) -> tuple[int, int]:
        known = list(words)
        return sum(self._frequency(word) for word in known), -min(map(len, known))


_known: dict[tuple[Rule, ...], MatchTables] = {}


def tables_of(rules: tuple[Rule, ...]) -> MatchTables:
    """The tables of a set of rules, made once in a process."""
    tables = _known.get(rules)
    if tables is None:
        tables = build_tables(rules)
        know_tables(rules, tables)
    return tables


def is_known(rules: tuple[Rule, ...]) -> bool:
    """Whether `tables_of` has these ready."""
    return rules in _known


def is_usable(tables: MatchTables) -> bool:
    """Whether tables that were kept can be used here: another processor or library may not take their database."""
    try:
        hyperscan.loadb(tables.database, hyperscan.HS_MODE_BLOCK)
    except hyperscan.error:
        return False
    return True


def know_tables(rules: tuple[Rule, ...], tables: MatchTables) -> None:
    """Let `tables_of` give these, which were kept from an earlier process, instead of making them."""
    while len(_known) >= _KNOWN:
        # The smallest is the cheapest to make again.
        _known.pop(min(_known, key=lambda known: len(_known[known].literals)), None)
    _known[rules] = tables


def build_tables(rules: tuple[Rule, ...]) -> MatchTables:
    """The tables of a set of rules, compiled: some seconds for thousands of rules."""
    examples = [rule.examples[0] for rule in rules if rule.examples]
    builder = _Builder(b"\n".join(wording_of(text).octets for text in examples[:: 1 + len(examples) // _SAMPLE]))
    for index, rule in enumerate(rules):
        if rule.strength not in (Strength.TOKEN, Strength.TEXT):
            continue
        for words in rule.phrases:
            builder.add_phrase(index, plain_phrase(words, GAP, _GAP_CHARACTERS))
        if rule.pattern:
            phrases, branches = write_out(rule.pattern)
            for phrase in phrases:
                builder.add_phrase(index, phrase)
            for branch, clauses in branches:
                builder.add_expression(index, branch, clauses)
    octets = list(builder.numbers)
    return MatchTables(
        literals=[
            Literal(
                len(word),
                tuple((*sides, tuple(indexes)) for sides, indexes in builder.alone.get(number, {}).items()),
                tuple(builder.phrases.get(number, ())),
                tuple(builder.atoms.get(number, ())),
            )
            for number, word in enumerate(octets)
        ],
        expressions=builder.expressions,
        always=tuple(builder.always),
        unless={index: _unless(rule.unless) for index, rule in enumerate(rules) if rule.unless},
        # What opens a search is asked for once; a phrase must be seen wherever it stands, for it may be part of a longer
        # word first.
        database=_compile(
            octets, [0 if n in builder.alone else hyperscan.HS_FLAG_SINGLEMATCH for n in range(len(octets))]
        ),
    )


def expressions_of(rule: Rule) -> Iterator[str]:
    """The pattern of a rule and its phrases as google-re2 expressions that match what is matched here."""
    if rule.pattern:
        yield rule.pattern
    for words in rule.phrases:
        parts = plain_phrase(words, GAP, _GAP_CHARACTERS)
        gap = f".{{0,{_GAP_CHARACTERS}}}"
        left, right = (r"\b" if side is False else "" for side in (parts[0].left, parts[-1].right))
        yield left + gap.join(re2.escape(part.octets.decode()) for part in parts) + right


def _octets(clause: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(sorted(word.encode() for word in clause))


def _unless(pattern: str) -> Unless:
    phrases, branches = write_out(pattern)
    plain = [phrase for phrase in phrases if phrase == (Part(phrase[0].octets),)]
    words = sorted((phrase[0].octets for phrase in plain), key=len)
    # A word that holds another one says nothing more.
    words = [word for number, word in enumerate(words) if not any(shorter in word for shorter in words[:number])]
    others = tuple((tuple(map(_octets, clauses)), branch) for branch, clauses in branches)
    return tuple(words), tuple(phrase for phrase in phrases if phrase not in plain), others


def _compile(literals: list[bytes], flags: list[int]) -> bytes:
    database = hyperscan.Database()
    # A database must hold something.
    words, flags = (literals, flags) if literals else ([b"\x01\x02"], [0])
    database.compile(expressions=words, ids=list(range(len(words))), elements=len(words), flags=flags, literal=True)
    return bytes(hyperscan.dumpb(database))
