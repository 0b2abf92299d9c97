"""For tests of judging: the shipped rules compiled once, what google-re2 says of a text, and texts spliced from examples.

`PlainJudge` is the judge without its short cuts: it asks google-re2 for every rule, and weighs whatever it finds.
"""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import re2

from omicard_relay.classify import Judge
from omicard_relay.classify import index as tables
from omicard_relay.classify.conditions import holds
from omicard_relay.classify.index import expressions_of
from omicard_relay.classify.matcher import Found, Matcher
from omicard_relay.classify.weigh import Proposal, standing_of
from omicard_relay.mail import Evidence, Reply
from omicard_relay.tables import Policies, Rule, Strength, load_policies

#: Below every rank: what is promised is then asked without exception.
EVERYTHING = 10_000

WRAPPERS = (
    "{}",
    "host mx1.example.com[192.0.2.1] said: {} (in reply to RCPT TO command)",
    "host mx1.example.com[192.0.2.1] refused to talk to me: {}",
    "smtp; {}",
    "delivery temporarily suspended: host mx1.example.com[192.0.2.1] said: {} (in reply to end of DATA command)",
    "SMTP error from remote mail server after end of data: host mx1.example.com [192.0.2.1]: {}",
    "554 5.4.7 [internal] (last transfail: {})",
    "The response from the remote server was: {}",
    ">>> RCPT To:<ann@example.com> <<< {}",
    "#{} ##rfc822;ann@example.com",
)
#: What often stands in replies and means nothing, and what looks like something else.
SCRAPS = (
    "<ann.o@example.com>",
    "<mailbox-full@example.com>:",
    "192.0.2.77",
    "[10.1.2.3]",
    "2001:db8::25",
    "4bQ2T13zXyz9",
    "1tX2aB-0003Cd-9Z",
    "12345678901234",
    "5.1.1.7",
    "2026-11-24",
    "信箱",
    "é",
    "550",
    "4.2.2",
    "(in reply to RCPT TO command)",
    "said:",
    "[",
    "#",
    ";",
    "'",
    "550-",
    "S3150",
)


@contextmanager
def aside() -> Iterator[None]:
    """For sets of rules made up for a test: the tables of the shipped ones, which take seconds, stay known."""
    known = dict(tables._known)
    try:
        yield
    finally:
        tables._known.clear()
        tables._known.update(known)


def matcher_of(*rules: Rule) -> Matcher:
    """A matcher of a few rules made up for a test."""
    with aside():
        return Matcher(rules, [0] * len(rules))


@cache
def policies() -> Policies:
    return load_policies()


@cache
def judge() -> Judge:
    return Judge(policies())


def texts_of(rules: Iterable[Rule]) -> list[str]:
    """Every example and counter-example, each once."""
    return list(dict.fromkeys(text for rule in rules for text in (*rule.examples, *rule.not_examples)))


def spliced(count: int, seed: int, *, glued: float = 0.05) -> Iterator[str]:
    """Texts made of pieces of examples: cut, mixed, wrapped, with other codes, case and scraps in them; some without blanks."""
    chance = random.Random(seed)  # noqa: S311  the same texts every time
    known = texts_of(policies().rules)
    for _ in range(count):
        words: list[str] = []
        for text in chance.sample(known, chance.choice((1, 2, 2, 3))):
            some = text.split(" ")
            start = chance.randrange(len(some))
            words += some[start:] if chance.random() < 0.6 else some[: start + 1]
        for _ in range(chance.choice((0, 0, 1, 2))):
            words.insert(chance.randrange(len(words) + 1), chance.choice(SCRAPS))
        line = ("" if chance.random() < glued else " ").join(words)
        if chance.random() < 0.3:
            line = chance.choice(("550 5.1.1 ", "450 4.2.0 ", "421 ", "554-", "5.7.1 ", "")) + line
        if chance.random() < 0.1:
            line = chance.choice((str.upper, str.lower, str.title))(line)
        for _ in range(chance.choice((0, 0, 0, 1, 2))):
            line = chance.choice(WRAPPERS).replace("{}", line)
        yield line


def options() -> re2.Options:
    """As the matcher reads the octets of a wording."""
    chosen = re2.Options()
    chosen.case_sensitive = False
    chosen.dot_nl = True
    chosen.never_capture = True
    chosen.log_errors = False
    return chosen


@cache
def compiled(expression: str) -> object:
    return re2.compile(expression.encode(), options())


def matches(expression: str, octets: bytes) -> bool:
    """What google-re2 says."""
    return compiled(expression).search(octets) is not None  # type: ignore[attr-defined]


#: Rules that google-re2 looks for at once: more make its automaton larger than the texts are worth.
_AT_ONCE = 20


@cache
def _sets(rules: tuple[Rule, ...]) -> list[tuple[list[int], re2.Set]]:
    """Of each rule with words one expression, for all that it looks for; a few of them a set."""
    worded = [
        (index, "|".join(f"(?:{expression})" for expression in expressions_of(rule)))
        for index, rule in enumerate(rules)
        if rule.has_words and rule.strength in (Strength.TOKEN, Strength.TEXT)
    ]
    chosen = options()
    # Octets; a set that runs out of memory would say that nothing matches.
    chosen.max_mem = 256 << 20
    sets = []
    for first in range(0, len(worded), _AT_ONCE):
        some = worded[first : first + _AT_ONCE]
        one = re2.Set.SearchSet(chosen)
        for _, expression in some:
            one.Add(expression)
        one.Compile()
        sets.append(([index for index, _ in some], one))
    return sets


@cache
def found_by_re2(rules: tuple[Rule, ...], octets: bytes) -> frozenset[int]:
    """The rules of which some words stand in the octets, each asked for."""
    return frozenset(indexes[place] for indexes, one in _sets(rules) if octets for place in one.Match(octets) or ())


def found_one_by_one(rules: tuple[Rule, ...], octets: bytes) -> set[int]:
    """The same without sets, which takes many times as long."""
    return {
        index
        for index, rule in enumerate(rules)
        if rule.strength in (Strength.TOKEN, Strength.TEXT)
        and any(matches(expression, octets) for expression in expressions_of(rule))
    }


def found_by_matcher(matcher: Matcher, octets: bytes) -> Found:
    """The same by the matcher, with nothing left out for being too weak."""
    hits = matcher.hits(octets)
    found = matcher.plain(octets, hits)
    for question in matcher.promised(hits, EVERYTHING):
        index = question[2]
        if index not in found:
            place = matcher.answer(octets, question)
            if place is not None:
                found[index] = place
    return found


class PlainJudge(Judge):
    """Reads and weighs as `Judge` does, and asks google-re2 for every rule in force, however weak.

    How many octets a rule's words have is the matcher's to say (test_matcher.py holds that they are its words).
    """

    def __init__(self, policies: Policies) -> None:
        super().__init__(policies)
        self._all = Matcher(policies.rules, [0] * len(policies.rules))
        self._shipped = {rule.id: rule for rule in policies.shipped}
        self._coded = [
            (index, rule)
            for index, rule in enumerate(policies.rules)
            if not rule.has_words or rule.strength in (Strength.ENHANCED, Strength.REPLY)
        ]

    def _proposals(self, reply: Reply, evidence: Evidence, octets: bytes) -> list[Proposal]:
        rules = self.policies.rules
        places = found_by_matcher(self._all, octets)
        said = {index: (start - end, start, end) for index, (start, end) in places.items()}
        assert said.keys() == found_by_re2(rules, octets)
        for index, rule in self._coded:
            if not rule.has_words:
                said[index] = (0, 0, 0)
            elif rule.strength is Strength.ENHANCED and _states(rule, reply.enhanced_status):
                said[index] = (-len(reply.enhanced_status or ""), 0, 0)
            elif rule.strength is Strength.REPLY and str(reply.reply_code) in rule.phrases:
                said[index] = (-3, 0, 0)
        return [
            self._proposal(rules[index], reply, *place)
            for index, place in said.items()
            if holds(rules[index], reply, evidence)
            and not (rules[index].unless and matches(rules[index].unless, octets))
        ]

    def _proposal(self, rule: Rule, reply: Reply, size: int, start: int, end: int) -> Proposal:
        code = rule.bounce_code
        if reply.reply_class == 4 and rule.temporary_code is not None:
            code = rule.temporary_code
        is_own = bool(self._shipped) and self._shipped.get(rule.id) != rule
        standing = standing_of(rule, code, self.policies.codes, is_own=is_own)
        return standing.rank, standing.generality, size, start, rule.id, standing, end


def _states(rule: Rule, status: str | None) -> bool:
    return status is not None and (status in rule.phrases or f"x{status[1:]}" in rule.phrases)
