"""Each written dialogue is played against the relay in front of a real Postfix; its own `=` lines say what must arrive."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.line import Line

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE))

from player import Dialogue, play, read_dialogues  # noqa: E402

_PLAIN, _WITH_LOGIN = read_dialogues(_HERE), read_dialogues(_HERE / "with-login")
#: What the listener behind the relay refuses.
_REFUSES = (
    "inline:{"
    + ",".join(f"{{refused.{n}@good.test=550 5.7.1 This address is refused here}}" for n in range(1, 5))
    + "}"
)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A line whose relay lets in 127.0.0.1 alone."""
    networks = 'networks = ["127.0.0.1/32"]\nxforward_networks = ["127.0.0.1/32"]'
    folder = tmp_path_factory.mktemp("dialogues") / "line"
    # `postconf -P` takes no white space, so the value is a parameter of main.cf.
    settings = {"lab_restrictions": f"check_recipient_access {_REFUSES}, permit_mynetworks, reject"}
    extra = {"relay": networks, "return_path": 'off_for = ["together@shop.test"]'}
    with Line(folder, store_mails=True, postfix_settings=settings, extra_configuration=extra) as line:
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
        override = "127.0.0.1:10026/inet/smtpd_recipient_restrictions=$lab_restrictions"
        words = ["postconf", "-c", str(line.postfix.config), "-P", override]
        subprocess.run(words, check=True, env={**os.environ, "PATH": path})
        line.postfix.reload()
        yield line


@pytest.fixture(scope="module")
def line_with_login(line: Line) -> Line:
    """The same line; the relay was started anew with a certificate and a user."""
    certificate, key, users = (line.folder / name for name in ("relay.crt", "relay.key", "users"))
    _make_certificate(certificate, key)
    users.write_text(line.omicard("relay", "password", "ann", given="autumn leaves\n"))
    users.chmod(0o600)
    names = {"tls_certificate": certificate.name, "tls_key": key.name, "auth_file": users.name}
    lines = "".join(f'{name} = "{value}"\n' for name, value in names.items())
    line.configuration.write_text(line.configuration.read_text().replace("[relay]\n", f"[relay]\n{lines}"))
    line.stop_service("relay")
    line.start_service("relay")
    return line


@pytest.mark.parametrize("dialogue", _PLAIN, ids=[one.name for one in _PLAIN])
def test_dialogue(line: Line, dialogue: Dialogue) -> None:
    play(dialogue, line)


@pytest.mark.parametrize("dialogue", _WITH_LOGIN, ids=[one.name for one in _WITH_LOGIN])
def test_dialogue_with_login(line_with_login: Line, dialogue: Dialogue) -> None:
    play(dialogue, line_with_login)


def test_nothing_of_it_reaches_the_relays_log_as_a_control_character(line: Line) -> None:
    log = line.service_log("relay").read_bytes()
    assert b"event=bad-data" in log
    assert b"Traceback" not in log
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", log)


def _make_certificate(certificate: Path, key: Path) -> None:
    """A certificate for this test alone, signed by itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.lab.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    key.chmod(0o600)
