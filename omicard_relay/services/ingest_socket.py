"""The pipe's way to the running ingester: a Unix socket, so that no bounce costs a whole program start with its tables.

The light client (cli/pipe_client.py) sends `+` and netstrings: envelope sender, envelope recipient, queue id, the mail in
pieces, and an empty one, which ends it. Without the `+` the fourth is the whole mail. The server answers one netstring:
`OK`, or a sentence on why not; and closes. What is above the size limit is read and let go.
"""

import asyncio
import logging
import os
import socket
import stat
from pathlib import Path

from omicard_relay.mail.errors import RelayError, StoreError, WireError
from omicard_relay.services.ingest import FloodError
from omicard_relay.services.ingest_intake import Intake, Place
from omicard_relay.wire.netstring import NetstringReader, encode

__all__ = ["serve_socket"]

log = logging.getLogger(__name__)

#: Seconds in which a client must have sent its mail: it reads it from Postfix's pipe before it connects.
_CLIENT_SECONDS = 30
#: Connections that may wait to be taken up: Postfix starts no more processes at once than master.cf lets it.
_BACKLOG = 512
#: Octets that are read at once, and octets of one netstring of a client that sends pieces.
_CHUNK, _PIECE_LIMIT = 1 << 18, 1 << 20
#: Seconds that a living service has to answer a knock at its socket.
_PROBE_SECONDS = 2.0


async def serve_socket(intake: Intake, path: Path, stop: asyncio.Event) -> None:
    """Take mails at the socket until `stop` is set. Raises RelayError when the socket cannot be made."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with intake.place() as place:
                answer = await _answer(intake, place, reader)
            writer.write(encode(answer))
            await writer.drain()
        except ConnectionError:
            return  # the client gave up: Postfix will bring the mail again
        finally:
            writer.close()

    try:
        _clear(path)
        server = await asyncio.start_unix_server(client, str(path), limit=_CHUNK, backlog=_BACKLOG)
        # The pipe runs as the service's own user (postfix/bounce-pipe), so that it can also store by itself.
        path.chmod(0o660)
    except OSError as error:
        raise RelayError(
            f"{path}: the socket cannot be made ({error.strerror or error}); set `ingest.socket` or mend the folder."
        ) from None
    log.info("event=ingest-socket path=%s", path)
    try:
        await stop.wait()
    finally:
        server.close()
        path.unlink(missing_ok=True)


async def _answer(intake: Intake, place: Place, reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(_CLIENT_SECONDS):
            (sender, recipient, _queue_id), raw, cut = await _receive(reader, place, intake.size_limit)
        await intake.take(
            raw,
            sender=sender.decode(errors="replace"),
            recipient=recipient.decode(errors="replace"),
            cut=cut,
        )
        return b"OK"
    except FloodError as error:
        # The service tells of a flood once a minute; here it would be once a mail.
        return f"not stored: {error}".encode()
    except (StoreError, WireError, TimeoutError, EOFError, ConnectionError) as error:
        why = str(error) or type(error).__name__
        log.error("event=ingest-failed error=%r", why)
        return f"not stored: {why}".encode(errors="replace")
    except Exception:
        # Our own fault must not lose a bounce: the client ends with 75, and Postfix tries again.
        log.exception("event=ingest-bug")
        return b"not stored: an error of our own, see the log"


async def _receive(reader: asyncio.StreamReader, place: Place, size_limit: int) -> tuple[list[bytes], bytes, bool]:
    """Envelope, mail and whether it was cut. Raises WireError, EOFError."""
    data = await reader.read(_CHUNK)
    in_pieces = data.startswith(b"+")
    data = data.removeprefix(b"+")
    parser = NetstringReader(_PIECE_LIMIT if in_pieces else size_limit)
    envelope: list[bytes] = []
    raw, received, cut = bytearray(), 0, False
    while data:
        received += len(data)
        await place.grow(min(received, size_limit + _PIECE_LIMIT))
        for value in parser.feed(data):
            if len(envelope) < 3:
                envelope.append(value)
                continue
            room = size_limit - len(raw)
            raw += value[:room]
            cut = cut or len(value) > room
            if not value or not in_pieces:
                return envelope, bytes(raw), cut
        data = await reader.read(_CHUNK)
    raise EOFError("the client went away before the mail was whole")


def _clear(path: Path) -> None:
    """Take a dead service's socket away; refuse where a living one answers. Raises RelayError or OSError."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise RelayError(f"{path}: is no socket; move it away, or set `ingest.socket` to another path.")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    with socket.socket(socket.AF_UNIX) as probe:
        # A service with a full backlog would let us wait; that it lives is all we ask.
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except (TimeoutError, BlockingIOError):
            pass
    raise RelayError(f"{path}: another ingester is running there; stop it first.")
