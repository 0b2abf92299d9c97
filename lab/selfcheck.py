"""Holds every row of lab/domains.py against a real Postfix: one mail to each domain, then the log is read.

`python -m lab.selfcheck [FOLDER]` prints one JSON object a line and ends with 1 when a row is not as documented; with
`--markdown` it prints the rows of docs/lab.md. Started outside, it goes into the namespace by itself.
It proves the way home too: the mails that receivers send later reach Postfix's own port 25, and by it the receiver
`home.test`.
"""

import json
import re
import smtplib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lab.behaviour import Behaviour
from lab.domains import BIG_OCTETS, DOMAINS, Domain, Fate, domain_named
from lab.internet import Internet
from lab.namespace import enter, inside
from lab.postfix import PrivatePostfix
from lab.postfix_config import SmtpdService
from omicard_relay.mail import RelayError

__all__ = ["check", "main", "markdown_row"]

#: Names the sender of every mail here, and by it the mails that come back.
BOUNCES = "bounces.test"
SUBMISSION = "127.0.0.1:10026"
HOME = "127.0.2.1"
_LINE = re.compile(r": to=<([^>]*)>,.* dsn=([\d.]+), status=(\w+) \((.*)\)$")


def check(folder: Path, timeout_seconds: float = 60) -> Iterator[dict[str, object]]:
    """One result per domain, then the later mails and the second attempt of the greylisted mail."""
    with Internet(folder / "internet", store_mails=True) as internet:
        home = internet.add("home.test", Behaviour())
        internet.records.add(BOUNCES, "MX", f"10 mx.{BOUNCES}.")
        internet.records.add(f"mx.{BOUNCES}", "A", HOME)
        postfix = PrivatePostfix(
            folder / "postfix",
            hostname="relay.lab.test",
            listen=[SmtpdService(address=SUBMISSION), SmtpdService(address=f"{HOME}:25")],
            extra_main={"relay_domains": BOUNCES, "transport_maps": f"inline:{{ {BOUNCES}=smtp:[{home}] }}"},
        )
        with postfix:
            for domain in DOMAINS:
                _submit(domain)
            deadline = time.monotonic() + timeout_seconds
            for domain in DOMAINS:
                yield _result(domain, _first(postfix.log, _address(domain), deadline))
            yield from _later(internet, deadline)


def markdown_row(domain: Domain) -> str:
    """The row of docs/lab.md up to what Postfix logs."""
    receiver = domain.ip or "none"
    code = str(domain.bounce_code or "")
    return f"| `{domain.name}` | {receiver} | {domain.habit} | {domain.fate} | {code} | {domain.dsn} {domain.status} |"


def main(arguments: list[str]) -> int:
    """The command: 0 when every row is as documented."""
    markdown = "--markdown" in arguments
    folders = [argument for argument in arguments if argument != "--markdown"]
    if not inside():
        with tempfile.TemporaryDirectory(prefix="omicard-lab-") as folder:
            place = folders[0] if folders else folder
            return enter(["lab.selfcheck", place, *(["--markdown"] if markdown else [])], Path(place))
    good = True
    for result in check(Path(folders[0])):
        if not markdown:
            print(json.dumps(result), flush=True)
        elif "domain" in result:
            print(f"{markdown_row(domain_named(str(result['domain'])))} `{result['text']}` |", flush=True)
        good = good and bool(result["ok"])
    return 0 if good else 1


def _address(domain: Domain) -> str:
    return f"{domain.example}@{domain.name}"


def _submit(domain: Domain) -> None:
    """One mail straight to Postfix, big enough for those who find mails too big."""
    body = "A line of words that fills the mail.\r\n" * (BIG_OCTETS // 20 if "5.3.4" in domain.dsn else 3)
    content = (
        f"From: News <news@{BOUNCES}>\r\nTo: <{_address(domain)}>\r\nSubject: Self check\r\n"
        f"Message-ID: <{domain.name}@{BOUNCES}>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n{body}"
    )
    host, _, port = SUBMISSION.rpartition(":")
    with smtplib.SMTP(host, int(port), local_hostname="client.lab.test", timeout=20) as client:
        client.sendmail(f"news@{BOUNCES}", [_address(domain)], content.encode())


def _first(log: Path, address: str, deadline: float) -> tuple[str, str, str] | None:
    """Enhanced status code, status and text of the first log line about a recipient; None when none came in time."""
    while time.monotonic() < deadline:
        for line in log.read_text(errors="backslashreplace").splitlines():
            match = _LINE.search(line)
            if match is not None and match.group(1) == address:
                return match.group(2), match.group(3), match.group(4)
        time.sleep(0.1)
    return None


def _result(domain: Domain, seen: tuple[str, str, str] | None) -> dict[str, object]:
    dsn, status, text = seen or ("", "no log line came in time", "")
    good = (dsn, status) == (domain.dsn, domain.status) and domain.says in text
    return {"domain": domain.name, "ok": good, "dsn": dsn, "status": status, "text": text, "documented": domain.says}


def _later(internet: Internet, deadline: float) -> Iterator[dict[str, object]]:
    """The mails that come after: what greylisting takes at last, and what the later families send home."""
    books = internet.books()
    senders = {d.name.removesuffix(".test") for d in DOMAINS if d.fate in (Fate.RETURNED_LATER, Fate.ANSWERED_LATER)}

    def taken(receiver: str) -> bool:
        return any(entry.accepted for entry in books.entries(receiver=receiver))

    def complete() -> bool:
        home = [entry for entry in books.entries(receiver="home") if entry.accepted and entry.reverse_path == ""]
        return (
            taken("grey") and {mail.receiver for mail in books.later_mails()} == senders and len(home) >= len(senders)
        )

    good = books.wait_until(complete, max(1.0, deadline - time.monotonic()))
    delivered = sorted(mail.receiver for mail in books.later_mails() if mail.delivered)
    yield {"later": delivered, "ok": good and set(delivered) == senders}
    yield {"greylisted then taken": taken("grey"), "ok": taken("grey")}


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except RelayError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(1)
