"""What steering and Postfix call things in a transport table: names of transports, and the values of the table.

A transport is a source IP in a speed class: `ip1` for class 0, `ip1-s3` for class 3. A value is `ip1-s3:` (go out this way, to
where the mail would go anyway), `retry:4.3.2 [938] resting until …` (rest) or `error:5.7.1 [917] returned: …` (give it back);
the last two are carried out by Postfix error(8), whose words come into the log and into the report to the sender.
Not here: who gets which value (steering/), the table itself (services/exceptions_table.py), what main.cf and master.cf hold
(tables/snippets.py).
"""

import re
from datetime import UTC, datetime, timedelta

from omicard_relay.mail import one_line
from omicard_relay.mail.statuses import status_for

__all__ = [
    "IP_NAME",
    "read_transport",
    "resting_value",
    "returned_value",
    "transport_name",
    "transport_value",
]

#: A source IP's name: it becomes part of a service's name in master.cf, and of parameters in main.cf.
IP_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")
_TRANSPORT = re.compile(r"([a-z][a-z0-9]{0,15})(?:-s([1-9][0-9]?))?")
#: RFC 3463: the system is not accepting messages now. Ours is the system that rests.
_RESTING = "4.3.2"
#: Characters of a reply that an `error:` entry carries: Postfix cuts a line of its log at 2,000 octets.
_TEXT_LIMIT = 900


def transport_name(ip: str, speed: int = 0) -> str:
    """The name of the transport of this IP and speed class."""
    return f"{ip}-s{speed}" if speed else ip


def read_transport(name: str) -> tuple[str, int] | None:
    """IP name and speed class; None for what has not the form. `smtp` has it: ask the settings whether such an IP exists."""
    found = _TRANSPORT.fullmatch(name)
    return (found[1], int(found[2] or 0)) if found else None


def transport_value(ip: str, speed: int = 0) -> str:
    """Go out by this IP at this speed, to where the mail would go anyway."""
    return f"{transport_name(ip, speed)}:"


def resting_value(bounce_code: int, until: datetime) -> str:
    """Rest until then (an aware datetime): told to the minute, rounded up, so that many recipients share one value."""
    whole = until.astimezone(UTC)
    if whole.second or whole.microsecond:
        whole = whole.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return f"retry:{_RESTING} [{bounce_code}] resting until {whole:%Y-%m-%d %H:%M} UTC"


def returned_value(bounce_code: int, text: str, enhanced_status: str = "") -> str:
    """Give it back with the words of the last reply; `enhanced_status` is the reply's own, where it had one."""
    words = one_line(text).encode("ascii", "backslashreplace").decode("ascii")[:_TEXT_LIMIT].rstrip()
    return f"error:{status_for(bounce_code, 5, enhanced_status)} [{bounce_code}] returned: {words}".rstrip()
