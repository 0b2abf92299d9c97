"""Phrases of different rules compared as words: the same phrase with two codes, and a rule that another one always beats.

A phrase that stands inside a longer phrase is there whenever the longer one is, so the rule of the shorter one holds,
too, when its conditions are no narrower. Every inner run of words of every phrase is looked up in one table, so the time
grows with the rules, not with their square.
Known limits: a pattern may hold more often than is seen here; conditions are compared as equal or empty, never by what they
mean; `unless` likewise.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from omicard_relay.classify.compare import WinReason, rank_of, why_it_wins
from omicard_relay.classify.wording import wording_of
from omicard_relay.mail import one_line
from omicard_relay.tables.codes import BounceCode
from omicard_relay.tables.findings import Finding, FindingKind, Level
from omicard_relay.tables.policies import Policies
from omicard_relay.tables.rules import GAP, Rule, Strength

__all__ = ["overlap_findings"]

#: What cannot be cut inside: the matcher knows word boundaries between ASCII letters and digits only.
_TOKEN = re.compile(r"[a-z0-9_]+|[^a-z0-9_]")
#: Words of a phrase that are looked at; longer ones are hardly ever written.
_MOST_TOKENS = 80
_CONDITIONS = ("stage", "reply_class", "host", "road", "feedback_type", "dsn_action", "new_address")


def overlap_findings(policies: Policies, only: Collection[str] | None = None) -> Iterator[Finding]:
    """Phrases that no text holds or that have two codes, rules that never decide or add nothing, in the order of the rules."""
    by_phrase: dict[str, list[Rule]] = {}
    for rule in policies.rules:
        for phrase in _phrases(rule):
            by_phrase.setdefault(phrase, []).append(rule)
    for rule in policies.rules:
        if only is not None and rule.id not in only:
            continue
        yield from _unreachable(rule)
        same = list(_same_phrase(rule, by_phrase, policies.codes))
        yield from same
        if not same and (covered := _covered(rule, by_phrase, policies.codes)) is not None:
            yield covered


def _unreachable(rule: Rule) -> Iterator[Finding]:
    """Phrases in a form in which no text is ever read: an address, full-width punctuation, two blanks."""
    for phrase in rule.phrases if rule.strength in (Strength.TOKEN, Strength.TEXT) else ():
        wanted = " ".join(wording_of(" ".join(phrase.split())).folded.split())
        if GAP not in phrase and wanted != phrase.lower():
            fields = {"phrase": one_line(phrase, 80), "wanted": one_line(wanted, 80)}
            yield Finding(kind=FindingKind.UNREACHABLE_PHRASE, rule_id=rule.id, fields=fields)


def _same_phrase(rule: Rule, by_phrase: Mapping[str, list[Rule]], codes: Mapping[int, BounceCode]) -> Iterator[Finding]:
    """The rule's phrases that another rule has under the same conditions, for another code."""
    for phrase in _phrases(rule):
        for other in by_phrase[phrase]:
            if other.id == rule.id or _codes(other) == _codes(rule) or not _same_conditions(rule, other):
                continue
            fields = {
                "phrase": one_line(phrase, 80),
                "code": str(rule.bounce_code),
                "other": other.id,
                "other_code": str(other.bounce_code),
            }
            if _always_beats(other, rule, codes):
                if not other.unless or other.unless == rule.unless:
                    yield Finding(kind=FindingKind.DEAD_PHRASE, level=Level.WARNING, rule_id=rule.id, fields=fields)
            elif not _always_beats(rule, other, codes) and rule.id < other.id:
                yield Finding(kind=FindingKind.SAME_PHRASE, rule_id=rule.id, fields=fields)


def _covered(rule: Rule, by_phrase: Mapping[str, list[Rule]], codes: Mapping[int, BounceCode]) -> Finding | None:
    """A finding when each phrase of the rule holds another rule's phrase that makes it needless or beats it."""
    if rule.pattern or not rule.phrases or rule.strength not in (Strength.TOKEN, Strength.TEXT):
        return None
    beaten: set[str] | None = set()
    needless: set[str] | None = set()
    for phrase in _phrases(rule):
        holders = [other for inner in _inner(phrase) for other in by_phrase.get(inner, ()) if _holds_too(other, rule)]
        beating = {other.id for other in holders if _always_beats(other, rule, codes)}
        same = {other.id for other in holders if _says_the_same(other, rule, codes)}
        beaten = beaten | beating if beating and beaten is not None else None
        needless = needless | same if same and needless is not None else None
    for kind, by in ((FindingKind.NEVER_DECIDES, beaten), (FindingKind.REDUNDANT, needless)):
        if by:
            fields = {"by": ", ".join(sorted(by))}
            return Finding(kind=kind, level=Level.WARNING, rule_id=rule.id, fields=fields)
    return None


def _phrases(rule: Rule) -> tuple[str, ...]:
    """The phrases as they are compared: lower case; `x.2.2` stands for three codes."""
    found: list[str] = []
    for phrase in rule.phrases:
        if rule.strength is Strength.ENHANCED and phrase.startswith("x"):
            found += [digit + phrase[1:] for digit in "245"]
        else:
            found.append(phrase.lower())
    return tuple(dict.fromkeys(found))


def _inner(phrase: str) -> Iterator[str]:
    """The phrase and every run of whole words inside it, none across a gap."""
    yield phrase
    for part in phrase.split(GAP):
        tokens = _TOKEN.findall(part.strip())[:_MOST_TOKENS]
        for start in range(len(tokens)):
            for end in range(start + 1, len(tokens) + 1):
                inner = "".join(tokens[start:end])
                if inner != phrase:
                    yield inner


def _codes(rule: Rule) -> tuple[int, int]:
    """The codes for a 5xx and for a 4xx reply."""
    return rule.bounce_code, rule.temporary_code or rule.bounce_code


def _same_conditions(rule: Rule, other: Rule) -> bool:
    kinds = {rule.strength in (Strength.TOKEN, Strength.TEXT), other.strength in (Strength.TOKEN, Strength.TEXT)}
    return len(kinds) == 1 and all(getattr(rule, name) == getattr(other, name) for name in _CONDITIONS)


def _holds_too(other: Rule, rule: Rule) -> bool:
    """Whether `other`, whose words are there, holds whenever `rule` does."""
    if other.id == rule.id or other.strength not in (Strength.TOKEN, Strength.TEXT):
        return False
    if other.unless and other.unless != rule.unless:
        return False
    for name in _CONDITIONS:
        wanted, given = getattr(other, name), getattr(rule, name)
        # An empty `road` is a condition, too: refusals only.
        if wanted != given and (wanted or name == "road"):
            return False
    return True


def _always_beats(other: Rule, rule: Rule, codes: Mapping[int, BounceCode]) -> bool:
    """Whether `other` wins over `rule` whenever both hold, whatever their words' length."""
    for first, second in zip(_codes(other), _codes(rule), strict=True):
        if first == second or rank_of(other, first, codes) > rank_of(rule, second, codes):
            return False
        if why_it_wins((other, first), (rule, second), codes) is WinReason.LONGER:
            return False
        if (
            rank_of(other, first, codes) == rank_of(rule, second, codes)
            and second not in codes[first].yields_to
            and first not in codes[second].yields_to
            and codes[first].generality > codes[second].generality
        ):
            return False
        if second in codes[first].yields_to and rank_of(other, first, codes) == rank_of(rule, second, codes):
            return False
    return True


def _says_the_same(other: Rule, rule: Rule, codes: Mapping[int, BounceCode]) -> bool:
    """Whether the other rule gives the same code and action, and is at least as strong."""
    same = _codes(other) == _codes(rule) and (other.action, other.temporary_action) == (
        rule.action,
        rule.temporary_action,
    )
    return same and rank_of(other, other.bounce_code, codes) <= rank_of(rule, rule.bounce_code, codes)
