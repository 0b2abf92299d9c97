"""Key files: permissions, kinds, and messages that say what to do."""

import os
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import SigningError
from omicard_relay.services import keyfiles
from omicard_relay.services.keyfiles import (
    load_dkim,
    load_return_path,
    make_dkim_key,
    read_dkim_private_key,
    read_return_path_keys,
)
from omicard_relay.tables.settings import DkimKeySettings, ReturnPathSettings, Settings

ED = ed25519.Ed25519PrivateKey.generate()
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file to somebody else")


def pem(key, form: PrivateFormat = PrivateFormat.PKCS8, lock: KeySerializationEncryption | None = None) -> bytes:
    octets: bytes = key.private_bytes(Encoding.PEM, form, lock or NoEncryption())
    return octets


def put(path: Path, octets: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(octets)
    path.chmod(mode)
    return path


def settings_for(folder: Path, **changes: object) -> Settings:
    return Settings(data_dir=str(folder), return_path=ReturnPathSettings(domain="b.example.com", **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700], ids=oct)
def test_a_file_that_its_owner_alone_can_read_is_taken(tmp_path: Path, mode: int) -> None:
    assert read_dkim_private_key(put(tmp_path / "k", pem(ED), mode)).private_bytes_raw() == ED.private_bytes_raw()


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o620, 0o660, 0o610, 0o601, 0o777], ids=oct)
def test_a_file_that_is_too_open_is_refused_with_the_command_that_helps(tmp_path: Path, mode: int) -> None:
    path = put(tmp_path / "k", pem(ED), mode)
    with pytest.raises(SigningError) as raised:
        read_dkim_private_key(path)
    assert f"run `chmod 600 {path}`" in str(raised.value)
    assert f"mode {mode:04o}" in str(raised.value)
    path.chmod(0o600)
    read_dkim_private_key(path)


@as_root
def test_root_may_let_a_group_read_its_key(tmp_path: Path) -> None:
    path = put(tmp_path / "k", pem(ED), 0o640)
    read_dkim_private_key(path)
    os.chown(path, 12_345, 12_345)
    with pytest.raises(SigningError, match="mode 0640"):
        read_dkim_private_key(path)


@as_root
def test_root_reads_a_key_of_another_owner(tmp_path: Path) -> None:
    path = put(tmp_path / "k", pem(ED))
    os.chown(path, 12_345, 12_345)
    read_dkim_private_key(path)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], ids=["pkcs8", "pkcs1"])
def test_both_pem_forms_of_rsa_are_taken(tmp_path: Path, form: PrivateFormat) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert read_dkim_private_key(put(tmp_path / "k", pem(key, form))).key_size == 2048  # type: ignore[union-attr]


def small_rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 the very key that must be refused


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        pytest.param(lambda: b"", "holds no PEM private key", id="empty"),
        pytest.param(lambda: b"\xff\x00junk", "holds no PEM private key", id="junk"),
        pytest.param(lambda: pem(ED)[:60], "holds no PEM private key", id="cut"),
        pytest.param(
            lambda: ED.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "the private one is needed",
            id="public",
        ),
        pytest.param(lambda: pem(ED, lock=BestAvailableEncryption(b"x")), "the key is encrypted", id="encrypted"),
        pytest.param(lambda: pem(small_rsa()), "RSA key of 1024 bits; receivers refuse", id="rsa-1024"),
        pytest.param(lambda: pem(ec.generate_private_key(ec.SECP256R1())), "only RSA and Ed25519", id="ec"),
        pytest.param(lambda: pem(dsa.generate_private_key(2048)), "only RSA and Ed25519", id="dsa"),
        pytest.param(lambda: b"x" * 70_000, "more than 65,536 octets", id="large"),
    ],
)
def test_what_is_no_usable_key_is_refused_in_words(tmp_path: Path, octets, words: str) -> None:
    path = put(tmp_path / "k", octets())
    with pytest.raises(SigningError, match=words) as raised:
        read_dkim_private_key(path)
    assert str(path) in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SigningError, match="there is no such key file") as raised:
        read_dkim_private_key(tmp_path / "none.pem")
    assert str(tmp_path / "none.pem") in str(raised.value)


def test_a_folder_or_a_pipe_is_no_key_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(SigningError, match="not a regular file"):
            read_dkim_private_key(path)


def test_a_file_that_cannot_be_opened_says_who_should_own_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(keyfiles.os, "open", denied)
    with pytest.raises(SigningError, match=r"Permission denied.*chown USER"):
        read_dkim_private_key(tmp_path / "k")


@pytest.mark.parametrize("ed", [True, False], ids=["ed25519", "rsa"])
def test_a_made_key_is_private_and_can_be_read_back(tmp_path: Path, ed: bool) -> None:
    key = make_dkim_key(tmp_path / "new" / "k.pem", ed25519_key=ed)
    path = tmp_path / "new" / "k.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pem(read_dkim_private_key(path)) == pem(key)
    assert ed or key.key_size == 2048  # type: ignore[union-attr]
    assert os.listdir(path.parent) == ["k.pem"]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = put(tmp_path / "k", b"precious", 0o644)
    with pytest.raises(SigningError, match="never overwritten"):
        make_dkim_key(path, ed25519_key=True)
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["k"]


def test_load_dkim_gives_every_configured_key(tmp_path: Path) -> None:
    items = tuple(
        DkimKeySettings(domain="Example.com", selector=name, key_file=str(put(tmp_path / name, pem(ED))), senders=more)
        for name, more in (("s1", ()), ("s2", ("shop.example",)))
    )
    signer = load_dkim(Settings(dkim=items))
    assert [(k.domain, k.selector, k.senders) for k in signer.keys] == [
        ("example.com", "s1", ("example.com",)),
        ("example.com", "s2", ("shop.example",)),
    ]
    assert load_dkim(Settings()).keys == ()


def test_without_a_domain_the_return_path_is_off(tmp_path: Path) -> None:
    assert load_return_path(Settings(data_dir=str(tmp_path))) is None
    assert os.listdir(tmp_path) == []


def test_a_missing_return_path_key_is_made_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data", local_part="bounce", delimiter="-", max_age_days=7)
    first = load_return_path(settings)
    second = load_return_path(settings)
    assert first is not None
    assert first == second
    assert (first.local_part, first.delimiter, first.max_age_days) == ("bounce", "-", 7)
    path = tmp_path / "data" / "return-path.keys"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [len(secret) for secret in first.keys.secrets.values()] == [32]
    assert os.listdir(path.parent) == ["return-path.keys"]


def test_two_installations_have_different_secrets(tmp_path: Path) -> None:
    one, two = (load_return_path(settings_for(tmp_path / name)) for name in ("one", "two"))
    assert one is not None
    assert two is not None
    assert one.keys.secrets != two.keys.secrets


def test_processes_that_start_at_once_end_with_the_same_key(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    made: list[object] = []

    def start() -> None:
        barrier.wait()
        made.append(load_return_path(settings_for(tmp_path)))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert all(signer == made[0] for signer in made)


def test_a_return_path_key_file_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    load_return_path(settings_for(tmp_path))
    (tmp_path / "return-path.keys").chmod(0o644)
    with pytest.raises(SigningError, match="chmod 600"):
        load_return_path(settings_for(tmp_path))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    put(tmp_path / "file", b"")
    with pytest.raises(SigningError, match="cannot be made"):
        load_return_path(settings_for(tmp_path / "file" / "below"))


def test_the_order_of_the_file_is_the_order_of_the_keys(tmp_path: Path) -> None:
    path = put(tmp_path / "k", b"# new one\n\nb = " + b"ab" * 16 + b"  # since May\r\na=" + b"CD" * 32)
    keys = read_return_path_keys(path)
    assert list(keys.secrets) == ["b", "a"]
    assert keys.signing_id == "b"
    assert keys.secrets["a"] == b"\xcd" * 32


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(b"", "no return-path key", id="empty"),
        pytest.param(b"# nothing\n", "no return-path key", id="comment-only"),
        pytest.param(b"\n" + b"ab" * 16, "line 2 is no `id = secret`", id="no-equals"),
        pytest.param(b"a = xyz", "line 1 is not hexadecimal", id="not-hex"),
        pytest.param(b"a = " + b"ab" * 15, "15 octets", id="short"),
        pytest.param(b"A = " + b"ab" * 16, "key id 'A' is wrong", id="upper-case-id"),
        pytest.param(b"a = " + b"ab" * 16 + b"\na = " + b"cd" * 16, "line 2 has the id 'a' again", id="twice"),
    ],
)
def test_a_wrong_key_file_is_told_by_file_and_line_without_the_secret(tmp_path: Path, text: bytes, words: str) -> None:
    path = put(tmp_path / "k", text)
    with pytest.raises(SigningError, match=words) as raised:
        read_return_path_keys(path)
    assert str(path) in str(raised.value)
    assert "abab" not in str(raised.value)


@given(st.binary(max_size=200))
def test_any_octets_in_a_key_file_give_keys_or_an_error_in_words(tmp_path_factory, octets: bytes) -> None:
    path = put(tmp_path_factory.mktemp("any") / "k", octets)
    for read in (read_return_path_keys, read_dkim_private_key):
        with pytest.raises(SigningError, match=r"\S"):
            read(path)
