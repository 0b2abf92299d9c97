"""Steering's decisions in words: what is to be done, and why, with its figures.

A reason that this module has no words for (a newer program wrote it) is told by its key and figures.
"""

from datetime import datetime

from omicard_relay.cli.language import register, say
from omicard_relay.mail import Action, one_line
from omicard_relay.steering.values import Plan, Reason
from omicard_relay.store.steering import Decided

__all__ = ["REASONS", "decision_sentence", "plan_row", "reason_sentence"]

#: The keys that steering gives (steering/plans.py, roads.py), without `because-`.
REASONS = (
    "explores",
    "guessed-rest",
    "lane-rests",
    "last-before-deadline",
    "learned-rest",
    "not-worth",
    "other-ip",
    "policy-attempts",
    "policy-deadline",
    "policy-rest",
    "same-ip",
    "surge",
    "verdict-final",
)

register(
    {
        "decided-retry": (
            "{code} {name}; try again in {rest} from {ip}",
            "{code} {name}；{rest}後從{ip}重送",
        ),
        "decided-return": ("{code} {name}; return it", "{code} {name}；退信"),
        "decided-because": ("{head}: {reasons}", "{head}：{reasons}"),
        "decided-any-ip": ("any IP", "任一 IP "),
        "decided-ip": ("{ip}", " {ip} "),
        "decided-seconds": ("{number} s", " {number} 秒"),
        "decided-minutes": ("{number} min", " {number} 分鐘"),
        "decided-hours": ("{number} h", " {number} 小時"),
        "decided-chance": (
            "expected to deliver: {chance:.0%}, then {left} more attempts at most",
            "預期送達率 {chance:.0%}，之後最多再試 {left} 次",
        ),
        "because-learned-rest": (
            "{passes} of {trials} such failures at {provider} passed after a rest like this",
            "{provider} 的同類失敗經過這樣的休息後，{trials} 次中有 {passes} 次成功",
        ),
        "because-guessed-rest": (
            "nothing is known of such a rest at {provider} yet; this is the policy's guess",
            "{provider} 尚無這種休息時間的紀錄，採用政策的預估",
        ),
        "because-last-before-deadline": (
            "a last attempt just before the deadline costs nothing",
            "期限前最後再試一次",
        ),
        "because-explores": ("tried to learn whether it passes", "為了學習而嘗試"),
        "because-policy-rest": ("the policy's own rest", "採用政策所定的休息時間"),
        "because-policy-attempts": (
            "the policy allows no more than the {attempts} attempts that were made",
            "已嘗試 {attempts} 次，達政策上限",
        ),
        "because-policy-deadline": (
            "another attempt would come behind the deadline of {hours} h",
            "再次嘗試將超過 {hours} 小時的期限",
        ),
        "because-verdict-final": ("the cause is final", "原因已確定，無法送達"),
        "because-not-worth": (
            "after {trials} trials at {provider} another attempt is worth less than it costs",
            "依 {provider} 的 {trials} 次紀錄，再試不划算",
        ),
        "because-surge": (
            "{provider} suddenly refuses so much for good that its directory may be out",
            "{provider} 突然大量永久拒收，可能是對方系統故障",
        ),
        "because-same-ip": ("this cause wants the same IP again", "此原因須從同一 IP 重送"),
        "because-other-ip": ("the cause is the IP, and another one is open", "原因在於 IP，另有可用的 IP"),
        "because-lane-rests": ("all IPs rest at {provider}", "所有 IP 對 {provider} 均在休息中"),
        "mode-observe": ("observed only, nothing was done", "僅觀察，未執行"),
        "mode-act": ("carried out", "已執行"),
    }
)


def decision_sentence(one: Decided, *, failed: datetime, code: int | None, name: str) -> str:
    """The decision on a failure of that time and code (`name` is the code's) in one line, ready to print."""
    plan = one.plan
    fields = {"code": code or "-", "name": one_line(name, 60)}
    if plan.action is Action.RETRY:
        ip = say("decided-ip", ip=one_line(plan.ip, 32)) if plan.ip else say("decided-any-ip")
        head = say("decided-retry", rest=_rest(plan.at - failed.timestamp()), ip=ip, **fields)
    else:
        head = say("decided-return", **fields)
    parts = [reason_sentence(reason, one.provider) for reason in plan.reasons]
    if plan.action is Action.RETRY and plan.chance:
        parts.append(say("decided-chance", chance=plan.chance, left=plan.attempts_left))
    if plan.explores and not any(reason.key == "explores" for reason in plan.reasons):
        parts.append(say("because-explores"))
    return say("decided-because", head=head, reasons="; ".join(parts)) if parts else head


def reason_sentence(reason: Reason, provider: str) -> str:
    """One reason in words."""
    figures = {name: one_line(str(figure), 60) for name, figure in reason.figures.items()}
    if reason.key in REASONS:
        try:
            return say(f"because-{reason.key}", **{**figures, "provider": one_line(provider, 80)})
        except KeyError:
            pass  # a figure that the sentence speaks of is not there
    told = ", ".join(f"{one_line(name, 40)} {figure}" for name, figure in figures.items())
    return f"{one_line(reason.key, 60)} ({told})" if told else one_line(reason.key, 60)


def plan_row(plan: Plan) -> dict[str, object]:
    """A plan for programs."""
    return {
        "action": plan.action,
        "at": plan.at or None,
        "ip": plan.ip or None,
        "chance": plan.chance,
        "attempts_left": plan.attempts_left,
        "explores": plan.explores,
        "reasons": [{"key": reason.key, "figures": reason.figures} for reason in plan.reasons],
    }


def _rest(seconds: float) -> str:
    """A rest in the unit that people would use."""
    if seconds < 90:
        return say("decided-seconds", number=max(0, round(seconds)))
    if seconds < 5400:
        return say("decided-minutes", number=round(seconds / 60))
    return say("decided-hours", number=round(seconds / 3600, 1))
