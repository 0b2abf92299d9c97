"""`Judge`: Evidence -> Verdict. One judge for a log line, a DSN, a complaint, an auto-reply and a text that a person pastes.

The innermost remote words decide; only where they state no cause, the wrapper around them, the outer replies and at
last the DSN's Status field (RFC 3464 §2.3.4) may speak. Every verdict names its rule and words.
Not here: peeling (mail/reading.py), the order among rules (classify/weigh.py), what to do about it (steering/decide.py).
"""

import re
from dataclasses import replace

from omicard_relay.classify.conditions import holds
from omicard_relay.classify.matcher import Matcher, matcher_for
from omicard_relay.classify.weigh import Proposal, runners_up, tier_of, winner
from omicard_relay.classify.wording import wording_of
from omicard_relay.mail import Evidence, Reply, Road, RunnerUp, Stage, Verdict, one_line, read_reply
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
#: The end of the road: they say that trying ended, and yield to whatever an inner text states.
_ENDINGS = frozenset({928, 931})


class Judge:
    """Judges by one set of policies. Compiling happens at the first judgement and is shared in the process."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._matcher: Matcher | None = None
        self._statuses: dict[str, list[int]] = {}
        self._replies: dict[str, list[int]] = {}
        self._wordless: list[int] = []
        for index, rule in enumerate(policies.rules):
            if not rule.has_words:
                self._wordless.append(index)
            elif rule.strength is Strength.ENHANCED:
                for phrase in rule.phrases:
                    for digit in "245" if phrase.startswith("x") else phrase[0]:
                        self._statuses.setdefault(digit + phrase[1:], []).append(index)
            elif rule.strength is Strength.REPLY:
                for phrase in rule.phrases:
                    self._replies.setdefault(phrase, []).append(index)

    def judge(self, evidence: Evidence) -> Verdict | None:
        """The cause of one failure; None when the evidence states that nothing failed."""
        if (evidence.dsn_action or "").lower() in _NO_FAILURE:
            return None
        if evidence.road is Road.ARF and (evidence.feedback_type or "").lower() == "not-spam":
            return None
        if evidence.road in (Road.DSN, Road.LOG) and evidence.reply is not None and evidence.reply.reply_class == 2:
            return None
        fallback: Verdict | None = None
        for depth, reply in enumerate(_layers(evidence)):
            verdict = self._read(reply, evidence, depth)
            if verdict is None:
                continue
            if fallback is None:
                if not self._is_silent(verdict):
                    return verdict
                fallback = verdict
            elif not self._is_silent(verdict) and (
                verdict.bounce_code not in _ENDINGS or fallback.bounce_code == _UNKNOWN
            ):
                return verdict
            elif fallback.bounce_code == _UNKNOWN:
                fallback = verdict
        return self._own_answer(evidence, fallback) or fallback or _no_cause(evidence)

    def judge_text(
        self, text: str, stage: Stage | None = None, host: str | None = None, recipient: str | None = None
    ) -> Verdict:
        """The cause that a pasted text states; 900 when it states none."""
        reply = read_reply(text, stage=stage, host=host)
        evidence = Evidence(road=Road.MANUAL, recipient=recipient or "", replies=(reply,))
        return self.judge(evidence) or _no_cause(evidence)

    def _read(self, reply: Reply, evidence: Evidence, depth: int) -> Verdict | None:
        """What one layer says alone."""
        proposals = self._proposals(reply, evidence)
        if not proposals:
            return None
        codes = self._policies.codes
        chosen, confidence = winner(proposals, codes)
        words = one_line(chosen.words, _WORDS_LIMIT)
        return Verdict(
            bounce_code=chosen.bounce_code,
            rule_id=chosen.rule.id,
            confidence=round(confidence * (0.8 if depth else 1), 3),
            words=f"outer text: {words}" if depth else words,
            runners_up=runners_up(proposals, chosen, codes),
        )

    def _proposals(self, reply: Reply, evidence: Evidence) -> list[Proposal]:
        if self._matcher is None:
            self._matcher = matcher_for(self._policies.rules)
        rules, matcher = self._policies.rules, self._matcher
        wording = wording_of(reply.innermost)
        proposals = []
        for index, (words, place) in matcher.found(wording).items():
            rule = rules[index]
            if holds(rule, reply, evidence):
                proposals.append(self._proposal(rule, reply, words, place))
        status, code = reply.enhanced_status, reply.reply_code
        coded = [(index, status) for index in self._statuses.get(status or "", ())]
        coded += [(index, str(code)) for index in self._replies.get(str(code), ())]
        coded += [(index, "") for index in self._wordless]
        for index, named in coded:
            rule = rules[index]
            if holds(rule, reply, evidence) and not matcher.excepted(rule, wording):
                proposals.append(self._proposal(rule, reply, named or "", 0))
        return proposals

    def _proposal(self, rule: Rule, reply: Reply, words: str, place: int) -> Proposal:
        code = rule.bounce_code
        if rule.temporary_code is not None and reply.reply_class == 4:
            code = rule.temporary_code
        return Proposal(
            rule=rule,
            bounce_code=code,
            tier=tier_of(rule, self._policies.codes[code].generality),
            words=words,
            place=place,
        )

    def _is_silent(self, verdict: Verdict) -> bool:
        """Whether a layer states no cause, so that the next one outwards may: 900, or a code that servers use for anything."""
        rule = self._policies.rules_by_id[verdict.rule_id]
        if verdict.bounce_code == _UNKNOWN or rule.strength is Strength.REPLY:
            return rule.strength is not Strength.TOKEN
        general = self._policies.codes[verdict.bounce_code].generality > 0
        return rule.strength is Strength.ENHANCED and (rule.weak or general)

    def _own_answer(self, evidence: Evidence, fallback: Verdict | None) -> Verdict | None:
        """Our own `[938] resting until …`, with no remote words behind it that say more."""
        if fallback is not None and fallback.bounce_code != _UNKNOWN:
            return None
        for reply in reversed(evidence.replies):
            own = _OWN_ANSWER.match(reply.text)
            if own and FIRST_CODE <= int(own.group(1)) <= LAST_CODE:
                return Verdict(
                    bounce_code=int(own.group(1)), rule_id=OWN_ANSWER, confidence=0.9, words=own.group().strip()
                )
        return None


def _layers(evidence: Evidence) -> list[Reply]:
    """From the innermost words outwards: what may speak, in this order."""
    layers: list[Reply] = []
    for reply in reversed(evidence.replies):
        layers.append(reply)
        whole = " ".join(reply.text[:20_000].split())
        if whole != reply.innermost:
            layers.append(replace(reply, innermost=whole))
    if evidence.status and all(reply.enhanced_status != evidence.status for reply in evidence.replies):
        layers.append(Reply(text="", innermost="", enhanced_status=_status(evidence.status)))
    return layers or [Reply(text="", innermost="")]


def _status(field: str) -> str | None:
    found = re.match(r"\s*([245]\.\d{1,3}\.\d{1,3})(?!\d)", field)
    return found.group(1) if found else None


def _no_cause(evidence: Evidence) -> Verdict:
    reply = evidence.reply
    return Verdict(
        bounce_code=_UNKNOWN,
        rule_id=NO_CAUSE,
        confidence=0.2 if reply and reply.innermost else 0.1,
        words=one_line(reply.innermost, _WORDS_LIMIT) if reply else "",
        runners_up=tuple[RunnerUp, ...](),
    )
