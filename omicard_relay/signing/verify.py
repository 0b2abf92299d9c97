"""Verify the DKIM signatures of a mail with dkimpy (RFC 6376 §6), for people who check their own line.

`lookup` answers DNS names, so that this stays free of I/O. dkimpy itself compares `t=` and `x=` with the clock, with ten
hours of tolerance. Mails that would cost dkimpy more than linear time (header lines by the thousand, endless blanks)
are refused with a reason.
Known limits: nothing here is meant for judging incoming mail: no ARC, no DMARC.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import dkim

from omicard_relay.mail import SigningError, one_line

__all__ = ["SignatureCheck", "verify_signatures"]

#: Signatures of one mail that are looked at; each costs a DNS query.
SIGNATURE_LIMIT = 10
#: Lines and octets of a header block: dkimpy joins folded lines one by one.
HEADER_LINE_LIMIT = 5_000
HEADER_LIMIT = 1_000_000

_BLANKS = re.compile(rb"[\t ]{64}[\t ]*")
_RUN = re.compile(rb"\s{64}")
_HEADER_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureCheck:
    """One signature: `passed`, and `reason` in words when it did not. Empty names: the field could not be read."""

    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    passed: bool = False
    reason: str = ""


def verify_signatures(message: bytes, lookup: Callable[[str], bytes | None]) -> tuple[SignatureCheck, ...]:
    """One check per DKIM-Signature field, topmost first; empty when there is none.

    `lookup` gives the TXT record of a name, None when there is none, and raises SigningError when DNS does not answer.
    Raises SigningError when the mail's header cannot be read at all.
    """
    end = _HEADER_END.search(message)
    block = message[: end.start()] if end else message
    if len(block) > HEADER_LIMIT or block.count(b"\n") > HEADER_LINE_LIMIT:
        raise SigningError(
            f"The mail's header has more than {HEADER_LIMIT:,} octets or {HEADER_LINE_LIMIT:,} lines; it is not checked."
        )
    relaxed, raw = _reader(message, shorten=True), _reader(message, shorten=False)
    fields = [value for name, value in raw.headers if name.lower() == b"dkim-signature"]
    return tuple(
        _check(raw if _simple_body(value) else relaxed, number, value, lookup)
        for number, value in enumerate(fields[:SIGNATURE_LIMIT])
    )


def _reader(message: bytes, *, shorten: bool) -> dkim.DKIM:
    """dkimpy's reader; `shorten` makes long runs of blanks short, which relaxed bodies do not notice."""
    end = _HEADER_END.search(message)
    if shorten and end:
        message = message[: end.end()] + _BLANKS.sub(b" ", message[end.end() :])
    try:
        return dkim.DKIM(message, minkey=1024, timeout=5)
    except (dkim.DKIMException, IndexError):
        raise SigningError("The file's header cannot be read; is it a mail, from its first line on?") from None


def _simple_body(value: bytes) -> bool:
    """Whether a signature's body canonicalisation is `simple` (the default when c= names one method only)."""
    found = re.search(rb"(?:^|;)\s{0,63}c\s{0,63}=\s{0,63}([a-z]{1,20})(/relaxed)?", value)
    return found is None or found.group(2) is None


def _check(reader: dkim.DKIM, number: int, value: bytes, lookup: Callable[[str], bytes | None]) -> SignatureCheck:
    """One signature; whatever dkimpy makes of a broken one becomes a reason."""
    if _RUN.search(value):
        return SignatureCheck(reason="the signature field is malformed: endless white space")
    problem = ""
    asked: list[bytes | None] = []

    def answer(name: bytes, timeout: int = 5) -> bytes | None:
        record = lookup(name.decode("ascii", "backslashreplace").removesuffix("."))
        asked.append(record)
        return record

    reader.signature_fields = {}
    try:
        passed = bool(reader.verify(idx=number, dnsfunc=answer))
        if not passed:
            problem = _why(asked)
    except SigningError as error:
        passed, problem = False, str(error)
    except dkim.DKIMException as error:
        passed, problem = False, str(error)
    except Exception as error:  # dkimpy lets many kinds escape on hostile fields: a bad mail is a value here
        passed, problem = False, f"malformed ({type(error).__name__})"
    tags = reader.signature_fields
    return SignatureCheck(
        domain=_shown(tags.get(b"d")),
        selector=_shown(tags.get(b"s")),
        algorithm=_shown(tags.get(b"a")),
        passed=passed,
        reason=one_line(problem, 300),
    )


def _why(asked: list[bytes | None]) -> str:
    """dkimpy says only False: no record, a record it cannot use, or a signature that is wrong."""
    if asked and not asked[0]:
        return "there is no DNS record for this domain and selector"
    return "the signature does not verify: a signed header was changed, or DNS holds another key"


def _shown(value: bytes | None) -> str:
    return one_line((value or b"").decode("utf-8", "replace"), 253)
