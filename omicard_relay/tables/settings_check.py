"""What the types of the settings alone cannot say: addresses, names, keys that belong together, values that would do harm.

Not here: the keys and their types (tables/settings.py), what only another table shows (tables/keeping.py).
"""

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING

from omicard_relay.mail import TableError

if TYPE_CHECKING:
    from omicard_relay.tables.settings import Settings

__all__ = ["check_settings", "is_kind"]

#: What may stand in a greeting (RFC 5321 §4.1.2), and what names a header field (RFC 5322 §3.6.8).
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")
_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}")
#: A kind of campaign: what follows `kind:` in the scope of a list entry.
_KIND = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
#: A source IP's name becomes a service of master.cf (as in wire/transports.py): these are Postfix's, or ours.
_IP_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")
# fmt: off
_TAKEN = frozenset({
    "anvil", "bounce", "bsmtp", "cleanup", "cyrus", "defer", "discard", "dnsblog", "error", "flush", "ifmail",
    "lmtp", "local", "maildrop", "mailman", "mtp", "nqmgr", "omi", "oqmgr", "pickup", "pipe", "postlog",
    "postscreen", "proxymap", "proxywrite", "qmgr", "qmqpd", "relay", "retry", "rewrite", "scache", "showq", "smtp",
    "smtpd", "smtps", "submission", "submissions", "tlsmgr", "tlsproxy", "trace", "uucp", "verify", "virtual",
})
# fmt: on
#: An address that can stand in an SMTP command as it is: ASCII, without quotes and brackets.
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{0,253}")


def is_kind(text: str) -> bool:
    """Whether a text names a kind of campaign."""
    return _KIND.fullmatch(text) is not None


def check_settings(settings: "Settings", path: Path) -> None:
    """Raises TableError with the key, what was found and what is allowed."""
    for name in ("networks", "xforward_networks"):
        for number, network in enumerate(getattr(settings.relay, name)):
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise TableError(
                    f"{path}: `relay.{name}.{number}`: {error}; write a network such as 192.0.2.0/24 or 2001:db8::/32."
                ) from None
    if settings.relay.hostname and not _HOSTNAME.fullmatch(settings.relay.hostname):
        raise TableError(
            f"{path}: `relay.hostname`: {settings.relay.hostname!r} is no host name such as relay.example.com."
        )
    for name, example in (("header", "X-Campaign"), ("kind_header", "X-Campaign-Kind")):
        field = getattr(settings.campaign, name)
        if field and not _FIELD_NAME.fullmatch(field):
            raise TableError(f"{path}: `campaign.{name}`: {field!r} is no header name such as {example}.")
    kinds = {f"kinds.{number}": kind for number, (_, kind) in enumerate(settings.campaign.kinds)}
    kinds |= {name: getattr(settings.campaign, name) for name in ("default_kind", "kind_without")}
    for name, kind in kinds.items():
        if not is_kind(kind):
            raise TableError(
                f"{path}: `campaign.{name}`: {kind!r} is no kind such as marketing; use lower-case letters, digits, - and _."
            )
    if bool(settings.relay.tls_certificate) != bool(settings.relay.tls_key):
        raise TableError(f"{path}: `relay.tls_certificate` and `relay.tls_key` go together; set both or neither.")
    if settings.relay.tls_required and not settings.relay.tls_certificate:
        raise TableError(f"{path}: `relay.tls_required` needs `relay.tls_certificate` and `relay.tls_key`.")
    # `b+` and 37 octets of token must fit into the 64 octets of a local part (RFC 5321 §4.5.3.1.1).
    if len(settings.return_path.local_part) > 24:
        raise TableError(
            f"{path}: `return_path.local_part` is longer than 24 octets; the signed token needs the rest of 64."
        )
    _check_forward(settings, path)
    _check_keep(settings, path)
    _check_steer(settings, path)


def _check_keep(settings: "Settings", path: Path) -> None:
    """Evidence that went too early would let a late bounce count twice. suppress.toml is looked at in tables/keeping.py."""
    days, proven = settings.keep.evidence_days, settings.return_path.max_age_days
    if 0 < days <= proven:
        raise TableError(
            f"{path}: `keep.evidence_days`: {days} is not more than `return_path.max_age_days` ({proven}); "
            "a bounce could come when its mail is not known any more. Make it larger, or 0 for ever."
        )


def _check_forward(settings: "Settings", path: Path) -> None:
    """Answers that are handed on into the return path would come back for ever."""
    forward, domain = settings.answers.forward, settings.return_path.domain.lower().rstrip(".")
    if not forward:
        return
    if not _ADDRESS.fullmatch(forward):
        raise TableError(f"{path}: `answers.forward`: {forward!r} is no plain address such as care@example.com.")
    if domain and forward.lower().rstrip(".").endswith(f"@{domain}"):
        raise TableError(
            f"{path}: `answers.forward`: {forward!r} is in the return path's own domain, and its mail would come back here; "
            "name an address of another domain."
        )


def _check_steer(settings: "Settings", path: Path) -> None:
    """Names and addresses go into Postfix's configuration, and tell the IPs apart in its log."""
    seen: dict[str, str] = {}
    for number, ip in enumerate(settings.steer.ip):
        key = f"{path}: `steer.ip.{number}"
        if not _IP_NAME.fullmatch(ip.name) or ip.name in _TAKEN:
            raise TableError(
                f"{key}.name`: {ip.name!r} is no name for an IP; use 1 to 16 lower-case letters and digits, a letter first, "
                "and no service of Postfix's own."
            )
        try:
            address = str(ipaddress.ip_address(ip.address))
        except ValueError as error:
            raise TableError(f"{key}.address`: {error}; write an address such as 192.0.2.1 or 2001:db8::1.") from None
        if ip.helo and not _HOSTNAME.fullmatch(ip.helo):
            raise TableError(f"{key}.helo`: {ip.helo!r} is no host name such as out1.example.com.")
        for what in (ip.name, address):
            if what in seen:
                raise TableError(f"{key}`: {what} is `{seen[what]}` already; each IP stands once, with its own name.")
            seen[what] = f"steer.ip.{number}"
