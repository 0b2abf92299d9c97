"""Mails of people -> a Maildir, or a forward address by Postfix: each that waits, whatever crashed before.

A Maildir gets a mail exactly once. The mail is written whole into `tmp`, then the store says that this draft is the one,
then it is moved into `new`: whoever comes after a crash finds in the store which draft to move, and writes no second one.
Of several machines on one store each has its own Maildir, unless that is on a shared disk: a draft is moved where it is.
A forward address gets a mail again when we die between Postfix's 250 and our note of it: one mail a crash, at most.
The sender never hears of it: a forwarded mail has a null reverse-path, and nothing here answers.
What fails is tried again, ever more seldom, and never given up: it stands in the store and in `report`.
"""

import asyncio
import contextlib
import logging
import os
import re
import secrets
import smtplib
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Self

from omicard_relay.mail import StoreError, one_line
from omicard_relay.services.answers import trace_line
from omicard_relay.store import answers, bounces
from omicard_relay.store.answers import WaitingMail
from omicard_relay.store.engine import Store
from omicard_relay.tables.settings import Settings

__all__ = ["HandOn", "hand_on_quietly", "serve_answers"]

log = logging.getLogger(__name__)

#: For so long a mail is its taker's alone; for a forward longer than one mail can take (six steps, and the content's two).
_LEASE, _FORWARD_LEASE = timedelta(seconds=60), timedelta(seconds=180)
_SMTP_SECONDS = 8.0
#: For the answer to the content: Postfix asks its milters first, and who does not wait for its 250 sends the mail again
#: (RFC 5321 §4.5.3.2.6 wants ten minutes, but a service that is told to stop is killed sooner).
_CONTENT_SECONDS = 60.0
#: The pipe, which Postfix waits for, gives the hand-over less time.
_PIPE_SECONDS, _PIPE_CONTENT_SECONDS = 2.0, 20.0
#: Mails that are put into the Maildir with one note in the store: their drafts are in memory together.
_AT_ONCE = 20
#: Seconds between two looks for what waits, besides those when a mail comes.
_LOOK_SECONDS = 15.0
#: Seconds until the next try: first, and at most. A refusal for good (5xx) is a matter for a person.
_AGAIN, _AGAIN_REFUSED = (30.0, 3600.0), (600.0, 86_400.0)
_LINE_END = re.compile(rb"\r\n|\r|\n")


class HandOn:
    """Hands on what waits. `run` may be called in any thread, and in several processes at once."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        smtp_seconds: float = _SMTP_SECONDS,
        content_seconds: float = _CONTENT_SECONDS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._clock = store, clock
        self._forward = settings.answers.forward
        self._mailbox = settings.data_path(settings.answers.mailbox) if settings.answers.mailbox else None
        self._sender = partial(
            _Sender,
            settings.relay.next_host,
            settings.relay.next_port,
            # Not smtplib's own getfqdn(), which may wait for the DNS.
            settings.relay.hostname or socket.gethostname(),
            smtp_seconds,
            content_seconds,
        )

    def run(self, most: int | None = None) -> int:
        """Hand on what is due (None: all); gives how many are settled for now. Raises StoreError."""
        done = 0
        while (most is None or done < most) and self._is_due():
            wanted = _AT_ONCE if most is None else min(_AT_ONCE, most - done)
            if self._forward:
                count = self._forward_some(wanted)
            elif self._mailbox is not None:
                count = self._place_some(self._mailbox, wanted)
            else:
                return done
            done += count
            if not count:
                return done
        return done

    def _is_due(self) -> bool:
        """Asked without the lock that every writer wants."""
        with self._store.read() as tx:
            due = answers.next_due(tx)
        return due is not None and due <= self._clock()

    # ------------------------------------------------------------------ the Maildir

    def _place_some(self, mailbox: Path, most: int) -> int:
        with self._store.write() as tx:
            mails = answers.take_waiting(tx, now=self._clock(), lease=_LEASE, most=most)
        failed: dict[str, str] = {}
        drafts: dict[str, str] = {}
        for mail in mails:
            try:
                drafts[mail.digest] = mail.placing or str(_write_draft(mailbox, mail, self._clock()))
            except OSError as error:
                failed[mail.digest] = f"{mailbox}: cannot be written ({error.strerror or error})"
        if any(not mail.placing for mail in mails):
            with self._store.write() as tx:
                for mail in mails:
                    draft = drafts.get(mail.digest)
                    if (
                        draft
                        and not mail.placing
                        and not answers.begin_placing(tx, mail.digest, draft, now=self._clock())
                    ):
                        # Our lease ran out, and another one has placed it meanwhile.
                        Path(drafts.pop(mail.digest)).unlink(missing_ok=True)
        for digest, draft in drafts.items():
            try:
                drafts[digest] = str(_place(Path(draft)))
            except OSError as error:
                failed[digest] = f"{draft}: cannot be moved to its place ({error.strerror or error})"
        return self._note([mail for mail in mails if mail.digest in drafts or mail.digest in failed], drafts, failed)

    # ------------------------------------------------------------------ the forward address

    def _forward_some(self, most: int) -> int:
        """One after the other over one connection, each taken when its turn comes; ends early where Postfix is away."""
        done = 0
        with self._sender() as sender:
            while done < most:
                with self._store.write() as tx:
                    mails = answers.take_waiting(tx, now=self._clock(), lease=_FORWARD_LEASE, most=1)
                if not mails:
                    return done
                mail = mails[0]
                try:
                    if mail.placing:
                        # Begun while a Maildir was set: the draft is its only copy.
                        note = str(_place(Path(mail.placing)))
                    else:
                        content = _LINE_END.sub(b"\r\n", trace_line(mail.digest, self._clock()) + mail.raw)
                        note = f"{self._forward}: {sender.send(self._forward, content)}"
                except _RefusedError as error:
                    done += 1
                    self._note(mails, {}, {mail.digest: str(error)}, again=_AGAIN_REFUSED)
                except (OSError, smtplib.SMTPException) as error:
                    self._note(mails, {}, {mail.digest: f"Postfix does not take it: {one_line(str(error), 200)}"})
                    return done
                else:
                    done += 1
                    self._note(mails, {mail.digest: note}, {})
        return done

    # ------------------------------------------------------------------ both

    def _note(
        self,
        mails: list[WaitingMail],
        done: dict[str, str],
        failed: dict[str, str],
        *,
        again: tuple[float, float] = _AGAIN,
    ) -> int:
        now = self._clock()
        with self._store.write() as tx:
            for mail in mails:
                if mail.digest in failed:
                    seconds = min(again[0] * 2 ** min(mail.tries, 20), again[1])
                    answers.put_off(tx, mail, failed[mail.digest], until=now + timedelta(seconds=seconds))
                else:
                    answers.close_mail(tx, mail.digest, done[mail.digest], now=now)
            if failed:
                bounces.count(tx, "answers.failed-tries", len(failed))
            if len(mails) > len(failed):
                bounces.count(tx, "answers.handed-on", len(mails) - len(failed))
        for mail in mails:
            if why := failed.get(mail.digest):
                log.error(
                    "event=answer-waits digest=%s tries=%d why=%r", mail.digest[:16], mail.tries + 1, one_line(why)
                )
            else:
                log.info("event=answer-handed-on digest=%s to=%s", mail.digest[:16], one_line(done[mail.digest]))
        return len(mails) - len(failed)


def hand_on_quietly(store: Store, settings: Settings) -> None:
    """For a process that has stored a mail by itself: try one hand-over, and leave what fails to the service."""
    try:
        HandOn(store, settings, smtp_seconds=_PIPE_SECONDS, content_seconds=_PIPE_CONTENT_SECONDS).run(most=1)
    except Exception as error:
        log.warning("event=answer-waits why=%r", one_line(str(error), 200))


async def serve_answers(hand_on: HandOn, wake: asyncio.Event, stop: asyncio.Event) -> None:
    """Hand on what waits: at the start, when `wake` is set, and every few seconds, until `stop` is set."""
    while not stop.is_set():
        wake.clear()
        try:
            await asyncio.to_thread(hand_on.run)
        except StoreError as error:
            log.error("event=answers-store-failed error=%r", str(error))
        except Exception:
            # It must not take the ingester with it: what waits is tried again.
            log.exception("event=answers-bug")
        waiting = [asyncio.create_task(event.wait()) for event in (wake, stop)]
        await asyncio.wait(waiting, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()


# ---------------------------------------------------------------------- a Maildir's files


def _write_draft(mailbox: Path, mail: WaitingMail, now: datetime) -> Path:
    """The mail, on the disk, in `tmp`. Raises OSError, and leaves nothing then."""
    for name in ("tmp", "new", "cur"):
        (mailbox / name).mkdir(mode=0o770, parents=True, exist_ok=True)
    # Named by the digest; behind `~` the machine on whose disk it is, and what makes two drafts of one mail different.
    name = f"{int(mail.received.timestamp())}.{mail.digest[:32]}.omicard-relay"
    draft = mailbox / "tmp" / f"{name}~{_machine()}~{secrets.token_hex(6)}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(trace_line(mail.digest, now) + mail.raw.replace(b"\r\n", b"\n"))
            file.flush()
            os.fsync(handle)
        _sync(draft.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    return draft


def _place(draft: Path) -> Path:
    """Move a draft into `new`; one that is gone has been moved before. Raises OSError, also for another machine's draft."""
    name, _, rest = draft.name.partition("~")
    machine = rest.rpartition("~")[0]
    place = draft.parent.parent / "new" / name
    try:
        draft.rename(place)
    except FileNotFoundError:
        if machine and machine != _machine():
            raise OSError(None, f"it is on {machine}, whose service has to move it") from None
    _sync(place.parent)
    return place


def _machine() -> str:
    """This machine's name, as far as it fits into a file's."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname()[:64])


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---------------------------------------------------------------------- SMTP to our own Postfix


class _RefusedError(Exception):
    """Postfix refuses this mail for good."""


class _Sender:
    """One connection to Postfix, made when it is needed first."""

    def __init__(self, host: str, port: int, hostname: str, seconds: float, content: float) -> None:
        self._host, self._port, self._hostname = host, port, hostname
        self._seconds, self._content_seconds = seconds, content
        self._smtp: smtplib.SMTP | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._smtp is not None:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                self._smtp.quit()

    def send(self, address: str, content: bytes) -> str:
        """Hand one mail over from the null reverse-path; gives what Postfix said to it.

        Raises _RefusedError at a 5xx, else OSError or SMTPException.
        """
        if self._smtp is None:
            self._smtp = smtplib.SMTP(self._host, self._port, self._hostname, self._seconds)
            self._smtp.ehlo_or_helo_if_needed()
        body = ["BODY=8BITMIME"] if self._smtp.has_extn("8bitmime") and not content.isascii() else []
        answers = (
            lambda smtp: smtp.mail("", body),
            lambda smtp: smtp.rcpt(address),
            lambda smtp: smtp.data(content),
        )
        said = ""
        for ask, seconds in zip(answers, (self._seconds, self._seconds, self._content_seconds), strict=True):
            if self._smtp.sock is not None:
                self._smtp.sock.settimeout(seconds)
            try:
                code, text = ask(self._smtp)
            except smtplib.SMTPDataError as error:
                code, text = error.smtp_code, error.smtp_error if isinstance(error.smtp_error, bytes) else b""
            said = f"{code} {one_line(text.decode('utf-8', 'replace'), 200)}"
            if code >= 400:
                self._smtp.rset()
                raise _RefusedError(said) if code >= 500 else smtplib.SMTPException(said)
        return said
