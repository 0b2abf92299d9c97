"""The whole line on the private internet: Postfix with our snippets, the relay, the follower and the ingester.

Each service is a process of its own, as systemd would run it, so that each can be killed and started again. Nothing
here knows more than an operator does: Postfix is attached by `omicard-relay postfix install`, keys come from
`omicard-relay dkim keygen`.
Works in the lab's namespace only (lab/namespace.py).
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from lab.behaviour import Behaviour
from lab.campaign import Campaign
from lab.internet import Internet
from lab.postfix import PrivatePostfix, SmtpdService
from lab.submit import Submission
from omicard_relay.mail import RelayError
from omicard_relay.store import Store, open_store

__all__ = ["BOUNCE_DOMAIN", "SENDER_DOMAIN", "Line"]

SENDER_DOMAIN = "shop.test"
BOUNCE_DOMAIN = "bounces.shop.test"
#: Where the MX of the bounce domain leads: Postfix's own port 25.
_HOME = "127.0.2.1"
_RELAY, _REINJECT, _LMTP, _SMTPD = 10025, 10026, 10027, 2525
_SERVICES = ("ingest", "relay", "follow")
_START_SECONDS = 90.0
#: What a service without a greeting says when it is ready.
_SIGNS = {"follow": b"event=follow-start", "steer": b"event=steer-ready"}

_CONFIGURATION = """\
data_dir = "data"

[relay]
hostname = "relay.lab.test"
port = {relay}
next_port = {reinject}
doubt_seconds = 5

[return_path]
domain = "{bounces}"
{off_for}

[follow]
files = ["{log}"]

[ingest]
port = {lmtp}
socket = "{socket}"
"""


class Line:
    """One line below one folder; usable in a `with` statement.

    `filtered`: Postfix takes the mail and gives it to the relay as its content filter; else clients submit to the relay.
    `bounces`: by which snippet they come home. `signed`: whether reverse-paths are signed. `say` hears what is being done.
    `extra_configuration`: for a table of the configuration ("relay"; "": the top), the lines that are added to it;
    `{postfix}` in them is the configuration folder of its Postfix.
    `snippets` are attached beside the line's own, `services` run beside them.
    `ingest_user` runs the ingester and the pipe, by `ingest_python` (both must be reachable for that user); None: as we are.
    """

    def __init__(
        self,
        folder: Path,
        *,
        filtered: bool = False,
        bounces: str = "bounce-lmtp",
        signed: bool = True,
        store_mails: bool = False,
        ingest_user: str | None = None,
        ingest_python: Sequence[str] = (sys.executable,),
        postfix_settings: Mapping[str, str] | None = None,
        extra_configuration: Mapping[str, str] | None = None,
        snippets: Sequence[str] = (),
        services: Sequence[str] = (),
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder = folder
        self.internet = Internet(folder / "internet", store_mails=store_mails)
        self.postfix = PrivatePostfix(
            folder / "postfix",
            hostname="relay.lab.test",
            listen=[SmtpdService(address=f"127.0.0.1:{_SMTPD}"), SmtpdService(address=f"{_HOME}:25")],
            extra_main=postfix_settings,
        )
        self.configuration = folder / "omicard-relay.toml"
        self._filtered, self._bounces, self._signed = filtered, bounces, signed
        self._ingest_user, self._ingest_python = ingest_user, tuple(ingest_python)
        self._extra_configuration = dict(extra_configuration or {})
        self._snippets, self._services = tuple(snippets), (*_SERVICES, *services)
        self._say = say
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all, one after the other. Raises RelayError with what did not start."""
        self._say("private internet: DNS and receivers")
        self.internet.start()
        self.internet.add(SENDER_DOMAIN, Behaviour())
        self.internet.records.add(BOUNCE_DOMAIN, "MX", f"10 mx.{BOUNCE_DOMAIN}.")
        self.internet.records.add(f"mx.{BOUNCE_DOMAIN}", "A", _HOME)
        self._say("private Postfix")
        self.postfix.start()
        self._configure()
        self._make_keys()
        self._attach()
        # The ingester comes first: what it makes in the data folder belongs to its user, and root may use that too.
        for name in self._services:
            self._say(f"service {name}")
            self.start_service(name)

    def stop(self) -> None:
        """Stop all, the services first; what was stored stays."""
        for name in tuple(self._processes):
            self.stop_service(name)
        with contextlib.suppress(RelayError):
            self.postfix.stop()
        self.internet.stop()

    def submission(self, *, connections: int = 8, recipients_per_transaction: int = 1) -> Submission:
        """How a client submits to this line."""
        return Submission(
            host="127.0.0.1",
            port=_SMTPD if self._filtered else _RELAY,
            reverse_path=f"news@{SENDER_DOMAIN}",
            connections=connections,
            recipients_per_transaction=recipients_per_transaction,
        )

    def fill_lists(self, campaign: Campaign) -> None:
        """Put the campaign's list members on their lists, through `omicard-relay lists import`."""
        for name, values in campaign.lists.items():
            if values:
                self.omicard("lists", "import", name, "-", "--reason", "known before", given="\n".join(values) + "\n")

    def omicard(self, *arguments: str, given: str = "", python: Sequence[str] = (sys.executable,)) -> str:
        """Run an `omicard-relay` command and return what it printed. Raises RelayError when it fails."""
        command = self.command(*arguments, python=python)
        result = subprocess.run(
            command, input=given, capture_output=True, text=True, check=False, env=self._environment()
        )
        if result.returncode:
            raise RelayError(f"`omicard-relay {' '.join(arguments)}` failed: {result.stderr.strip() or result.stdout}")
        return result.stdout

    def command(self, *arguments: str, python: Sequence[str] = (sys.executable,)) -> list[str]:
        """The words that start `omicard-relay` with this line's configuration."""
        return [*python, "-m", "omicard_relay", "--config", str(self.configuration), "--lang", "en", *arguments]

    def start_service(self, name: str) -> None:
        """Start one service and wait until it answers. Raises RelayError when it does not, with its last words."""
        log = self.service_log(name)
        with log.open("ab") as output:
            start = log.stat().st_size
            python = self._ingest_python if name == "ingest" else (sys.executable,)
            process = subprocess.Popen(
                self.command("serve", name, python=python),
                stdout=output,
                stderr=output,
                env=self._environment(),
                user=self._ingest_user if name == "ingest" else None,
            )
        self._processes[name] = process
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers(name, start):
            if process.poll() is not None or time.monotonic() > deadline:
                words = log.read_text(errors="replace").strip().splitlines()
                raise RelayError(f"the service {name} did not start: {words[-1] if words else 'it said nothing'}")
            time.sleep(0.05)

    def pid(self, name: str) -> int:
        """The process of a service that runs."""
        return self._processes[name].pid

    def kill_service(self, name: str) -> None:
        """kill -9."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def stop_service(self, name: str) -> None:
        """SIGTERM, and wait."""
        process = self._processes.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def service_log(self, name: str) -> Path:
        """What a service prints."""
        return self.folder / f"{name}.log"

    def store(self) -> Store:
        """The line's store, opened for reading."""
        return open_store(f"sqlite:///{self.folder / 'data' / 'relay.db'}", create=False)

    def __enter__(self) -> "Line":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _configure(self) -> None:
        (self.folder / "data").mkdir(exist_ok=True)
        if self._ingest_user:
            shutil.chown(self.folder / "data", self._ingest_user)
        # A Unix socket's name has at most 107 octets (unix(7)): in a deep folder it goes elsewhere.
        path = self.folder / "data" / "ingest.sock"
        short = "ingest.sock" if len(str(path)) < 100 else f"/run/omicard-lab-{os.getpid()}.sock"
        text = _CONFIGURATION.format(
            relay=_RELAY,
            reinject=_REINJECT,
            lmtp=_LMTP,
            bounces=BOUNCE_DOMAIN,
            log=self.postfix.log,
            socket=short,
            off_for="" if self._signed else f'off_for = ["{SENDER_DOMAIN}"]',
        )
        for table, lines in self._extra_configuration.items():
            lines = lines.replace("{postfix}", str(self.postfix.config))
            if not table:
                text = f"{lines.rstrip()}\n{text}"
                continue
            text = text if f"[{table}]\n" in text else f"{text}\n[{table}]\n"
            text = text.replace(f"[{table}]\n", f"[{table}]\n{lines.rstrip()}\n")
        self.configuration.write_text(text)

    def _make_keys(self) -> None:
        """An RSA and an Ed25519 key, with their records in the DNS."""
        for algorithm in ("rsa", "ed25519"):
            key = self.folder / f"dkim-{algorithm}.pem"
            key.unlink(missing_ok=True)
            self.omicard(
                *("dkim", "keygen", "--domain", SENDER_DOMAIN, "--selector", algorithm),
                *("--algorithm", algorithm, "--out", str(key)),
            )
            with self.configuration.open("a") as file:
                file.write(
                    f'\n[[dkim]]\ndomain = "{SENDER_DOMAIN}"\nselector = "{algorithm}"\nkey_file = "{key.name}"\n'
                )
        for record in self._records():
            self.internet.records.add(*record)

    def _records(self) -> Iterable[tuple[str, str, str]]:
        from omicard_relay.services.keyfiles import load_dkim_key
        from omicard_relay.signing.dns_record import record_text
        from omicard_relay.tables.settings import load_settings

        for item in load_settings(self.configuration).dkim:
            key = load_dkim_key(item)
            yield key.dns_name, "TXT", record_text(key)

    def _attach(self) -> None:
        snippets = ["reinject", self._bounces, *(["content-filter"] if self._filtered else []), *self._snippets]
        words = [word for name in snippets for word in ("--with", name)]
        user = self._ingest_user or "nobody"
        install = ("postfix", "install", "--config-dir", str(self.postfix.config), "--user", user, *words)
        self.omicard(*install, python=self._ingest_python)
        self.postfix.reload()
        _wait_for_port(_REINJECT)

    def _answers(self, name: str, start: int) -> bool:
        if name == "relay":
            return _greets(_RELAY)
        if name == "ingest":
            return _greets(_LMTP)
        with self.service_log(name).open("rb") as file:
            file.seek(start)
            return _SIGNS.get(name, b"event=follow-start") in file.read()

    def _environment(self) -> dict[str, str]:
        checkout = str(Path(__file__).resolve().parent.parent)
        python_path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), checkout]))
        return {**os.environ, "PYTHONPATH": python_path, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


def wipe(folder: Path) -> None:
    """Remove what an earlier run left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            greeting = connection.recv(512)
            connection.sendall(b"QUIT\r\n")
            return greeting.startswith(b"220")
    except OSError:
        return False


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _greets(port):
        if time.monotonic() > deadline:
            raise RelayError(f"Postfix does not answer on port {port} after its reload.")
        time.sleep(0.05)
