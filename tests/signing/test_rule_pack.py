"""The signed file of a rule pack: both ways, and everything hostile is refused with a sentence."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import SigningError
from omicard_relay.signing.rule_pack import PACK_LIMIT, RULE_FORMAT, canonical, fingerprint, open_pack, seal_pack

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
NOW = datetime(2026, 11, 24, 8, 0, 1, 999, tzinfo=UTC)
FILES = {"rules/moon.toml": '# 月\n[[rule]]\nid = "moon"\n', "codes.toml": ""}


def seal(files: dict[str, str] = FILES, key: Ed25519PrivateKey = KEY, version: int = 3) -> bytes:
    return seal_pack(name="moon-rules", version=version, created=NOW, files=files, key=key)


def signed(change: Callable[[dict[str, Any]], object], key: Ed25519PrivateKey = KEY) -> bytes:
    """A pack that its author changed before signing, whatever our own writer would say."""
    raw = json.loads(seal())
    change(raw)
    raw.pop("signature", None)
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    raw["signature"] = base64.b64encode(key.sign(f"{raw.get('format')}\n{text}".encode())).decode()
    return json.dumps(raw).encode()


def test_a_pack_reads_as_it_was_sealed() -> None:
    pack = open_pack(seal())
    assert (pack.name, pack.version, dict(pack.files), pack.needs) == ("moon-rules", 3, FILES, RULE_FORMAT)
    assert pack.created == NOW.replace(microsecond=0)
    assert pack.public_key == KEY.public_key().public_bytes_raw()


@given(
    st.dictionaries(
        st.from_regex(r"rules/[a-z0-9][a-z0-9_-]{0,9}\.toml", fullmatch=True), st.text(), min_size=1, max_size=4
    )
)
def test_any_texts_survive(files: dict[str, str]) -> None:
    assert dict(open_pack(seal(files)).files) == files


def test_signing_is_over_what_the_page_says() -> None:
    """The format's name, a line feed, sorted JSON in ASCII without spaces (docs/decisions/0009-rule-packs.md)."""
    raw = json.loads(seal())
    del raw["signature"]
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    assert canonical(open_pack(seal())) == f"omicard-relay-rules/1\n{text}".encode("ascii")


def test_a_pack_formatted_anew_still_verifies() -> None:
    raw = json.loads(seal())
    assert open_pack(json.dumps(dict(reversed(raw.items())), indent=4).encode()) == open_pack(seal())


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "name": lambda raw: raw.update(name="moon-rulez"),
    "version": lambda raw: raw.update(version=4),
    "created": lambda raw: raw.update(created="2026-11-24T08:00:02Z"),
    "one letter of a rule": lambda raw: raw["files"].update({"rules/moon.toml": FILES["rules/moon.toml"] + " "}),
    "another file": lambda raw: raw["files"].update({"rules/sun.toml": ""}),
    "a file less": lambda raw: raw["files"].pop("codes.toml"),
    "another key": lambda raw: raw.update(public_key=json.loads(seal(key=OTHER))["public_key"]),
    "another signature": lambda raw: raw.update(signature=json.loads(seal(key=OTHER))["signature"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_pack_changed_after_signing_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    raw = json.loads(seal())
    change(raw)
    with pytest.raises(SigningError, match="signature is wrong"):
        open_pack(json.dumps(raw).encode())


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "leads out of the folder": lambda raw: raw["files"].update({"rules/../../../etc/passwd.toml": ""}),
    "absolute": lambda raw: raw["files"].update({"/etc/rules/x.toml": ""}),
    "hidden": lambda raw: raw["files"].update({"rules/.x.toml": ""}),
    "another kind": lambda raw: raw["files"].update({"rules/x.py": ""}),
    "another folder": lambda raw: raw["files"].update({"packs/x/rules/x.toml": ""}),
    "suppression": lambda raw: raw["files"].update({"suppress.toml": ""}),
    "line break in a name": lambda raw: raw["files"].update({"rules/x.toml\n": ""}),
    "NUL in a name": lambda raw: raw["files"].update({"rules/x\0.toml": ""}),
    "half a character": lambda raw: raw["files"].update({"rules/x.toml": "\ud800"}),
    "number for a text": lambda raw: raw["files"].update({"rules/x.toml": 3}),
    "no file": lambda raw: raw.update(files={}),
    "codes alone": lambda raw: raw.update(files={"codes.toml": ""}),
    "files as a list": lambda raw: raw.update(files=["rules/x.toml"]),
    "very many files": lambda raw: raw["files"].update({f"rules/x{n}.toml": "" for n in range(600)}),
    "name with a slash": lambda raw: raw.update(name="../x"),
    "name of capitals": lambda raw: raw.update(name="Moon"),
    "empty name": lambda raw: raw.update(name=""),
    "version of zero": lambda raw: raw.update(version=0),
    "version as a text": lambda raw: raw.update(version="3"),
    "version as a truth": lambda raw: raw.update(version=True),
    "version with a fraction": lambda raw: raw.update(version=3.0),
    "huge version": lambda raw: raw.update(version=2**70),
    "no such day": lambda raw: raw.update(created="2026-02-30T00:00:00Z"),
    "no time": lambda raw: raw.update(created=None),
    "key more": lambda raw: raw.update(more=1),
    "key less": lambda raw: raw.pop("created"),
    "later format": lambda raw: raw.update(format="omicard-relay-rules/2"),
    "needs a later program": lambda raw: raw.update(needs=RULE_FORMAT + 1),
    "short key": lambda raw: raw.update(public_key="AAAA"),
    "key in no base64": lambda raw: raw.update(public_key="!" * 44),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_pack_is_refused_although_its_author_signed_it(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(SigningError):
        open_pack(signed(change))


def test_the_harness_signs_what_would_be_taken() -> None:
    assert open_pack(signed(lambda raw: None)) == open_pack(seal())


def test_another_spelling_of_the_signature_is_refused() -> None:
    raw = json.loads(seal())
    last = raw["signature"][-3]  # base64 has four spare bits here
    raw["signature"] = raw["signature"][:-3] + chr(ord(last) + 1) + "=="
    with pytest.raises(SigningError):
        open_pack(json.dumps(raw).encode())


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff" * 100,
        b"[" * 200_000,
        b'{"format": NaN}',
        b'{"version": ' + b"9" * 10_000 + b"}",
        b'{"format":"omicard-relay-rules/1",' + seal().lstrip(b"{"),
        b" " * (PACK_LIMIT + 1),
    ],
    ids=["empty", "null", "list", "no keys", "bad UTF-8", "deep", "NaN", "long number", "key twice", "huge"],
)
def test_what_is_no_pack_is_refused(octets: bytes) -> None:
    with pytest.raises(SigningError, match="is no rule pack"):
        open_pack(octets)


KEYS = st.sampled_from(["format", "files", "name", "version"])
VALUES = st.recursive(st.none() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(KEYS, one))


@given(st.binary(max_size=200) | VALUES.map(lambda raw: json.dumps(raw).encode()))
def test_any_octets_are_a_pack_or_a_sentence(octets: bytes) -> None:
    with pytest.raises(SigningError):
        open_pack(octets)


def test_a_pack_that_could_not_be_opened_is_not_sealed() -> None:
    with pytest.raises(SigningError):
        seal({"rules/X.toml": ""})
    with pytest.raises(SigningError):
        seal(version=0)


def test_a_fingerprint_is_short_and_differs() -> None:
    shown = {fingerprint(key.public_key().public_bytes_raw()) for key in (KEY, OTHER)}
    assert len(shown) == 2
    assert all(len(one) == 39 for one in shown)
