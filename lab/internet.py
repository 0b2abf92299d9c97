"""The private internet: the DNS server, a receiver per domain and their books, started and stopped together.

Made for the namespace (lab/namespace.py): receivers listen on port 25 of 127.0.1.N, where the MX records lead. The table of
domains is lab/domains.py.
"""

from pathlib import Path
from types import TracebackType

from lab.background import Background
from lab.behaviour import Behaviour
from lab.books import Books
from lab.dns_server import DnsServer, Records
from lab.domains import DOMAINS, Pace, make_behaviour
from lab.later import Postman
from lab.namespace import DNS_ADDRESS
from lab.silent import SilentHost
from lab.smtp_server import Receiver

__all__ = ["Internet"]

_FIRST_EXTRA_NUMBER = 100


class Internet:
    """DNS and receivers below one folder: `books.jsonl`, `later-books.jsonl` and, where asked, `mails/`.

    `records` may be added to at any time: the MX of a bounce domain, a DKIM key. Usable in a `with` statement.
    """

    def __init__(self, folder: Path, *, store_mails: bool = False, pace: Pace | None = None) -> None:
        self.records = Records()
        self._books = Books(folder / "books.jsonl")
        self._mail_folder = folder / "mails" if store_mails else None
        self._pace = pace or Pace()
        self._background: Background | None = None
        self._receivers: list[Receiver] = []
        self._dns = DnsServer(self.records, DNS_ADDRESS)
        self._silent: list[SilentHost] = []

    def start(self) -> None:
        """Start all. Raises RelayError when an address is taken."""
        self._background = Background()
        try:
            self._background.call(self._dns.start())
            postman = Postman(self._books, dns_host=DNS_ADDRESS)
            for domain in DOMAINS:
                self._add_records(domain.name, domain.ip)
                behaviour = make_behaviour(domain, postman, self._pace)
                if behaviour is not None:
                    self._listen(domain.name, behaviour, domain.ip)
                elif domain.name == "silent.test":
                    self._silent.append(SilentHost(domain.ip))
                    self._silent[-1].start()
        except BaseException:
            self.stop()
            raise

    def add(self, domain: str, behaviour: Behaviour) -> str:
        """Start one more receiver with its MX and A records, and return its address."""
        ip = f"127.0.1.{_FIRST_EXTRA_NUMBER + len(self._receivers)}"
        self._add_records(domain, ip)
        self._listen(domain, behaviour, ip)
        return ip

    def books(self) -> Books:
        """What the receivers said of every recipient."""
        return self._books

    def stop(self) -> None:
        """Stop all; the books stay."""
        if self._background is None:
            return
        for receiver in self._receivers:
            self._background.call(receiver.stop())
        self._background.call(self._dns.stop())
        for silent in self._silent:
            silent.stop()
        self._background.stop()
        self._background = None

    def __enter__(self) -> "Internet":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _listen(self, name: str, behaviour: Behaviour, ip: str) -> None:
        if self._background is None:
            raise RuntimeError("start the internet before adding to it")
        receiver = Receiver(
            name.removesuffix(".test"),
            behaviour,
            self._books,
            hostname=f"mx.{name}",
            host=ip,
            mail_folder=self._mail_folder,
        )
        self._background.call(receiver.start())
        self._receivers.append(receiver)

    def _add_records(self, name: str, ip: str) -> None:
        """MX and A where a host is meant to be; the odd domains one by one."""
        if ip:
            self.records.add(name, "MX", f"10 mx.{name}.")
            self.records.add(f"mx.{name}", "A", ip)
        elif name == "nullmx.test":
            self.records.add(name, "MX", "0 .")
        elif name == "nomx.test":
            self.records.add(name, "TXT", "v=spf1 -all")
        elif name == "lostmx.test":
            self.records.add(name, "MX", "10 mx.nowhere.test.")
        elif name == "servfail.test":
            self.records.fail(name)
        elif name == "loopy.test":
            self.records.add(name, "MX", "10 mx.loopy.test.")
            self.records.add("mx.loopy.test", "A", "127.0.0.1")
