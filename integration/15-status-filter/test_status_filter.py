"""Postfix, the status filter and the exceptions table: what is told, and what happens when nobody tells anything."""

import asyncio
import os
import re
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.behaviour import Behaviour
from lab.internet import Internet
from lab.postfix import PrivatePostfix, SmtpdService
from lab.receivers import Refuses
from lab.smtp_server import Session
from lab.waiting import wait_until
from omicard_relay.mail import Stage
from omicard_relay.services.exceptions_table import Entry, ExceptionsTable, table_file
from omicard_relay.services.waking import Waker, Woken
from omicard_relay.wire.transports import resting_value, returned_value, transport_value

_PORT, _SMTPD = 10028, 2525
_SENDER = "news@shop.test"
_FIRST, _SECOND = "127.0.2.1", "127.0.2.2"


class RefusesFirst(Behaviour):
    """Refuses each recipient once with one text, then takes it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._seen: set[str] = set()

    async def rcpt(self, session: Session, recipient: str) -> str | None:
        if recipient in self._seen:
            return await super().rcpt(session, recipient)
        self._seen.add(recipient)
        return self._text


class Stand:
    """A private Postfix with `steering` installed, the receivers, and the filter as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.internet = Internet(folder / "internet", store_mails=True)
        self.postfix = PrivatePostfix(
            folder / "postfix", hostname="out.lab.test", listen=[SmtpdService(address=f"127.0.0.1:{_SMTPD}")]
        )
        self.configuration = folder / "relay.toml"
        self.table_path = folder / "data" / "exceptions"
        self._filter: subprocess.Popen[str] | None = None
        (folder / "data").mkdir()
        self.configuration.write_text(
            f'data_dir = "data"\n[steer]\nport = {_PORT}\n'
            f'[[steer.ip]]\nname = "ip1"\naddress = "{_FIRST}"\nhelo = "out1.lab.test"\n'
            f'[[steer.ip]]\nname = "ip2"\naddress = "{_SECOND}"\nhelo = "out2.lab.test"\n'
        )

    def start(self) -> None:
        self.internet.start()
        for domain in ("shop.test", "good.test", "rest.test", "back.test", "second.test", "slow.test"):
            if domain not in _KNOWN:
                self.internet.add(domain, Behaviour())
        self.internet.add("rate.test", RefusesFirst("550 too many messages, try later"))
        self.internet.add("who.test", Refuses(Stage.RCPT, "450 4.1.1 <{recipient}>: user unknown"))
        self.postfix.start()
        self.omicard("postfix", "install", "--config-dir", str(self.postfix.config), "--with", "steering")
        self.postfix.reload()
        self.start_filter()

    def stop(self) -> None:
        self.stop_filter(signal.SIGKILL)
        self.postfix.stop()
        self.internet.stop()

    def start_filter(self) -> None:
        script = Path(__file__).with_name("filter_process.py")
        self._filter = subprocess.Popen(
            [sys.executable, str(script), str(_PORT)], stdout=subprocess.PIPE, text=True, env=self._environment()
        )
        assert self._filter.stdout is not None
        assert self._filter.stdout.readline() == "listening\n"

    def stop_filter(self, how: signal.Signals) -> None:
        if self._filter is not None:
            self._filter.send_signal(how)
            if how is not signal.SIGSTOP:
                self._filter.wait(20)

    def omicard(self, *words: str) -> str:
        command = [sys.executable, "-m", "omicard_relay", "--config", str(self.configuration), "--lang", "en", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment())
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def submit(self, *recipients: str) -> list[str]:
        """A mail to each; the queue ids. smtpd must take every one."""
        ids = []
        with smtplib.SMTP("127.0.0.1", _SMTPD, local_hostname="app.lab.test", timeout=30) as client:
            for recipient in recipients:
                client.mail(_SENDER)
                code, words = client.rcpt(recipient)
                assert code == 250, words
                code, words = client.data(f"Subject: x\r\nMessage-ID: <{recipient}>\r\n\r\nx\r\n")
                assert code == 250, words
                ids.append(words.decode().rpartition(" ")[2])
        return ids

    def log(self) -> str:
        return self.postfix.log.read_text(errors="replace")

    def fates(self, recipient: str) -> list[str]:
        """The delivery lines about one recipient, from `relay=` on."""
        return re.findall(rf"to=<{re.escape(recipient)}>, (relay=.*)", self.log())

    def wait_for(self, recipient: str, words: str, seconds: float = 60) -> str:
        wait_until(lambda: any(words in fate for fate in self.fates(recipient)), f"{recipient}: {words}", seconds)
        return next(fate for fate in self.fates(recipient) if words in fate)

    def put(self, *entries: Entry) -> None:
        with ExceptionsTable(self.table_path) as table:
            table.apply(entries)

    def clients(self, recipient: str) -> list[str]:
        """The addresses from which this recipient's mail was taken."""
        return [entry.client for entry in self.internet.books().entries(recipient=recipient) if entry.accepted]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


_KNOWN = frozenset({"good.test", "slow.test"})


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    made = Stand(tmp_path_factory.mktemp("stand"))
    try:
        made.start()
        yield made
    finally:
        made.stop()
        print(made.log()[-4000:] if made.postfix.log.exists() else "no log")


def later(seconds: float = 600) -> float:
    return time.time() + seconds


# --- the status filter ------------------------------------------------------------------------------------------------


def test_a_5xx_that_means_later_is_tried_again_and_delivered(stand: Stand) -> None:
    stand.submit("ann@rate.test")
    fate = stand.wait_for("ann@rate.test", "status=")
    assert re.search(
        r"dsn=4\.7\.1, status=deferred \(\[921\] host mx\.rate\.test\[[0-9.]+\] said: "
        r"550 too many messages, try later \(in reply to RCPT TO command\)\)",
        fate,
    )
    assert "dsn=2.0.0" in stand.wait_for("ann@rate.test", "status=sent")
    assert len(stand.clients("ann@rate.test")) == 1


def test_a_4xx_that_is_final_is_returned_at_once_with_the_whole_reply(stand: Stand) -> None:
    (queue_id,) = stand.submit("bob@who.test")
    fate = stand.wait_for("bob@who.test", "status=")
    assert "status=bounced" in fate
    assert "dsn=5.1.1" in fate
    assert re.search(
        r"\(\[902\] host mx\.who\.test\[[0-9.]+\] said: 450 4\.1\.1 <bob@who\.test>: user unknown \(in", fate
    )
    assert len(stand.fates("bob@who.test")) == 1
    books = stand.internet.books()
    assert books.wait_until(lambda: any(entry.recipient == _SENDER for entry in books.entries()), 30)
    report = next(Path(entry.path).read_text() for entry in books.entries(recipient=_SENDER) if entry.accepted)
    flat = " ".join(report.split())
    assert "Action: failed" in flat
    assert "Status: 5.1.1" in flat
    assert "[902] host mx.who.test" in flat
    assert "450 4.1.1 <bob@who.test>: user unknown" in flat
    assert queue_id in flat


def test_our_own_reader_finds_the_servers_reply_in_such_lines(stand: Stand) -> None:
    out = stand.omicard("log", "parse", str(stand.postfix.log), "--jsonl")
    rows = [line for line in out.splitlines() if "bob@who.test" in line]
    assert len(rows) == 1
    for words in ('"code": "902"', '"stage": "rcpt"', '"status": "bounced"', '"action": "return"'):
        assert words in rows[0]
    assert '"own-answer"' not in rows[0]


# --- the exceptions table ---------------------------------------------------------------------------------------------


def test_ordinary_mail_goes_by_weight_and_an_entry_chooses_another_ip(stand: Stand) -> None:
    stand.put(Entry(key="SECOND.test", value=transport_value("ip2", 3), expires=later()))
    stand.submit("ann@good.test", "ann@second.test")
    stand.wait_for("ann@good.test", "status=sent")
    stand.wait_for("ann@second.test", "status=sent")
    assert stand.clients("ann@second.test") == [_SECOND]
    (client,) = stand.clients("ann@good.test")
    transport = {_FIRST: "ip1", _SECOND: "ip2"}[client]
    assert re.search(rf"postfix/{transport}/smtp\[\d+\]: \w+: to=<ann@good\.test>", stand.log())
    assert re.search(r"postfix/ip2-s3/smtp\[\d+\]: \w+: to=<ann@second\.test>", stand.log())


def test_a_resting_recipient_is_taken_rests_and_goes_when_it_is_woken(stand: Stand) -> None:
    until = datetime.now(UTC) + timedelta(hours=2)
    stand.put(Entry(key="ann@rest.test", value=resting_value(938, until), expires=later()))
    (queue_id,) = stand.submit("ann@rest.test")
    fate = stand.wait_for("ann@rest.test", "status=")
    assert re.search(
        r"relay=none, .*dsn=4\.3\.2, status=deferred \(\[938\] resting until 20\d\d-\d\d-\d\d \d\d:\d\d UTC\)", fate
    )
    assert not stand.internet.books().entries(recipient="ann@rest.test")
    with ExceptionsTable(stand.table_path) as table:
        table.apply(drop=["ann@rest.test"])
    waker = Waker(stand.postfix.config)

    def is_gone() -> bool:
        # The queue manager may remember the last answer for up to 30 s, so that one wake may come too early.
        assert asyncio.run(waker.wake([queue_id])) == Woken(woken=1)
        return bool(stand.clients("ann@rest.test"))

    wait_until(is_gone, "the mail is delivered", 45)


def test_what_is_given_up_is_returned_with_our_words(stand: Stand) -> None:
    words = "host mx.back.test[127.0.1.9] said: 550 5.7.1 Listed, see https://x.test/?ip=127.0.2.1: no"
    stand.put(Entry(key="Ann@back.test", value=returned_value(917, words, "5.7.1"), expires=later()))
    stand.submit("ann@back.test")
    fate = stand.wait_for("ann@back.test", "status=")
    assert f"dsn=5.7.1, status=bounced ([917] returned: {words})" in fate
    books = stand.internet.books()
    assert books.wait_until(
        lambda: any(
            "[917] returned:" in Path(one.path).read_text() for one in books.entries(recipient=_SENDER) if one.path
        ),
        30,
    )


def test_without_any_service_the_command_takes_out_what_has_run_out(stand: Stand) -> None:
    stand.stop_filter(signal.SIGKILL)
    stand.put(
        Entry(key="eva@rest.test", value=resting_value(938, datetime.now(UTC)), expires=later(2)),
        Entry(key="stays@rest.test", value="ip2:", expires=later()),
    )
    stand.submit("eva@rest.test")
    stand.wait_for("eva@rest.test", "status=deferred")
    wait_until(lambda: "1 entries" in stand.omicard("steer", "expire"), "it has run out", 20)
    # Postfix's own queue run takes it up; no waking.
    stand.wait_for("eva@rest.test", "status=sent", 90)
    assert "stays@rest.test" in stand.omicard("steer", "show", "rest.test")
    assert "eva@rest.test" not in stand.omicard("steer", "show", "rest.test")
    stand.start_filter()


def test_the_table_may_change_a_thousand_times_while_postfix_reads_it(stand: Stand) -> None:
    """No mail may see a broken table, and no process of Postfix's may be started anew for each batch."""
    log_before = len(stand.log())
    recipients = [f"u{number}@good.test" for number in range(40)]
    with ExceptionsTable(stand.table_path) as table:
        for number in range(1000):
            table.apply(
                [
                    Entry(key=f"n{(number * 37 + n) % 5000}@other.test", value="ip2-s5:", expires=later())
                    for n in range(20)
                ],
                [f"n{(number * 11) % 5000}@other.test"],
            )
            if number % 25 == 0:
                stand.submit(recipients[number // 25])
    for recipient in recipients:
        stand.wait_for(recipient, "status=sent")
        assert len(stand.clients(recipient)) == 1
    assert {client for recipient in recipients for client in stand.clients(recipient)} == {_FIRST, _SECOND}
    said = stand.log()[log_before:]
    assert "lmdb" not in said
    assert "address resolver failure" not in said
    assert said.count("has changed -- restarting") == 0


def test_an_ordinary_user_of_the_group_may_wake_without_new_privileges(stand: Stand) -> None:
    """As the systemd unit runs it: NoNewPrivileges, no capabilities, supplementary group postdrop."""
    stand.put(Entry(key="kim@rest.test", value=resting_value(938, datetime.now(UTC)), expires=later()))
    (queue_id,) = stand.submit("kim@rest.test")
    stand.wait_for("kim@rest.test", "status=deferred")
    before = len(stand.fates("kim@rest.test"))
    command = [
        "setpriv",
        "--reuid=nobody",
        "--regid=nogroup",
        "--groups=postdrop",
        "--no-new-privs",
        "--bounding-set=-all",
    ]
    done = subprocess.run(
        [*command, "postqueue", "-c", str(stand.postfix.config), "-i", queue_id],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    wait_until(lambda: len(stand.fates("kim@rest.test")) > before, "it was tried", 20)
    with ExceptionsTable(stand.table_path) as table:
        table.apply(drop=["kim@rest.test"])
    stand.wait_for("kim@rest.test", "status=sent", 90)


def test_without_the_file_mail_waits_and_the_command_makes_it(stand: Stand) -> None:
    table_file(stand.table_path).unlink()
    stand.postfix.reload()  # a resolver that has the file open still reads it
    stand.submit("max@good.test")
    assert "status=deferred" in stand.wait_for("max@good.test", "status=")
    # A resolver that has missed it once looks no more: it takes a reload.
    assert "made, empty; then reload Postfix" in stand.omicard("steer", "expire")
    stand.postfix.reload()
    stand.wait_for("max@good.test", "status=sent", 90)


# --- killed, hung, started again --------------------------------------------------------------------------------------


def test_killed_hung_and_started_again_nothing_is_lost_and_postfix_goes_on(stand: Stand) -> None:
    sent: dict[str, float] = {}

    def burst(name: str) -> list[str]:
        recipients = [f"{name}{number}@good.test" for number in range(8)] + [f"{name}@rate.test", f"{name}@who.test"]
        for recipient in recipients:
            sent[recipient] = time.monotonic()
        stand.submit(*recipients)
        return recipients

    each: dict[str, float] = {}

    def ended(recipients: list[str], seconds: float) -> float:
        """Wait until each has left the queue; the longest time that one took."""
        longest = 0.0
        waiting = set(recipients)
        deadline = time.monotonic() + seconds
        while waiting:
            assert time.monotonic() < deadline, f"still waiting: {sorted(waiting)}"
            for recipient in tuple(waiting):
                if any("status=sent" in fate or "status=bounced" in fate for fate in stand.fates(recipient)):
                    waiting.discard(recipient)
                    each[recipient] = time.monotonic() - sent[recipient]
                    longest = max(longest, each[recipient])
            time.sleep(0.1)
        return longest

    told = {"answering": ended(burst("a"), 60)}
    stand.stop_filter(signal.SIGKILL)
    dead = burst("dead")
    told["killed"] = ended([one for one in dead if "@good" in one or "@rate" in one], 60)
    # Nobody changes a class now: the 550 is final and the 450 waits, as without us.
    assert "dsn=5.0.0, status=bounced (host" in stand.fates("dead@rate.test")[0]
    stand.wait_for("dead@who.test", "dsn=4.1.1, status=deferred (host")
    stand.start_filter()
    told["started again"] = ended(burst("again"), 60)
    assert ended(["dead@who.test"], 60) > 0
    stand.stop_filter(signal.SIGSTOP)
    hung = burst("hung")
    told["hung"] = ended([one for one in hung if "@good" in one], 300)
    stand.stop_filter(signal.SIGKILL)
    stand.start_filter()
    ended([one for one in hung if "@good" not in one], 300)
    told["after all"] = ended(burst("last"), 60)
    # What systemd's watchdog does with one that hangs: it is killed, and the mails that waited for it go on at once.
    stand.stop_filter(signal.SIGSTOP)
    watched = [one for one in burst("watched") if "@good" in one]
    wait_until(lambda: any(stand.clients(one) for one in watched), "the receiver has taken a mail whose end hangs")
    killed = time.monotonic()
    stand.stop_filter(signal.SIGKILL)
    ended(watched, 60)
    told["hung until the watchdog, from its kill on"] = time.monotonic() - killed
    print("longest stop of a mail, in seconds:", {name: round(seconds, 1) for name, seconds in told.items()})
    print("while it hung, each:", {one: round(each[one], 1) for one in hung})
    for recipient in sent:
        if "@good" in recipient:
            assert len(stand.clients(recipient)) == 1, f"{recipient}: {stand.fates(recipient)}"
    assert told["killed"] < 30
    assert told["hung until the watchdog, from its kill on"] < 10
    assert told["hung"] < 220


# --- out again --------------------------------------------------------------------------------------------------------


def test_removed_it_leaves_every_byte_and_mail_flows(stand: Stand) -> None:
    stand.start_filter()
    stand.omicard("postfix", "check", "--config-dir", str(stand.postfix.config), "--with", "steering")
    ours = stand.postfix.config / "omicard-relay"
    first = min(path for path in ours.iterdir() if path.name.startswith("backup-"))
    stand.omicard("postfix", "remove", "--config-dir", str(stand.postfix.config), "--reload")
    for name in ("main.cf", "master.cf"):
        assert (stand.postfix.config / name).read_bytes() == (first / name).read_bytes()
    stand.stop_filter(signal.SIGKILL)
    stand.submit("end@good.test")
    stand.wait_for("end@good.test", "status=sent")
    assert re.search(r" \S*(?<!ip1)/smtp\[\d+\]: \w+: to=<end@good\.test>", stand.log())
