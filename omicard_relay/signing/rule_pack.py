"""A rule pack as one signed file: `RulePack` to octets and back. Ed25519 (RFC 8032), JSON (RFC 8259).

The signature is over `canonical(pack)`, so a pack that was formatted anew by some tool on its way still verifies, and
one of which a single character changed does not. Everything is checked before a value leaves here: size, form, names of
files, that no key stands twice, the signature. Whether the key is trusted is for the caller to say.
Not here: installing (services/rulepacks.py), whether the rules are any good (tables/lint.py, classify/check.py).
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from omicard_relay.mail import SigningError, one_line

__all__ = [
    "FORMAT",
    "PACK_LIMIT",
    "RULE_FORMAT",
    "RulePack",
    "canonical",
    "fingerprint",
    "open_pack",
    "pack_name",
    "seal_pack",
]

FORMAT = "omicard-relay-rules/1"
#: The form of rule that this program reads; a pack that needs a later one is refused. Raised with each new key of a rule.
RULE_FORMAT = 1
#: Octets of a pack: some twenty times all the rules that are shipped.
PACK_LIMIT = 8_388_608
_MOST_FILES = 500
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
# No dot at the start, no slash: nothing that could lead out of the folder.
_FILE = re.compile(r"rules/[a-z0-9][a-z0-9_-]{0,99}\.toml|codes\.toml")
_CREATED = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_MOST_VERSION = 2**53 - 1
_KEYS = {"format", "name", "version", "created", "needs", "files", "public_key", "signature"}
_NO_PACK = "is no rule pack"


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePack:
    """`files`: `rules/NAME.toml` or `codes.toml` to text. `needs`: the least RULE_FORMAT. `created`: aware UTC, whole seconds.

    `public_key` is the raw 32 octets of the key that signed, `signature` the 64 octets.
    """

    name: str
    version: int
    created: datetime
    files: Mapping[str, str]
    public_key: bytes
    signature: bytes = b""
    needs: int = RULE_FORMAT

    @property
    def digest(self) -> str:
        """SHA-256 in hexadecimal over what is signed."""
        return hashlib.sha256(canonical(self)).hexdigest()

    def head(self) -> dict[str, Any]:
        """All but the files' texts, for the pack.json of the installed pack."""
        head = _plain(self)
        del head["files"]
        return {**head, "signature": _base64(self.signature), "digest": self.digest}


def pack_name(name: str) -> bool:
    """Whether a pack may be called so: lower-case letters, digits and dashes; at most 64."""
    return _NAME.fullmatch(name) is not None


def fingerprint(public_key: bytes) -> str:
    """What people compare: SHA-256 of the raw key, 16 octets of it, in groups."""
    digest = hashlib.sha256(public_key).hexdigest()[:32]
    return ":".join(digest[n : n + 4] for n in range(0, 32, 4))


def canonical(pack: RulePack) -> bytes:
    """The octets that are signed: the format's name, a line feed, then JSON with sorted keys, ASCII, no spaces."""
    text = json.dumps(_plain(pack), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{FORMAT}\n{text}".encode("ascii")


def seal_pack(*, name: str, version: int, created: datetime, files: Mapping[str, str], key: Ed25519PrivateKey) -> bytes:
    """The file of a new pack. Raises SigningError for a name, version or file that `open_pack` would refuse."""
    public_key = key.public_key().public_bytes_raw()
    when = created.astimezone(UTC).replace(microsecond=0)
    pack = RulePack(name=name, version=version, created=when, files=dict(files), public_key=public_key)
    whole = {**_plain(pack), "signature": _base64(key.sign(canonical(pack)))}
    octets = (json.dumps(whole, ensure_ascii=False, indent=1) + "\n").encode("utf-8")
    open_pack(octets)
    return octets


def open_pack(octets: bytes) -> RulePack:
    """The pack of a file, its signature verified. Raises SigningError with what is wrong; never anything else."""
    if len(octets) > PACK_LIMIT:
        raise SigningError(f"{_NO_PACK}: it has more than {PACK_LIMIT:,} octets.")
    try:
        raw = json.loads(octets.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise SigningError(f"{_NO_PACK}: it is not UTF-8 at octet {error.start}.") from None
    except (ValueError, RecursionError) as error:
        raise SigningError(f"{_NO_PACK}: it is not JSON ({one_line(str(error), 120)}).") from None
    pack = _read(raw)
    try:
        Ed25519PublicKey.from_public_bytes(pack.public_key).verify(pack.signature, canonical(pack))
    except (InvalidSignature, ValueError):
        raise SigningError(
            "the signature is wrong: the pack was changed after it was signed; get it anew from its source."
        ) from None
    return pack


def _read(raw: Any) -> RulePack:
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise SigningError(f"{_NO_PACK}: `format` is not `{FORMAT}`.")
    needs = _number(raw, "needs")
    if needs > RULE_FORMAT:
        raise SigningError(
            f"the pack needs rules of format {needs}, and this program reads up to {RULE_FORMAT}; update the program."
        )
    if raw.keys() != _KEYS:
        odd = ", ".join(sorted(one_line(key, 40) for key in raw.keys() ^ _KEYS))
        raise SigningError(f"{_NO_PACK}: missing, or not known: {odd}.")
    name, created = _text(raw, "name"), _text(raw, "created")
    if not pack_name(name):
        raise SigningError(f"{_NO_PACK}: `name` must be of lower-case letters, digits and dashes, 64 at most.")
    try:
        if not _CREATED.fullmatch(created):
            raise ValueError(created)
        when = datetime.strptime(created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise SigningError(f"{_NO_PACK}: `created` must be a time such as 2026-11-20T08:00:00Z.") from None
    return RulePack(
        name=name,
        version=_number(raw, "version"),
        created=when,
        files=_files(raw["files"]),
        public_key=_octets(raw, "public_key", 32),
        signature=_octets(raw, "signature", 64),
        needs=needs,
    )


def _files(raw: Any) -> dict[str, str]:
    if not isinstance(raw, dict) or not raw or len(raw) > _MOST_FILES:
        raise SigningError(f"{_NO_PACK}: `files` must hold 1 to {_MOST_FILES} files.")
    for name, text in raw.items():
        if not _FILE.fullmatch(name):
            raise SigningError(
                f"the pack holds a file `{one_line(name, 80)}`; allowed are codes.toml and rules/NAME.toml, NAME of "
                "lower-case letters, digits, `-` and `_`."
            )
        if not isinstance(text, str):
            raise SigningError(f"{_NO_PACK}: the file `{name}` is no text.")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise SigningError(f"{_NO_PACK}: the file `{name}` holds half a character.") from None
    if not any(name.startswith("rules/") for name in raw):
        raise SigningError(f"{_NO_PACK}: it holds no rules/NAME.toml.")
    return raw


def _plain(pack: RulePack) -> dict[str, Any]:
    """All but the signature, in the order of the file."""
    return {
        "format": FORMAT,
        "name": pack.name,
        "version": pack.version,
        "created": f"{pack.created:%Y-%m-%dT%H:%M:%SZ}",
        "needs": pack.needs,
        "files": dict(pack.files),
        "public_key": _base64(pack.public_key),
    }


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _number(raw: Mapping[str, Any], key: str) -> int:
    value = raw.get(key)
    if type(value) is not int or not 1 <= value <= _MOST_VERSION:
        raise SigningError(f"{_NO_PACK}: `{key}` must be a whole number from 1.")
    return value


def _text(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str):
        raise SigningError(f"{_NO_PACK}: `{key}` must be a text.")
    return value


def _octets(raw: Mapping[str, Any], key: str, size: int) -> bytes:
    try:
        octets = base64.b64decode(_text(raw, key).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        octets = b""
    # One spelling only: base64 has spare bits at its end.
    if len(octets) != size or _base64(octets) != raw[key]:
        raise SigningError(f"{_NO_PACK}: `{key}` must be {size} octets in base64.")
    return octets


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")
