"""The SMTP status filter: what smtp(8) is about to log -> the same, or another class where the cause asks for it.

Postfix asks with `D.S.N text` before it writes a delivery's fate (smtp_delivery_status_filter, postconf(5)). A 5xx whose cause
is one to retry becomes 4.x.x, a 4xx whose cause is final becomes 5.x.x; the answer carries the whole text behind the code,
`5.1.1 [902] host mx said: …`, for it stands in the log and in the report instead. Everything else is `NOTFOUND`, as it was.
Texts that differ in addresses and ids alone are judged once, as the judge itself does (classify/wording.py).
Not here: the socket and the deadline (services/statusfilterd.py), the model of steering (`decide` brings it in).
Known limits: Postfix tells neither recipient nor queue id, so that a rule for one recipient's domain does not hold here.
"""

import logging
import re
from collections.abc import Callable
from enum import StrEnum

import msgspec

from omicard_relay.classify.wording import masked
from omicard_relay.mail import Action, Evidence, Reply, Road, Trust, Verdict, WireError, read_reply
from omicard_relay.mail.statuses import status_for
from omicard_relay.services.rulebook import Rulebook, RuleSet
from omicard_relay.steering.decide import action_of
from omicard_relay.wire.socketmap import NOT_FOUND, Status, answer

__all__ = ["MAP_NAME", "Decide", "FilterCounts", "FilterMode", "StatusFilter", "is_ours"]

log = logging.getLogger(__name__)

#: The map's name in main.cf.
MAP_NAME = b"statusfilter"
_KEY = re.compile(rb"([45])\.(\d{1,3})\.(\d{1,3}) (.+)", re.DOTALL)
#: Our own words before a text: of this filter, or of the exceptions table.
_OURS = re.compile(r"\[9[0-3][0-9]\] ")
#: A server that says so in so many words means its 4xx; what it comes to, the plan decides after the attempt.
_LATER = re.compile(r"\b(?:try(?:ing)? again|retry|later|temporar|at this time|at the moment)", re.IGNORECASE)
#: Texts that are remembered, and how long one may be: together below some 10 MB.
_REMEMBERED, _LONGEST = 8_192, 1_000

#: (provider, verdict, class of the reply, its action, text) -> RETURN or RETRY.
Decide = Callable[[str, Verdict, int, Action, str], Action]


class FilterMode(StrEnum):
    """How far it may go: not at all, count what it would say, say it."""

    OFF = "off"
    OBSERVE = "observe"
    ACT = "act"


_ORDER = (FilterMode.OFF, FilterMode.OBSERVE, FilterMode.ACT)


class FilterCounts(msgspec.Struct, kw_only=True):
    """Look-ups since the start: all; changed 5 to 4 and 4 to 5; the same where it only observes; left as they were; too late
    for a judgement; failed by a fault of ours."""

    asked: int = 0
    softened: int = 0
    hardened: int = 0
    observed_softened: int = 0
    observed_hardened: int = 0
    left: int = 0
    late: int = 0
    failed: int = 0


class _Judged(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of a text: nothing that steering may change."""

    verdict: Verdict
    reply_class: int | None
    action: Action
    provider: str
    #: Whether a 4xx may become final at the first word: only for what the address itself is to blame for.
    may_harden: bool


class StatusFilter:
    """Answers look-ups by the rules in force. One for a service; one thread at a time."""

    def __init__(
        self,
        rulebook: Rulebook,
        *,
        mode: FilterMode,
        deadline_seconds: float = 0.2,
        decide: Decide | None = None,
        provider_of: Callable[[str], str] | None = None,
        mode_of: Callable[[str, int], FilterMode] | None = None,
    ) -> None:
        """`decide`: None takes the cause's own action. `provider_of`: host name -> provider; None: the host itself.
        `mode_of`: (provider, bounce code) -> mode; the narrower one holds."""
        self.mode = mode
        self.deadline_seconds = deadline_seconds
        self.counts = FilterCounts()
        self._rulebook = rulebook
        self._decide = decide
        self._provider_of = provider_of
        self._mode_of = mode_of
        self._rules: RuleSet | None = None
        self._known: dict[str, _Judged | None] = {}

    def answer(self, key: bytes) -> bytes:
        """The answer to one key, as it goes over the wire. Never raises: our fault is Postfix's own way."""
        self.counts.asked += 1
        try:
            value = self._changed(key) if self.mode is not FilterMode.OFF else None
            if value is not None:
                return answer(Status.OK, value)
        except WireError:
            self.counts.failed += 1  # longer than Postfix reads
        except Exception:
            self.counts.failed += 1
            log.exception("event=statusfilter-bug")
        else:
            self.counts.left += 1
        return NOT_FOUND

    def answer_late(self) -> bytes:
        """The answer where there is no time left to judge."""
        self.counts.asked += 1
        self.counts.late += 1
        return NOT_FOUND

    def _changed(self, key: bytes) -> bytes | None:
        """The status and text to take instead; None: as it was, or it only observes."""
        found = _KEY.fullmatch(key)
        if found is None:
            return None  # a success, or nothing that Postfix asks
        text = found[4].decode("utf-8", "surrogateescape")
        if _OURS.match(text):
            return None
        judged = self._judged(text)
        if judged is None:
            return None
        is_final = found[1] == b"5"
        verdict, action = judged.verdict, judged.action
        if judged.reply_class is None or judged.reply_class != int(found[1]):
            # Nobody spoke: that a host does not answer now is no last word. Or Postfix has changed the class itself, as it
            # does at the greeting, after a log-in that failed, and with `soft_bounce`: it has its reasons.
            return None
        if self._decide is not None:
            action = self._decide(judged.provider, verdict, judged.reply_class, action, text)
        if not is_final and action is Action.RETURN and not judged.may_harden:
            return None
        if action is Action.ALERT or is_final is (action is Action.RETURN):
            return None
        if not self._may_act(judged):
            if is_final:
                self.counts.observed_softened += 1
            else:
                self.counts.observed_hardened += 1
            return None
        if is_final:
            self.counts.softened += 1
        else:
            self.counts.hardened += 1
        original = key[: found.start(4) - 1].decode("ascii")
        status = status_for(verdict.bounce_code, 4 if is_final else 5, original)
        return b"%s [%d] %s" % (status.encode(), verdict.bounce_code, found[4])

    def _judged(self, text: str) -> _Judged | None:
        """The judgement of a text by the rules in force now; None where it tells of no failure."""
        rules = self._rulebook.current
        if rules is not self._rules:
            self._known.clear()
            self._rules = rules
        shown = masked(text)
        try:
            return self._known[shown]
        except KeyError:
            pass
        # Of the text with which it is remembered, so that no answer depends on what was asked before.
        judged = self._judge(shown, rules)
        if len(shown) <= _LONGEST:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[shown] = judged
        return judged

    def _judge(self, text: str, rules: RuleSet) -> _Judged | None:
        reply = read_reply(text)
        verdict = rules.judge.judge(Evidence(road=Road.LOG, replies=(reply,), trust=Trust.PROVEN))
        if verdict is None:
            return None
        action, _ = action_of(verdict, reply.reply_class, rules.policies)
        is_address = rules.policies.codes[verdict.bounce_code].address
        may_harden = is_address and _LATER.search(reply.innermost) is None
        return _Judged(verdict, reply.reply_class, action, self._provider(reply), may_harden)

    def _provider(self, reply: Reply) -> str:
        host = (reply.host or "").lower().rstrip(".")
        return self._provider_of(host) if self._provider_of is not None and host else host

    def _may_act(self, judged: _Judged) -> bool:
        mode = self.mode
        if self._mode_of is not None:
            mode = min(mode, self._mode_of(judged.provider, judged.verdict.bounce_code), key=_ORDER.index)
        return mode is FilterMode.ACT


def is_ours(text: str) -> bool:
    """Whether a text of Postfix begins with our code: this filter, or the exceptions table, has written it."""
    return _OURS.match(text) is not None
