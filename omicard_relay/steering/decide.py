"""`decide`: a verdict -> the action, with its reasons in words.

The cause chooses the action by the table of codes; a rule may state its own. The reply's digit does not: a full
mailbox is a return whether the server said 452 or 552, unless a rule says otherwise for its words.
Not here: when to try again and from which address.
"""

import re

from omicard_relay.mail import Action, Decision, Reply, Verdict
from omicard_relay.tables.policies import Policies

__all__ = ["action_of", "decide"]

_TEMPORARY = 4
#: What our status filter writes before a server's words; a rest and a return of the exceptions table begin alike.
_FILTERED = re.compile(r"\[9[0-3][0-9]\] (?!resting until |returned:)")


def action_of(verdict: Verdict, reply_class: int | None, policies: Policies) -> tuple[Action, str]:
    """The action for a verdict on a reply of this class (4: temporary), and why. Raises KeyError as `decide` does."""
    code = policies.codes[verdict.bounce_code]
    rule = policies.rules_by_id.get(verdict.rule_id)
    wanted = rule.temporary_action if rule is not None and reply_class == _TEMPORARY else None
    wanted = wanted or (rule.action if rule is not None else None)
    if wanted is not None:
        return wanted, f"rule {verdict.rule_id} asks for {wanted}"
    return code.action, f"{code.number} is answered with {code.action}"


def decide(verdict: Verdict, *, reply: Reply | None, policies: Policies) -> Decision:
    """What to do about a verdict. Raises KeyError for a code that the tables do not have."""
    code = policies.codes[verdict.bounce_code]
    action, why = action_of(verdict, reply.reply_class if reply is not None else None, policies)
    reasons = [why, f"{code.number} {code.name}: {code.en}"]
    if reply is not None and reply.reply_code is not None:
        reasons.append(f"the server said {reply.reply_code} at stage {reply.stage}")
    if reply is not None and reply.host and _FILTERED.match(reply.text):
        reasons.append("our status filter has changed the class by which Postfix acted")
    return Decision(action=action, reasons=tuple(reasons))
