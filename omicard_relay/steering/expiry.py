"""The cause of a mail that Postfix has given up: that of the last real attempt, else the time itself (931).

One rule for the follower and for `log parse`, so that both name the same cause.
"""

from omicard_relay.mail import Verdict

__all__ = ["expiry_verdict"]

#: "Unknown" and "delayed" state no cause (docs/bounce-codes.md).
_NO_CAUSE = frozenset({900, 928})
_EXPIRED, _EXPIRED_RULE = 931, "queue-lifetime"


def expiry_verdict(last: Verdict | None) -> Verdict:
    """The verdict on an expiry; `last` is that on the last real attempt, None when there was none."""
    if last is None or last.bounce_code in _NO_CAUSE:
        return Verdict(bounce_code=_EXPIRED, rule_id=_EXPIRED_RULE, confidence=1.0)
    return last
