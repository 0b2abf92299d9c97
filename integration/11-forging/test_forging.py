"""10,000 forged bounces change no list, and one true bounce counts once, though it comes 10,000 times."""

import json
import smtplib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from lab.campaign import Campaign, Planned
from lab.domains import domain_named
from lab.line import BOUNCE_DOMAIN, Line
from lab.submit import submit
from lab.waiting import assert_settles, wait_until
from omicard_relay.services.keyfiles import load_return_path
from omicard_relay.signing import ReturnPathKeys, ReturnPathSigner
from omicard_relay.store import bounces, schema
from omicard_relay.store.failures import failure_times
from omicard_relay.tables.settings import load_settings

_RECIPIENTS, _FORGED, _THROUGH_POSTFIX, _AGAIN = 20, 10_000, 300, 10_000
_CONNECTIONS = 32
_LMTP, _HOME = ("127.0.0.1", 10027), ("127.0.2.1", 25)
#: The bound on unproven mail is another scenario's (12): here all of it is to be read, judged and stored.
_UNBOUNDED = {"ingest": "unproven_per_minute = 10000000\nunproven_octets_per_hour = 10000000000"}

_REPORT = """\
{trace}From: Mail Delivery System <MAILER-DAEMON@far.test>
To: <{path}>
Subject: Undelivered mail returned
Message-ID: <{name}@far.test>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="x"

--x
Content-Type: message/delivery-status

Reporting-MTA: dns; {host}
{queue}
Final-Recipient: rfc822;{address}
Action: failed
Status: {status}
Diagnostic-Code: smtp; {words}

--x
Content-Type: text/rfc822-headers

Message-ID: {message_id}

--x--
"""
_COMPLAINT = """\
From: <fbl@far.test>
To: <{path}>
Subject: complaint
Message-ID: <{name}@far.test>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="x"

--x
Content-Type: message/feedback-report

Feedback-Type: abuse
Original-Mail-From: <{path}>
Original-Rcpt-To: <{address}>
Version: 1

--x
Content-Type: message/rfc822

Message-ID: {message_id}

hello

--x--
"""
_MOVED = """\
From: {address}
To: <{path}>
Subject: Automatic reply
Message-ID: <{name}@far.test>
Auto-Submitted: auto-replied

I have left this address for good. My new address is evil{name}@far.test
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ours:
    """One recipient of ours, as whoever has seen all of our mail and our log could know it, but for the token."""

    address: str
    path: str
    queue_id: str
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mail:
    recipient: str
    text: str
    sender: str = ""


def test_forged_bounces_change_no_list_and_a_true_one_counts_once(make_line: Callable[..., Line]) -> None:
    line = make_line(extra_configuration=_UNBOUNDED)
    campaign = _delivered()
    submit(campaign, line.submission())
    assert_settles(line, campaign)
    known = _ours(line)
    assert len(known) == _RECIPIENTS
    line.omicard("suppress", "add", known[0].address, "--reason", "by hand", "--code", "901", "--days", "30")
    before = _lists(line)

    # --- lies
    forged = list(_forgeries(line, known))
    assert len(forged) == _FORGED
    _send(forged[:-_THROUGH_POSTFIX], _by_lmtp)
    _send(forged[-_THROUGH_POSTFIX:], _by_smtp)
    wait_until(lambda: _claimed(line) >= _FORGED, "every forged bounce is counted", seconds=60)
    assert _claimed(line) == _FORGED
    counted = _counters(line)
    for name in ("bounce.unproven", "bounce.forged", "bounce.too-old", "complaint.claimed"):
        assert counted[name] > 1000, name
    assert _trusts(line) == {"claimed"}
    assert _lists(line) == before
    why = [json.loads(told) for told in line.omicard("suppress", "why", "--jsonl", known[0].address).splitlines()]
    assert [told["what"] for told in why if told["what"] != "claim"] == ["known-bounce"]
    assert sum(told["count"] for told in why if told["what"] == "claim") == _FORGED // _RECIPIENTS

    # --- one truth, ten thousand times
    target = known[2]
    _send([_true(target, number, "5.2.2", "552 5.2.2 mailbox full") for number in range(_AGAIN)], _by_lmtp)
    store = line.store()
    with store.read() as tx:
        assert len(failure_times(tx, target.address, 901, since=datetime(2000, 1, 1, tzinfo=UTC))) == 1
    store.close()
    assert _lists(line) == before  # three mails would suppress

    # --- what a person took off stays off
    gone = known[3]
    _send([_true(gone, 0, "5.1.1", "550 5.1.1 no such user")], _by_lmtp)
    assert gone.address in line.omicard("suppress", "list", "--jsonl")
    line.omicard("suppress", "remove", gone.address, "--note", "it works again")
    _send([_true(gone, number, "5.1.1", "550 5.1.1 no such user") for number in range(1, 200)], _by_lmtp)
    assert gone.address not in line.omicard("suppress", "list", "--jsonl")


def _delivered() -> Campaign:
    row = domain_named("good.test")
    planned = [
        Planned(address=f"forged{number}@{row.name}", domain=row.name, fate=row.fate, bounce_code=row.bounce_code)
        for number in range(_RECIPIENTS)
    ]
    return Campaign(name="forging", recipients=tuple(planned), lists={})


def _ours(line: Line) -> list[_Ours]:
    recipient, submission = schema.recipient.c, schema.submission.c
    store = line.store()
    with store.read() as tx:
        rows = tx.execute(
            sa.select(recipient.address, recipient.reverse_path, recipient.queue_id, submission.message_id)
            .join(schema.submission)
            .order_by(recipient.id)
        ).all()
    store.close()
    return [_Ours(address=row[0], path=row[1], queue_id=row[2], message_id=row[3]) for row in rows]


def _forgeries(line: Line, known: Sequence[_Ours]) -> Iterator[_Mail]:
    """Each kind of wrong token with each kind of mail, in turn."""
    ours = load_return_path(load_settings(line.configuration))
    assert ours is not None
    theirs = ReturnPathSigner(
        keys=ReturnPathKeys(secrets={ours.keys.signing_id: b"not the secret of ours"}), domain=ours.domain
    )
    today = int(datetime.now(UTC).timestamp()) // 86_400
    for number in range(_FORGED):
        one = known[number % len(known)]
        nonce = number.to_bytes(5, "big")
        place = 4 + number % 30
        paths = (
            f"b@{BOUNCE_DOMAIN}",
            f"b+{number}@{BOUNCE_DOMAIN}",
            ours.make(one.address, day=today - 31 - number % 300, nonce=nonce),
            ours.make(one.address, day=today + 9, nonce=nonce),
            theirs.make(one.address, day=today, nonce=nonce),
            one.path[:place] + ("a" if one.path[place] != "a" else "b") + one.path[place + 1 :],
        )
        path = paths[number // len(known) % len(paths)]
        told = {"path": path, "name": f"n{number}", "address": one.address, "message_id": one.message_id}
        form = number // (len(known) * len(paths)) % 4
        if form == 0:
            yield _Mail(recipient=path, text=_COMPLAINT.format(**told))
        elif form == 1:
            yield _Mail(recipient=path, text=_MOVED.format(**told))
        else:
            # As our own Postfix's notice would look, or as another host's.
            trace = "Received: by relay.lab.test (Postfix)\n\tid 4QFORGED; Tue, 24 Nov 2026 08:00:00 +0000\n"
            how = {"trace": trace, "host": "relay.lab.test", "queue": f"X-Postfix-Queue-ID: {one.queue_id}\n"}
            plain = {"trace": "", "host": "far.test", "queue": ""}
            status = {"status": "5.1.1", "words": "550 5.1.1 no such user"}
            yield _Mail(recipient=path, text=_REPORT.format(**told, **status, **(how if form == 2 else plain)))


def _true(one: _Ours, number: int, status: str, words: str) -> _Mail:
    """The bounce of the one recipient's own server, which has got the token with the mail; every second as it was."""
    trace = f"Received: from x{number}.far.test by y.far.test; now\n" if number % 2 else ""
    text = _REPORT.format(
        trace=trace,
        path=one.path,
        name="true",
        host="far.test",
        queue="",
        address=one.address,
        status=status,
        words=words,
        message_id=one.message_id,
    )
    path = one.path if number % 3 else one.path.upper()
    return _Mail(recipient=path, text=text, sender="" if number % 5 else f"x{number}@far.test")


def _send(mails: Sequence[_Mail], how: Callable[[Sequence[_Mail]], None]) -> None:
    """All of them, over some connections at once; whatever fails there fails the scenario."""
    failed: list[BaseException] = []

    def run(part: Sequence[_Mail]) -> None:
        try:
            how(part)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(mails[n::_CONNECTIONS],)) for n in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


def _by_lmtp(mails: Sequence[_Mail]) -> None:
    with smtplib.LMTP(*_LMTP) as client:
        client.ehlo_or_helo_if_needed()
        for mail in mails:
            client.sendmail(mail.sender, [mail.recipient], mail.text)


def _by_smtp(mails: Sequence[_Mail]) -> None:
    with smtplib.SMTP(*_HOME) as client:
        for mail in mails:
            client.sendmail(mail.sender, [mail.recipient], mail.text)


def _counters(line: Line) -> dict[str, int]:
    store = line.store()
    with store.read() as tx:
        found = bounces.counters(tx)
    store.close()
    return found


def _claimed(line: Line) -> int:
    counted = _counters(line)
    return sum(counted.get(f"bounce.{name}", 0) for name in ("unproven", "forged", "too-old", "again"))


def _trusts(line: Line) -> set[str]:
    store = line.store()
    with store.read() as tx:
        found = set(tx.execute(sa.select(schema.bounce_mail.c.trust).distinct()).scalars())
        found |= set(tx.execute(sa.select(schema.bounce_report.c.trust).distinct()).scalars())
    store.close()
    return found


def _lists(line: Line) -> tuple[str, str]:
    """Every entry that holds, and every change that was ever made."""
    return line.omicard("lists", "list", "--jsonl"), line.omicard("lists", "history", "--jsonl")
