"""A private Dovecot over one maildir, on the loopback of the lab's namespace: with TLS, and without.

Nothing of an installed Dovecot is read or touched. It ends with the `with` statement, or with the namespace.
"""

import datetime
import ipaddress
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from omicard_relay.mail import RelayError

__all__ = ["ImapServer", "imap_installed"]

_DOVECOT = "/usr/sbin/dovecot"
_START_SECONDS = 20.0
_CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
mail_location = maildir:{mails}
first_valid_uid = 1
disable_plaintext_auth = no
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid=nogroup home={mails}
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
"""


def imap_installed() -> bool:
    """Whether Dovecot with IMAP is on this machine; whether it is set up does not matter."""
    return Path(_DOVECOT).exists() and Path("/usr/lib/dovecot/imap").exists()


class ImapServer:
    """One server below `folder`; every user name is let in with `password` and sees `mails`. For a `with` statement."""

    port, tls_port = 143, 993
    password = "of-the-lab"

    def __init__(self, folder: Path, *, mails: Path, user: str) -> None:
        self.certificate = folder / "cert.pem"
        self._folder, self._mails, self._user = folder, mails, user
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start, and wait until it greets. Raises RelayError with its last words when it does not."""
        self._folder.mkdir()
        self._folder.chmod(0o755)
        self._make_certificate()
        configuration = self._folder / "dovecot.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=self._folder,
                mails=self._mails,
                user=self._user,
                password=self.password,
                port=self.port,
                tls_port=self.tls_port,
            )
        )
        with (self._folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [_DOVECOT, "-F", "-c", str(configuration)], stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._greets():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise RelayError(f"Dovecot did not start: {self._last_words()}")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
        if problem is not None:
            print(f"--- dovecot\n{self._last_words()}")

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                return connection.recv(4) == b"* OK"
        except OSError:
            return False

    def _last_words(self) -> str:
        texts = [
            path.read_text(errors="replace") for name in ("output", "log") if (path := self._folder / name).exists()
        ]
        return "".join(texts)[-2000:].strip()

    def _make_certificate(self) -> None:
        """Signed by itself, for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "imap.lab.test")])
        now = datetime.datetime.now(datetime.UTC)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        (self._folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        (self._folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        shutil.chown(self._folder / "key.pem", "root")
        (self._folder / "key.pem").chmod(0o600)
