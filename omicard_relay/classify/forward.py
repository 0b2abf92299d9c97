"""A failing forward (920): our recipient's own server took the mail, and a mailbox elsewhere, to which it goes on, failed.

The words speak of that other mailbox then: "no such user" is true of it, and not of the address on our list. Known by a
report (RFC 3464 §2.3.1, §2.3.2) whose final recipient has another local part in a domain of somebody else. Many hosts only
write the same mailbox in another way, and that is no forward: the same local part (also behind a gateway, with a detail
`+news`, with dots or SRS around it), or another name within one organisation's domains.
A log line whose `orig_to=` is such another mailbox is the same: our own Postfix's alias leads there.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from omicard_relay.mail import Evidence, Road, RunnerUp, Verdict, address_key
from omicard_relay.tables.codes import BounceCode

__all__ = ["FORWARD_FAILED", "forwarded", "is_forward"]

#: The id of the rule, and its code.
FORWARD_FAILED = "forward-failed"
_FORWARD = 920
#: A local part shorter than this stands in many others by chance.
_TELLING = 3
#: Providers where everybody may have a mailbox; behind `yahoo` and its like any country may stand.
_PUBLIC = frozenset(
    {
        "gmail.com",
        "googlemail.com",
        "outlook.com",
        "hotmail.com",
        "live.com",
        "msn.com",
        "icloud.com",
        "me.com",
        "mac.com",
        "aol.com",
        "gmx.de",
        "gmx.net",
        "gmx.at",
        "gmx.ch",
        "web.de",
        "t-online.de",
        "freenet.de",
        "orange.fr",
        "wanadoo.fr",
        "free.fr",
        "laposte.net",
        "sfr.fr",
        "libero.it",
        "virgilio.it",
        "uol.com.br",
        "terra.com.br",
        "mail.ru",
        "bk.ru",
        "inbox.ru",
        "list.ru",
        "yandex.ru",
        "yandex.com",
        "rambler.ru",
        "proton.me",
        "protonmail.com",
        "zoho.com",
        "qq.com",
        "163.com",
        "126.com",
        "yeah.net",
        "sina.com",
        "sohu.com",
        "naver.com",
        "hanmail.net",
        "daum.net",
        "nate.com",
        "docomo.ne.jp",
        "ezweb.ne.jp",
        "au.com",
        "softbank.ne.jp",
        "i.softbank.jp",
        "pchome.com.tw",
        "wp.pl",
        "onet.pl",
        "o2.pl",
        "interia.pl",
        "seznam.cz",
        "comcast.net",
        "verizon.net",
        "att.net",
    }
)
_PUBLIC_NAMES = frozenset({"yahoo", "hotmail", "outlook", "live", "ymail", "rocketmail"})
#: RFC 5321 §4.5.3.1: 64 octets and 255; more is no address.
_ADDRESS_LIMIT = 320


def forwarded(evidence: Evidence, verdict: Verdict | None, codes: Mapping[int, BounceCode]) -> Verdict | None:
    """The verdict, or 920 in its place where it speaks of the mailbox to which our recipient forwards."""
    if verdict is None or evidence.road not in (Road.DSN, Road.LOG) or verdict.bounce_code == _FORWARD:
        return verdict
    if not evidence.original_recipient or evidence.original_recipient == evidence.recipient:
        return verdict
    if not codes[verdict.bounce_code].address or not is_forward(evidence.original_recipient, evidence.recipient):
        return verdict
    said = RunnerUp(bounce_code=verdict.bounce_code, rule_id=verdict.rule_id, confidence=verdict.confidence)
    return replace(verdict, bounce_code=_FORWARD, rule_id=FORWARD_FAILED, runners_up=(said, *verdict.runners_up))


def is_forward(original: str, final: str) -> bool:
    """Whether the final recipient is another mailbox at another organisation than the original one."""
    one, other = _parts(original), _parts(final)
    if one is None or other is None:
        return False
    (name, domain), (new_name, new_domain) = one, other
    if domain == new_domain or domain.endswith(f".{new_domain}") or new_domain.endswith(f".{domain}"):
        return False
    if _is_public(new_domain) and not _is_public(domain):
        # No host writes a mailbox of its own with a public provider's domain.
        return True
    return name != new_name and not _stands_in(name, new_name) and not _stands_in(new_name, name)


def _parts(address: str) -> tuple[str, str] | None:
    """Local part, without detail, dots and quotes, and domain; None for what is no mailbox."""
    key = address_key(address)
    local, at, domain = key.rpartition("@")
    if not at or not local or "." not in domain or len(key) > _ADDRESS_LIMIT or any(char.isspace() for char in key):
        return None
    base = local.strip('"').partition("+")[0].replace(".", "")
    return (base or local), domain


def _is_public(domain: str) -> bool:
    return domain in _PUBLIC or domain.partition(".")[0] in _PUBLIC_NAMES


def _stands_in(name: str, other: str) -> bool:
    """`ann` in `ann%a.example` (a gateway), `srs0=…=a.example=ann`, `corp-ann`."""
    return len(name) >= _TELLING and name in other
