"""The configuration files of a private Postfix, as text: main.cf settings and master.cf services (postconf(5), master(5)).

Not here: where the files go, and starting (lab/postfix.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SmtpdService", "main_cf", "master_cf"]

_MAIN = {
    "compatibility_level": "3.6",
    "maillog_file_prefixes": "{root}",
    "queue_directory": "{root}/spool",
    "data_directory": "{root}/data",
    "maillog_file": "{root}/log/maillog",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "smtpd_authorized_xforward_hosts": "127.0.0.0/8",
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "smtp_host_lookup": "dns",
    "enable_long_queue_ids": "yes",
    "recipient_delimiter": "+",
    "biff": "no",
    # A mail that is deferred is tried again while somebody watches.
    "queue_run_delay": "5s",
    "minimal_backoff_time": "5s",
    "maximal_backoff_time": "10s",
    # Hosts that hang must not hold up the others: a few seconds instead of minutes.
    "smtp_connect_timeout": "3s",
    "smtp_helo_timeout": "5s",
    "smtp_mail_timeout": "5s",
    "smtp_rcpt_timeout": "10s",
    "smtp_data_init_timeout": "10s",
    "smtp_data_done_timeout": "30s",
    # Mails are queued faster than they are delivered, and that is meant: no pause of a second then.
    "in_flow_delay": "0",
}
_MASTER = """\
pickup    unix  n - n 60  1 pickup
cleanup   unix  n - n -   0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n -   - trivial-rewrite
bounce    unix  - - n -   0 bounce
defer     unix  - - n -   0 bounce
trace     unix  - - n -   0 bounce
verify    unix  - - n -   1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -   - proxymap
proxywrite unix - - n -   1 proxymap
smtp      unix  - - n -   - smtp
relay     unix  - - n -   - smtp
showq     unix  n - n -   - showq
error     unix  - - n -   - error
retry     unix  - - n -   - error
discard   unix  - - n -   - discard
local     unix  - n n -   - local
virtual   unix  - n n -   - virtual
lmtp      unix  - - n -   - lmtp
anvil     unix  - - n -   1 anvil
scache    unix  - - n -   1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpdService:
    """One smtpd listener, for example at `127.0.0.1:10026`; `options` are main.cf settings for it alone (`-o`)."""

    address: str
    options: Mapping[str, str] | None = None


def main_cf(root: Path, extra: Mapping[str, str]) -> str:
    """main.cf; `extra` wins over the lab's settings, `{root}` is filled in."""
    return "".join(f"{key} = {value.replace('{root}', str(root))}\n" for key, value in {**_MAIN, **extra}.items())


def master_cf(root: Path, listen: Sequence[SmtpdService], extra: Sequence[str]) -> str:
    """master.cf: the stock services, the listeners, and the caller's own entries with `{root}` filled in."""
    entries = [_smtpd_entry(service) for service in listen] + [entry.rstrip("\n") + "\n" for entry in extra]
    return _MASTER + "".join(entries).replace("{root}", str(root))


def _smtpd_entry(service: SmtpdService) -> str:
    """A master.cf entry; an option's white space is kept by braces (master(5))."""
    options = "".join(f"  -o {{ {key} = {value} }}\n" for key, value in (service.options or {}).items())
    return f"{service.address} inet n - n - - smtpd\n{options}"
