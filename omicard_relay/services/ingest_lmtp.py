"""Bounces over LMTP (RFC 2033): one answer for each recipient after the final dot, as Postfix waits for.

aiosmtpd sends one answer after DATA, whatever the number of recipients; so that DATA is ours here. A recipient whose
mail could not be stored gets 451, and Postfix tries again. No recipient is ever refused for good: a bounce must not
bounce.
"""

import asyncio
import logging
from collections import defaultdict

from aiosmtpd.lmtp import LMTP

from omicard_relay.mail import StoreError, one_line
from omicard_relay.services.ingest import FloodError
from omicard_relay.services.ingest_intake import Intake, Place

__all__ = ["serve_lmtp"]

log = logging.getLogger(__name__)

_LATER = "451 4.3.0 not stored, try again"
_FLOOD = "451 4.7.0 too much unproven mail at the moment, try again"


#: Connections that may wait to be taken up.
_BACKLOG = 512


class _Handler:
    """aiosmtpd's hooks: only the one for our own faults; the commands are in `_Server`."""

    async def handle_exception(self, error: Exception) -> str:
        """Our own fault is a 451, never a lost bounce."""
        log.error("event=ingest-bug", exc_info=error)
        return _LATER


class _Server(LMTP):
    """LMTP that takes a null reverse-path, any envelope parameter, and content of any length (the rest is cut off)."""

    #: Octets read at once; a longer line comes in pieces.
    line_length_limit = 65_536
    #: aiosmtpd's 512 would answer 500 to the address that somebody made too long, and so return the mail.
    command_size_limits: dict[str, int] = defaultdict(lambda: 65_536)  # noqa: RUF012  theirs, shared as it is
    intake: Intake

    async def smtp_MAIL(self, arg: str | None) -> None:
        path = _path(arg, "FROM:")
        if path is None or self.envelope is None or self.session is None or not self.session.host_name:
            await self.push("501 5.5.4 Syntax: MAIL FROM:<reverse-path>, after LHLO")
            return
        self._set_post_data_state()
        self.envelope.mail_from = path
        self.envelope.smtp_utf8 = True
        await self.push("250 2.1.0 Ok")

    async def smtp_RCPT(self, arg: str | None) -> None:
        path = _path(arg, "TO:")
        if not path or self.envelope is None or self.envelope.mail_from is None:
            await self.push("501 5.5.4 Syntax: RCPT TO:<forward-path>, after MAIL")
            return
        self.envelope.rcpt_tos.append(path)
        await self.push("250 2.1.5 Ok")

    async def smtp_DATA(self, arg: str | None) -> None:
        if self.envelope is None or not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 RCPT first")
            return
        async with self.intake.place() as place:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            raw, cut = await self._receive(place, self.intake.size_limit)
            sender, recipients = self.envelope.mail_from or "", list(self.envelope.rcpt_tos)
            self._set_post_data_state()
            # All at once, so that they share a transaction; the answers keep the order of the recipients (RFC 2033 §4.2).
            taking = [asyncio.ensure_future(self._take(raw, sender, recipient, cut)) for recipient in recipients]
            try:
                for each in taking:
                    await self.push(await each)
            finally:
                for each in taking:
                    each.cancel()

    async def _receive(self, place: Place, limit: int) -> tuple[bytes, bool]:
        """The content up to the final dot, dots unstuffed; what is over the limit is read and let go."""
        kept, cut, at_line_start = bytearray(), False, True
        while True:
            try:
                piece = await self._reader.readuntil(b"\r\n")
            except asyncio.LimitOverrunError as error:
                # The separator, or a half of it, stays unread: no line end is ever missed.
                piece = await self._reader.readexactly(max(error.consumed, 1))
            if at_line_start and piece == b".\r\n":
                return bytes(kept), cut
            if at_line_start and piece.startswith(b"."):
                piece = piece[1:]
            at_line_start = piece.endswith(b"\r\n")
            room = limit - len(kept)
            await place.grow(len(kept) + min(len(piece), room))
            kept += piece[:room]
            cut = cut or len(piece) > room

    async def _take(self, raw: bytes, sender: str, recipient: str, cut: bool) -> str:
        try:
            kind = await self.intake.take(raw, sender=sender, recipient=recipient, cut=cut)
        except FloodError:
            return _FLOOD
        except StoreError as error:
            log.error("event=ingest-failed recipient=%s error=%r", one_line(recipient), str(error))
            return _LATER
        except Exception:
            log.exception("event=ingest-bug recipient=%s", one_line(recipient))
            return _LATER
        return f"250 2.0.0 kept as {kind}"


def _path(arg: str | None, keyword: str) -> str | None:
    """What stands between the brackets; parameters behind them are Postfix's business."""
    if arg is None or arg[: len(keyword)].upper() != keyword:
        return None
    text = arg[len(keyword) :].strip()
    end = text.rfind(">") if not text.startswith("<>") else 1
    return text[1:end].strip() if text.startswith("<") and end > 0 else None


async def serve_lmtp(intake: Intake, host: str, port: int, stop: asyncio.Event) -> None:
    """Take bounces over LMTP until `stop` is set. Raises OSError when the port cannot be had."""
    loop = asyncio.get_running_loop()

    def make() -> _Server:
        # No SIZE is offered: Postfix would return what is larger instead of bringing it.
        server = _Server(
            _Handler(),
            data_size_limit=None,
            enable_SMTPUTF8=True,
            hostname="omicard-relay",
            ident="bounce ingest",
            loop=loop,
        )
        server.intake = intake
        return server

    server = await loop.create_server(make, host, port, backlog=_BACKLOG)
    log.info("event=ingest-lmtp host=%s port=%d", host, server.sockets[0].getsockname()[1])
    try:
        await stop.wait()
    finally:
        server.close()
