"""Quiet hours: a time of the day, by the policy's own offset from UTC, in which nothing is retried."""

from omicard_relay.tables.retry import Model

__all__ = ["after_quiet"]

_DAY = 86_400.0


def after_quiet(at: float, model: Model) -> float:
    """The time itself, or the end of the quiet hours that it falls in."""
    if model.quiet_hours is None:
        return at
    begin, end = (int(text[:2]) * 3600 + int(text[3:]) * 60 for text in model.quiet_hours)
    here = (at + model.utc_offset_minutes * 60) % _DAY
    is_quiet = begin <= here < end if begin <= end else here >= begin or here < end
    return at + (end - here) % _DAY if is_quiet else at
