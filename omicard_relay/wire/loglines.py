"""One line of a Postfix mail log -> one event, or None. Sans-IO: the caller gives the bytes, the clock and the time zone.

Read are delivery lines (logdelivery.py), refusals of our own Postfix (logreject.py), and what joins and closes a mail: smtpd's
`client=`, pickup, `message-id=`, `(queue active)`, `status=expired`, `removed` and bounce(8)'s notices.
A line whose end was not seen (`whole=False`) is read only where its own end is unmistakable (delivery, queue active,
expired, removed): `client=mx[192.0.2.1]` may be about to go on with `, orig_queue_id=`.
Any bytes are taken, in linear time, and nothing is ever raised. Text is decoded as loghead.py says.
Not here: whether a hop is the last one (a delivery to our own relay is a delivery like any other), and joining queue ids.
"""

import re
from datetime import UTC, datetime, tzinfo

from omicard_relay.wire.logdelivery import read_delivery
from omicard_relay.wire.logevents import (
    BounceNotice,
    Client,
    Expired,
    LogEvent,
    MessageId,
    NoticeKind,
    Pickup,
    QueueActive,
    Removed,
)
from omicard_relay.wire.loghead import Head, read_head
from omicard_relay.wire.logreject import read_reject

__all__ = ["parse_line"]

# The queue manager's own words stand behind the sender, so the last `>` that they fit to is the true one.
_ACTIVE = re.compile(r">, size=([0-9]{1,18}), nrcpt=([0-9]{1,18}) \(queue active\)")
_EXPIRED = re.compile(r">, status=(force-)?expired, returned to sender")
_PICKUP = re.compile(r"uid=([0-9]{1,10}) from=<(.*)>", re.DOTALL)
_CLIENT = re.compile(
    r"client=([^\s\[\],]*)\[([^\s\[\],]+)\](?::[0-9]{1,5})?(?P<login>, sasl_.*?)?"
    r"(?:, orig_queue_id=(?P<id>[0-9A-Za-z]{1,40}))?(?:, orig_client=(?P<client>[^\s,]+))?",
    re.DOTALL,
)
_USERNAME = re.compile(r", sasl_username=(.*?)(?:, sasl_sender=|$)", re.DOTALL)
_NOTICE = re.compile(r"(sender|postmaster) (non-delivery|delay|delivery status) notification: ([0-9A-Za-z]{5,40})")
_KINDS = {"non-delivery": NoticeKind.NON_DELIVERY, "delay": NoticeKind.DELAY, "delivery status": NoticeKind.SUCCESS}
_QUEUE_MANAGERS = frozenset(("qmgr", "nqmgr", "oqmgr"))


def parse_line(line: bytes, *, now: datetime, tz: tzinfo = UTC, whole: bool = True) -> LogEvent | None:
    """The event that a line tells of; None for a line that is not ours, tells nothing we read, or was cut.

    `now` (aware) gives the year to stamps that have none: a date more than a day ahead belongs to the year before.
    `tz` is the zone of stamps without an offset. `line` may come with its line end or without; `whole` says that the end was
    seen, and is False for what a stream has given of a line so far.
    """
    head = read_head(line, now=now, tz=tz, whole=whole)
    if head is None:
        return None
    if head.body.startswith("to=<") and head.queue_id:
        return read_delivery(head)
    if "reject: " in head.body[:16]:
        return read_reject(head)
    if not head.queue_id:
        return None
    if head.program in _QUEUE_MANAGERS:
        return _queue_manager(head)
    return _by_program(head) if head.whole else None


def _queue_manager(head: Head) -> LogEvent | None:
    """`removed`, `from=<S>, size=…, nrcpt=… (queue active)`, `from=<S>, status=expired, returned to sender`."""
    body = head.body
    if body == "removed":
        return Removed(time=head.time, queue_id=head.queue_id, instance=head.instance)
    if not body.startswith("from=<"):
        return None
    end = max(body.rfind(">, size="), body.rfind(">, status="))
    sender = body[len("from=<") : end]
    active = _ACTIVE.fullmatch(body, max(end, 0))
    if active:
        return QueueActive(
            time=head.time,
            queue_id=head.queue_id,
            sender=sender,
            size=int(active[1]),
            nrcpt=int(active[2]),
            instance=head.instance,
        )
    expired = _EXPIRED.fullmatch(body, max(end, 0))
    if expired:
        return Expired(
            time=head.time, queue_id=head.queue_id, sender=sender, forced=bool(expired[1]), instance=head.instance
        )
    return None


def _by_program(head: Head) -> LogEvent | None:
    """What smtpd, pickup, cleanup and bounce tell of a mail; only for a whole line."""
    if head.program == "smtpd" and head.body.startswith("client="):
        return _client(head)
    if head.program == "cleanup":
        return _message_id(head)
    if head.program == "pickup" and (pickup := _PICKUP.fullmatch(head.body)):
        return Pickup(
            time=head.time, queue_id=head.queue_id, sender=pickup[2], uid=int(pickup[1]), instance=head.instance
        )
    if head.program == "bounce" and (notice := _NOTICE.fullmatch(head.body)):
        return BounceNotice(
            time=head.time,
            queue_id=head.queue_id,
            notice_queue_id=notice[3],
            kind=_KINDS[notice[2]],
            to_postmaster=notice[1] == "postmaster",
            instance=head.instance,
        )
    return None


def _client(head: Head) -> Client | None:
    client = _CLIENT.fullmatch(head.body)
    if client is None:
        return None
    login = client["login"] or ""
    # sasl_sender is MAIL's AUTH=, which the client chooses: behind it a field may be its invention.
    trusted = ", sasl_sender=" not in login
    username = _USERNAME.search(login)
    return Client(
        time=head.time,
        queue_id=head.queue_id,
        client_host=client[1],
        client_ip=client[2],
        orig_queue_id=client["id"] if trusted else None,
        orig_client=client["client"] if trusted else None,
        sasl_username=username[1] if username else None,
        instance=head.instance,
    )


def _message_id(head: Head) -> MessageId | None:
    name, equals, value = head.body.partition("=")
    if not equals or name not in ("message-id", "resent-message-id"):
        return None
    return MessageId(
        time=head.time,
        queue_id=head.queue_id,
        message_id=value.strip(),
        resent=name == "resent-message-id",
        instance=head.instance,
    )
