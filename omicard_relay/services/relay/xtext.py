"""xtext (RFC 3461 §4): any octets as printable ASCII, `+` and two hexadecimal digits for the rest. Pure.

ENVID, ORCPT and XFORWARD's values are written in it. Known limits: none.
"""

import re

__all__ = ["decode_xtext", "encode_xtext", "is_xtext"]

_XTEXT = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEX = re.compile(rb"\+([0-9A-Fa-f]{2})")
_UNSAFE = re.compile(rb"[^!-*,-<>-~]")


def is_xtext(text: str) -> bool:
    """Whether the text is xtext as RFC 3461 writes it, upper-case digits included."""
    return text.isascii() and _XTEXT.fullmatch(text.encode("ascii")) is not None


def encode_xtext(octets: bytes) -> str:
    """The octets as xtext."""
    return _UNSAFE.sub(lambda match: b"+%02X" % match.group()[0], octets).decode("ascii")


def decode_xtext(text: str) -> bytes:
    """The octets of an xtext; what is no escape stands for itself, lone surrogates for the octets they came from."""
    return _HEX.sub(lambda match: bytes([int(match.group(1), 16)]), text.encode("utf-8", "surrogateescape"))
