"""Which rules' words stand in a text: one Hyperscan pass finds the plain words; google-re2 is asked where words are not enough.

Both are linear-time by construction, whatever the text. Hyperscan gets literals only: phrases, expressions written out as
phrases (phrases.py), and the words that any other expression cannot do without (atoms.py). Thousands of them compile in
a few tenths of a second, where the expressions themselves took 8 s (docs/decisions/0003-reply-matching.md). Everything is
read as UTF-8 octets in lower case. Known limit: `\\b` and `\\w` know ASCII letters only.
Not here: what a rule's conditions say (conditions.py), and the tables behind the pass (index.py).
"""

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import hyperscan
import re2

from omicard_relay.classify.index import MatchTables, Needs, tables_of
from omicard_relay.classify.phrases import WORD_OCTETS, Phrase, find_phrase
from omicard_relay.tables.rules import Rule

__all__ = ["Found", "Hits", "Matcher", "Question"]

#: Rule index -> the octets at which its words begin and end.
Found = dict[int, tuple[int, int]]
Hits = list[tuple[int, int]]
#: Rank of the rule, serial number, index of the rule, words that must stand in the text, and then a phrase of several
#: parts or a google-re2 expression.
Question = tuple[int, int, int, Needs, Phrase | str]

#: In the place of a literal's number: what must be asked whatever stands in the text.
_ALWAYS = -1
_ANYWAY = (_ALWAYS, 0)


def _options(encoding: object, max_mem: int) -> re2.Options:
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.dot_nl = True
    options.log_errors = False
    options.encoding = encoding
    options.max_mem = max_mem
    return options


#: Octets that one expression may take, its states included, beyond which google-re2 forgets states and goes on; what does
#: not even compile in the first gets the second, google-re2's own figure.
_MEMORY = (150_000, 8 << 20)
_TEXT_OPTIONS = tuple(_options(re2.Options.Encoding.UTF8, octets) for octets in _MEMORY)
_OCTET_OPTIONS = tuple(_options(re2.Options.Encoding.LATIN1, octets) for octets in _MEMORY)
#: Expressions that are kept compiled, some 30 kB each; a mail log needs a few hundred.
_MOST_COMPILED = 2500


@lru_cache(maxsize=_MOST_COMPILED)
def _compiled(expression: str, is_ascii: bool) -> Any:
    """An expression for texts of plain ASCII, or for any; those that were asked for lately are kept, whatever the rules."""
    # Of plain ASCII each octet is a character, and a program for octets is far smaller.
    small, large = _OCTET_OPTIONS if is_ascii and expression.isascii() else _TEXT_OPTIONS
    try:
        return re2.compile(expression.encode(), small)
    except re2.error:
        return re2.compile(expression.encode(), large)


class Matcher:
    """The words of a set of rules; rules are spoken of by their index. Safe to use from several threads.

    `ranks` say by rule index how strong a rule is, the smaller the stronger: what is promised is asked in this order.
    """

    def __init__(self, rules: tuple[Rule, ...], ranks: Sequence[int]) -> None:
        self.tables = tables_of(rules)
        self._literals = self.tables.literals
        self.unless = self.tables.unless
        self.ranks = ranks
        self._questions = _questions(self.tables, ranks)
        self._database = hyperscan.loadb(self.tables.database, hyperscan.HS_MODE_BLOCK)
        self._local = threading.local()

    def hits(self, octets: bytes) -> Hits:
        """The literals that stand in the folded text: (number, octet at which it ends)."""
        hits: Hits = []
        add = hits.append

        def on_literal(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            add((number, end))

        # The database of no literals holds something all the same.
        if octets and self._literals:
            try:
                scratch = self._local.scratch
            except AttributeError:
                # Each thread has its own working memory, as Hyperscan demands.
                scratch = self._local.scratch = hyperscan.Scratch(self._database)
            self._database.scan(octets, match_event_handler=on_literal, scratch=scratch)
        return hits

    def plain(self, octets: bytes, hits: Hits) -> Found:
        """The rules of which a plain phrase stands in the text; of several places the longest."""
        found: Found = {}
        literals, size_of_text = self._literals, len(octets)
        for number, end in hits:
            literal = literals[number]
            if not literal.alone:
                continue
            size = literal.size
            start = end - size
            left = start > 0 and octets[start - 1] in WORD_OCTETS
            right = end < size_of_text and octets[end] in WORD_OCTETS
            for wants_left, wants_right, indexes in literal.alone:
                if (wants_left is None or wants_left is left) and (wants_right is None or wants_right is right):
                    for index in indexes:
                        before = found.get(index)
                        if before is None or before[1] - before[0] < size:
                            found[index] = start, end
        return found

    def promised(self, hits: Hits, weakest: int) -> list[Question]:
        """What to ask for since these literals stand in the text, of rules not weaker than `weakest`; the strongest first."""
        questions: dict[int, Question] = {}
        of = self._questions
        for number, _ in (*hits, _ANYWAY) if _ALWAYS in of else hits:
            if number in of:
                for question in of[number]:
                    if question[0] > weakest:
                        break
                    questions[question[1]] = question
        return sorted(questions.values()) if len(questions) > 1 else list(questions.values())

    def answer(self, octets: bytes, question: Question) -> tuple[int, int] | None:
        """Where what was asked for stands in the text; None when it does not."""
        _, _, _, needs, asked = question
        if not _all_stand(octets, needs):
            return None
        return self._search(asked, octets) if isinstance(asked, str) else find_phrase(octets, asked)

    def excepted(self, index: int, octets: bytes) -> bool:
        """Whether the rule's `unless` stands in the text."""
        if index not in self.unless:
            return False
        words, phrases, expressions = self.unless[index]
        for word in words:
            if word in octets:
                return True
        for phrase in phrases:
            if phrase[0].octets in octets and find_phrase(octets, phrase) is not None:
                return True
        return any(
            _all_stand(octets, needs) and self._search(pattern, octets) is not None for needs, pattern in expressions
        )

    def _search(self, expression: str, octets: bytes) -> tuple[int, int] | None:
        match = _compiled(expression, octets.isascii()).search(octets)
        return match.span() if match else None


def _questions(tables: MatchTables, ranks: Sequence[int]) -> dict[int, list[Question]]:
    """By literal, what to ask for when it is there, the strongest rule first; those under no literal are under -1."""
    expressions: list[Question] = [
        (ranks[index], serial, index, needs, pattern)
        for serial, (index, pattern, needs) in enumerate(tables.expressions)
    ]
    questions: dict[int, list[Question]] = {}
    serial = len(expressions)
    for number, literal in enumerate(tables.literals):
        if not literal.phrases and not literal.atoms:
            continue
        found = [expressions[expression] for expression in literal.atoms]
        for index, other, phrase in literal.phrases:
            found.append((ranks[index], serial, index, ((other,),), phrase))
            serial += 1
        questions[number] = sorted(found, key=lambda question: question[:2])
    if tables.always:
        questions[_ALWAYS] = sorted(expressions[expression] for expression in tables.always)
    return questions


def _all_stand(octets: bytes, clauses: Needs) -> bool:
    """Whether of each clause some word stands in the text."""
    for words in clauses:
        for word in words:
            if word in octets:
                break
        else:
            return False
    return True
