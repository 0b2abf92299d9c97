"""Wire formats without I/O: bytes in, values out. So far the lines of a Postfix mail log."""

from omicard_relay.wire.lines import LINE_LIMIT, Line, LineSplitter
from omicard_relay.wire.logevents import (
    BounceNotice,
    Client,
    Delivery,
    Expired,
    LogEvent,
    MessageId,
    NoticeKind,
    Pickup,
    QueueActive,
    Rejected,
    Removed,
)
from omicard_relay.wire.loglines import parse_line

__all__ = [
    "LINE_LIMIT",
    "BounceNotice",
    "Client",
    "Delivery",
    "Expired",
    "Line",
    "LineSplitter",
    "LogEvent",
    "MessageId",
    "NoticeKind",
    "Pickup",
    "QueueActive",
    "Rejected",
    "Removed",
    "parse_line",
]
