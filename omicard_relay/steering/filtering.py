"""The status filter's question: shall a reply, of which only the text is known, defer the mail or return it?

A deferral leaves the decision to the plan that follows in the log; a return is final. So a return needs a final verdict, and a
deferral stays one unless it was learned that this reply never passes here.
"""

from omicard_relay.mail import Action
from omicard_relay.steering.knowledge import Knowledge
from omicard_relay.steering.luck import draw
from omicard_relay.steering.state import EVERYONE
from omicard_relay.tables.retry import RetryPolicy, RetryRule

__all__ = ["filtered"]

#: So many trials, all but none of them passed, make a deferral a return.
_SURELY, _HARDLY = 40.0, 0.01


def filtered(
    policy: RetryPolicy,
    knowledge: Knowledge,
    rule: RetryRule,
    kind: int,
    provider: str,
    reply_class: int,
    action: Action,
    text: str,
    seed: int,
) -> Action:
    """RETURN or RETRY."""
    is_final = action is Action.RETURN and (reply_class == 5 or rule.temporary == "return")
    if not policy.model.model:
        return Action.RETURN if is_final else Action.RETRY
    own = knowledge.trials(provider, kind)
    weight = own.weight() if own is not None else 0.0
    table = knowledge.table(provider, rule, kind)
    if is_final:
        passes = own is not None and any(found[0] > 0 for found in own.shown.values())
        learned = passes or knowledge.guess(rule, provider, kind).choice(0, 0.0) is not None
        if learned and table.choice(0, 0.0) is not None:
            return Action.RETRY
        everyone = knowledge.trials(EVERYONE, kind)
        share = 0.5 * (policy.model.explore if rule.explore is None else rule.explore)
        share *= 30 / (30 + (everyone.weight() if everyone is not None else 0.0))
        return Action.RETRY if weight < 30 and draw(seed, text, 0, 20) < share else Action.RETURN
    best = max(max(pair) for tries in table.chances.mean for pair in tries)
    return Action.RETURN if rule.scope == "recipient" and weight >= _SURELY and best < _HARDLY else Action.RETRY
