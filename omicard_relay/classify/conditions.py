"""Whether a rule's conditions hold for one reply of one evidence: stage, class, host, road, report type.

A rule without `road` speaks of refusals only: an auto-reply or a complaint is free prose, in which "blocked" or
"full" says nothing about delivery.
Not here: the words (classify/matcher.py).
"""

from omicard_relay.mail import Evidence, Reply, Road, domain_of
from omicard_relay.tables.rules import Rule

__all__ = ["REFUSALS", "has_conditions", "holds"]

#: The roads of a rule that names none.
REFUSALS = (Road.LOG, Road.DSN, Road.MANUAL)


def has_conditions(rule: Rule) -> bool:
    """Whether anything but words and a road of REFUSALS is asked for."""
    return bool(
        rule.road
        or rule.stage
        or rule.reply_class is not None
        or rule.feedback_type
        or rule.dsn_action
        or rule.new_address
        or rule.host
    )


def holds(rule: Rule, reply: Reply, evidence: Evidence) -> bool:
    """Whether every condition of the rule holds; an empty condition always does."""
    if rule.road:
        if evidence.road not in rule.road:
            return False
    elif evidence.road not in REFUSALS:
        return False
    if rule.stage and reply.stage not in rule.stage:
        return False
    if rule.reply_class is not None and reply.reply_class != rule.reply_class:
        return False
    if rule.feedback_type and (evidence.feedback_type or "").lower() not in rule.feedback_type:
        return False
    if rule.dsn_action and (evidence.dsn_action or "").lower() not in rule.dsn_action:
        return False
    if rule.new_address and not evidence.new_address:
        return False
    return not rule.host or _is_host(rule.host, reply, evidence)


def _is_host(suffixes: tuple[str, ...], reply: Reply, evidence: Evidence) -> bool:
    """Whether the remote host, or the domain of the recipient whom it serves, ends with one of the suffixes."""
    names = (reply.host, evidence.remote_mta, domain_of(evidence.recipient), domain_of(evidence.original_recipient))
    for name in names:
        dotted = f".{name.lower().rstrip('.')}" if name else ""
        if dotted and any(dotted.endswith(f".{suffix.strip('.')}") for suffix in suffixes):
            return True
    return False
