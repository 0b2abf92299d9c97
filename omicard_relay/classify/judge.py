"""`Judge`: Evidence -> Verdict. One judge for a log line, a DSN, a complaint, an auto-reply and a text that a person pastes.

The innermost remote words decide; only where they state no cause, the wrapper around them, the outer replies and at
last the DSN's Status field (RFC 3464 §2.3.4) may speak. Every verdict names its rule and words.
Not here: peeling (mail/reading.py), the order among rules (classify/weigh.py), a mailbox to which the recipient forwards
(classify/forward.py), what to do about it (steering/decide.py).
"""

import re
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import msgspec

from omicard_relay.classify.conditions import REFUSALS, has_conditions, holds
from omicard_relay.classify.forward import forwarded
from omicard_relay.classify.matcher import Matcher
from omicard_relay.classify.weigh import Proposal, Standing, standing_of, winner
from omicard_relay.classify.wording import Wording, masked, wording_of
from omicard_relay.mail import Evidence, Reply, Road, Stage, Verdict, domain_of, one_line, read_reply
from omicard_relay.tables.codes import FIRST_CODE, LAST_CODE
from omicard_relay.tables.policies import Policies
from omicard_relay.tables.rules import Rule, Strength

__all__ = ["NO_CAUSE", "OWN_ANSWER", "Judge"]

#: The rule ids of the two verdicts that no rule of the tables gives.
NO_CAUSE = "no-cause"
OWN_ANSWER = "own-answer"
#: RFC 3464 §2.3.3: these say that nothing failed; Postfix answers a verification probe with "deliverable".
_NO_FAILURE = frozenset({"delivered", "relayed", "expanded", "deliverable"})
# What our status filter and our transport map write before a text: `[938] resting until 21:40`.
_OWN_ANSWER = re.compile(r"\s*\[(9[0-3]\d)\]")
_UNKNOWN = 900
_WORDS_LIMIT = 200
#: Replies that are remembered, and how long one may be: together below some 10 MB.
_REMEMBERED, _REMEMBERED_SIZE = 16_384, 1000
_K = TypeVar("_K")
_T = TypeVar("_T")
#: The wordings of texts that were seen literally before; each is some three times its text.
_WORDINGS = 4_096
_NEVER: tuple[Verdict, bool] = (Verdict(bounce_code=900, rule_id="", confidence=0), False)
#: Below every rank.
_WEAKEST = 1_000
#: The size of a proposal by the three digits alone; no enhanced status code is as short.
_CODE_SIZE = -3
#: The end of the road: they say that trying ended, and yield to whatever an inner text states.
_ENDINGS = frozenset({928, 931})
#: Longer texts are read up to here, as mail/reading.py does.
_TEXT_LIMIT = 20_000


class _Known(NamedTuple):
    """What a rule proposes, and what for a 4xx reply; the rule itself where it has conditions."""

    permanent: Standing
    temporary: Standing
    conditions: Rule | None
    is_in_force: bool


class Judge:
    """Judges by one set of policies. The first judge of a set of rules in a process compiles it, which takes seconds for
    thousands of rules (index.know_tables spares that); a few rules more or less do not.
    """

    def __init__(self, policies: Policies) -> None:
        self.policies = policies
        #: Mail logs say the same few thousand things; with addresses and ids masked, most have been said before.
        self._told: dict[tuple[object, ...], tuple[Verdict, int | None]] = {}
        self._read_before: dict[tuple[object, ...], tuple[Verdict, bool] | None] = {}
        self._wordings: dict[str, Wording] = {}
        self._rules: list[_Known] = []
        self._statuses: dict[str, list[int]] = {}
        self._replies: dict[int, list[int]] = {}
        self._wordless: dict[Road, list[int]] = {}
        self._matchers: list[tuple[int, Matcher]] = []
        shipped = {rule.id: rule for rule in policies.shipped}
        own = tuple(rule for rule in policies.rules if shipped.get(rule.id) != rule)
        in_force = {rule.id for rule in policies.rules} - {rule.id for rule in own}
        for block, is_own in ((policies.shipped, False), (own, bool(shipped))):
            if block:
                first = len(self._rules)
                for rule in block:
                    self._learn(rule, is_own=is_own, is_in_force=is_own or not shipped or rule.id in in_force)
                ranks = [min(known.permanent.rank, known.temporary.rank) for known in self._rules[first:]]
                self._matchers.append((first, Matcher(block, ranks)))

    def _learn(self, rule: Rule, *, is_own: bool, is_in_force: bool) -> None:
        index = len(self._rules)
        permanent = standing_of(rule, rule.bounce_code, self.policies.codes, is_own=is_own)
        temporary = permanent
        if rule.temporary_code is not None:
            temporary = standing_of(rule, rule.temporary_code, self.policies.codes, is_own=is_own)
        self._rules.append(_Known(permanent, temporary, rule if has_conditions(rule) else None, is_in_force))
        if not is_in_force:
            return
        if not rule.has_words:
            for road in rule.road or REFUSALS:
                self._wordless.setdefault(road, []).append(index)
        elif rule.strength is Strength.ENHANCED:
            for phrase in rule.phrases:
                for digit in "245" if phrase.startswith("x") else phrase[0]:
                    self._statuses.setdefault(digit + phrase[1:], []).append(index)
        elif rule.strength is Strength.REPLY:
            for phrase in rule.phrases:
                self._replies.setdefault(int(phrase), []).append(index)

    def judge(self, evidence: Evidence) -> Verdict | None:
        """The cause of one failure; None when the evidence states that nothing failed."""
        return forwarded(evidence, self._cause(evidence), self.policies.codes)

    def _cause(self, evidence: Evidence) -> Verdict | None:
        """What the words say, of whomever they speak."""
        road = evidence.road
        if evidence.dsn_action is not None and evidence.dsn_action.lower() in _NO_FAILURE:
            return None
        if road is Road.ARF and (evidence.feedback_type or "").lower() == "not-spam":
            return None
        if road in (Road.DSN, Road.LOG) and evidence.reply is not None and evidence.reply.reply_class == 2:
            return None
        fallback: Verdict | None = None
        for depth, reply in enumerate(_layers(evidence)):
            read = self._read(reply, evidence, depth)
            if read is None:
                continue
            verdict, is_silent = read
            if fallback is None:
                if not is_silent:
                    return verdict
                fallback = verdict
            elif not is_silent and (verdict.bounce_code not in _ENDINGS or fallback.bounce_code == _UNKNOWN):
                return verdict
            elif fallback.bounce_code == _UNKNOWN:
                fallback = verdict
        return _own_answer(evidence, fallback) or fallback or _no_cause(evidence)

    def judge_text(
        self, text: str, stage: Stage | None = None, host: str | None = None, recipient: str | None = None
    ) -> Verdict:
        """The cause that a pasted text states; 900 when it states none."""
        return self.judge_said(text, stage, host, recipient)[0]

    def judge_said(
        self, text: str, stage: Stage | None = None, host: str | None = None, recipient: str | None = None
    ) -> tuple[Verdict, int | None]:
        """The same, with the reply's class (2, 4, 5 or None), which informs the action."""
        key = (masked(text[:_TEXT_LIMIT]), stage and stage._value_, host, domain_of(recipient) if recipient else None)
        said = self._told.get(key)
        if said is None:
            # Of the text with which it is remembered, so that no verdict depends on what was asked before.
            reply = read_reply(key[0], stage=stage, host=host)
            evidence = Evidence(road=Road.MANUAL, recipient=recipient or "", replies=(reply,))
            said = self.judge(evidence) or _no_cause(evidence), reply.reply_class
            _remember(self._told, key, said, len(key[0]) + len(host or "") + len(key[3] or ""))
        return said

    def _read(self, reply: Reply, evidence: Evidence, depth: int) -> tuple[Verdict, bool] | None:
        """What one layer says alone, and whether that is no cause; the same words are read once."""
        wording = self._wordings.get(reply.innermost)
        if wording is None:
            wording = wording_of(reply.innermost)
            _remember(self._wordings, reply.innermost, wording, len(reply.innermost), _WORDINGS)
        key = (
            wording.shown,
            depth > 0,
            reply.reply_code,
            reply.enhanced_status,
            reply.stage._value_,
            evidence.road._value_,
            reply.host,
            evidence.remote_mta,
            domain_of(evidence.recipient) if evidence.recipient else "",
            domain_of(evidence.original_recipient) if evidence.original_recipient else "",
            evidence.dsn_action,
            evidence.feedback_type,
            bool(evidence.new_address),
        )
        # Another thread may empty the memory at any moment: one look, not two.
        known = self._read_before.get(key, _NEVER)
        if known is not _NEVER:
            return known
        result = self._read_anew(reply, evidence, wording, depth)
        names = (reply.enhanced_status, *key[6:12])
        _remember(self._read_before, key, result, len(wording.shown) + sum([len(name) for name in names if name]))
        return result

    def _read_anew(self, reply: Reply, evidence: Evidence, wording: Wording, depth: int) -> tuple[Verdict, bool] | None:
        proposals = self._proposals(reply, evidence, wording.octets)
        if not proposals:
            return None
        proposals.sort()
        chosen, confidence, others = winner(proposals)
        standing = chosen[5]
        words = _words(chosen, reply, wording)
        verdict = Verdict(
            bounce_code=standing.bounce_code,
            rule_id=standing.rule_id,
            confidence=round(confidence * 0.8, 3) if depth else confidence,
            words=f"outer text: {words}" if depth else words,
            runners_up=others,
        )
        return verdict, standing.is_silent

    def _proposals(self, reply: Reply, evidence: Evidence, octets: bytes) -> list[Proposal]:
        """What the rules say, the strongest for certain; a weaker one is only asked where that costs next to nothing."""
        proposals = self._by_codes(reply, evidence, octets)
        best = min([proposal[0] for proposal in proposals], default=_WEAKEST)
        for first, matcher in self._matchers:
            best = self._by_words(reply, evidence, octets, proposals, best, first, matcher)
        return proposals

    def _by_words(
        self,
        reply: Reply,
        evidence: Evidence,
        octets: bytes,
        proposals: list[Proposal],
        best: int,
        first: int,
        matcher: Matcher,
    ) -> int:
        """Add what one matcher's rules say, those not weaker than `best` for certain; gives the best rank there is now."""
        is_temporary = reply.reply_class == 4
        rules = self._rules
        hits = matcher.hits(octets)
        found = matcher.plain(octets, hits)
        for index in sorted(found, key=matcher.ranks.__getitem__) if len(found) > 1 else found:
            known = rules[first + index]
            standing = known.temporary if is_temporary else known.permanent
            rank = standing.rank
            if not _is_open(known, reply, evidence):
                continue
            if index in matcher.unless and (rank > best or matcher.excepted(index, octets)):
                continue
            start, end = found[index]
            proposals.append((rank, standing.generality, start - end, start, standing.rule_id, standing, end))
            best = min(best, rank)
        for question in matcher.promised(hits, best):
            rank, _, index, _, _ = question
            if rank > best:
                break
            known = rules[first + index]
            if index in found or not _is_open(known, reply, evidence):
                continue
            span = matcher.answer(octets, question)
            if span is None:
                continue
            found[index] = start, end = span
            if matcher.excepted(index, octets):
                continue
            standing = known.temporary if is_temporary else known.permanent
            best = min(best, standing.rank)
            proposals.append((standing.rank, standing.generality, start - end, start, standing.rule_id, standing, end))
        return best

    def _by_codes(self, reply: Reply, evidence: Evidence, octets: bytes) -> list[Proposal]:
        """What the rules for codes say, and those that hold on their conditions alone."""
        coded: list[tuple[int, int]] = []
        status, code = reply.enhanced_status, reply.reply_code
        if status is not None:
            coded += [(index, -len(status)) for index in self._statuses.get(status, ())]
        if code is not None:
            coded += [(index, _CODE_SIZE) for index in self._replies.get(code, ())]
        for road, indexes in self._wordless.items():
            if road is evidence.road:
                coded += [(index, 0) for index in indexes]
        proposals: list[Proposal] = []
        for index, size in coded:
            known = self._rules[index]
            if not _is_open(known, reply, evidence) or self._is_excepted(index, octets):
                continue
            standing = known.temporary if reply.reply_class == 4 else known.permanent
            proposals.append((standing.rank, standing.generality, size, 0, standing.rule_id, standing, 0))
        return proposals

    def _is_excepted(self, index: int, octets: bytes) -> bool:
        first, matcher = next(pair for pair in reversed(self._matchers) if pair[0] <= index)
        return matcher.excepted(index - first, octets)


def _is_open(known: _Known, reply: Reply, evidence: Evidence) -> bool:
    """Whether the rule is in force, and its conditions hold."""
    if not known.is_in_force:
        return False
    if known.conditions is None:
        return evidence.road in REFUSALS
    return holds(known.conditions, reply, evidence)


def _remember(memory: dict[_K, _T], key: _K, value: _T, size: int, most: int = 0) -> None:
    """Keep the result for a short text and short names; a full memory begins anew, which costs less than keeping its order."""
    if size <= _REMEMBERED_SIZE:
        if len(memory) >= (most or _REMEMBERED):
            memory.clear()
        memory[key] = value


def _words(chosen: Proposal, reply: Reply, wording: Wording) -> str:
    """The words that decided, as they stand in the text; where the rule reads codes, the code."""
    _, _, size, place, _, _, end = chosen
    if end:
        return one_line(wording.cut(place, end), _WORDS_LIMIT)
    named = {0: "", _CODE_SIZE: reply.reply_code}
    return str(named.get(size, reply.enhanced_status))


def _own_answer(evidence: Evidence, fallback: Verdict | None) -> Verdict | None:
    """Our own `[938] resting until …`, with no remote words behind it that say more."""
    if fallback is not None and fallback.bounce_code != _UNKNOWN:
        return None
    for reply in reversed(evidence.replies):
        own = _OWN_ANSWER.match(reply.text)
        if own and FIRST_CODE <= int(own.group(1)) <= LAST_CODE:
            return Verdict(bounce_code=int(own.group(1)), rule_id=OWN_ANSWER, confidence=0.9, words=own.group().strip())
    return None


def _layers(evidence: Evidence) -> Iterator[Reply]:
    """From the innermost words outwards: what may speak, in this order."""
    for reply in reversed(evidence.replies):
        yield reply
        whole = " ".join(reply.text[:_TEXT_LIMIT].split())
        if whole != reply.innermost:
            yield msgspec.structs.replace(reply, innermost=whole)
    if evidence.status and all(reply.enhanced_status != evidence.status for reply in evidence.replies):
        yield Reply(text="", innermost="", enhanced_status=_status(evidence.status))
    elif not evidence.replies:
        yield Reply(text="", innermost="")


def _status(field: str) -> str | None:
    found = re.match(r"\s*([245]\.\d{1,3}\.\d{1,3})(?!\d)", field)
    return found.group(1) if found else None


def _no_cause(evidence: Evidence) -> Verdict:
    reply = evidence.reply
    return Verdict(
        bounce_code=_UNKNOWN,
        rule_id=NO_CAUSE,
        confidence=0.2 if reply and reply.innermost else 0.1,
        # Masked, for other replies that differ in their addresses alone are given the same verdict.
        words=one_line(wording_of(reply.innermost).shown, _WORDS_LIMIT) if reply else "",
    )
