"""`decide`: a verdict -> the action, with its reasons in words.

The cause chooses the action by the table of codes; a rule may state its own. The reply's digit does not: a full
mailbox is a return whether the server said 452 or 552, unless a rule says otherwise for its words.
Not here: when to try again and from which address.
"""

from omicard_relay.mail import Decision, Reply, Verdict
from omicard_relay.tables.policies import Policies

__all__ = ["decide"]


def decide(verdict: Verdict, *, reply: Reply | None, policies: Policies) -> Decision:
    """What to do about a verdict. Raises KeyError for a code that the tables do not have."""
    code = policies.codes[verdict.bounce_code]
    rule = policies.rules_by_id.get(verdict.rule_id)
    cause = f"{code.number} {code.name}: {code.en}"
    temporary = reply is not None and reply.reply_class == 4
    wanted = rule.temporary_action if rule is not None and temporary and rule.temporary_action else None
    wanted = wanted or (rule.action if rule is not None else None)
    if wanted is not None:
        action, why = wanted, f"rule {verdict.rule_id} asks for {wanted}"
    else:
        action, why = code.action, f"{code.number} is answered with {code.action}"
    reasons = [why, cause]
    if reply is not None and reply.reply_code is not None:
        reasons.append(f"the server said {reply.reply_code} at stage {reply.stage}")
    return Decision(action=action, reasons=tuple(reasons))
