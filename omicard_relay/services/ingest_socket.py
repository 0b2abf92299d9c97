"""The pipe's way to the running ingester: a Unix socket, so that no bounce costs a whole program start with its tables.

The client sends four netstrings: envelope sender, envelope recipient, queue id, the mail. The server answers one: `OK`, or a
sentence on why not. The client needs no library beyond Python's own, so that it starts fast.
"""

import asyncio
import logging
import os
import socket
import stat
from pathlib import Path

from omicard_relay.mail.errors import RelayError, StoreError, WireError
from omicard_relay.services.ingest import Ingester
from omicard_relay.wire.netstring import NetstringReader, encode

__all__ = ["serve_socket"]

log = logging.getLogger(__name__)

#: Seconds in which a client must have sent its mail: it reads it from Postfix's pipe before it connects.
_CLIENT_SECONDS = 30
#: Mails that are being read at once: bounds memory at this times the size limit.
_AT_ONCE = 8
#: Seconds that a living service has to answer a knock at its socket.
_PROBE_SECONDS = 2.0


async def serve_socket(ingester: Ingester, path: Path, stop: asyncio.Event) -> None:
    """Take mails at the socket until `stop` is set. Raises RelayError when the socket cannot be made."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with places:
            answer = await _answer(ingester, reader)
        try:
            writer.write(encode(answer))
            await writer.drain()
        except ConnectionError:
            return  # the client gave up: Postfix will bring the mail again
        finally:
            writer.close()

    try:
        _clear(path)
        server = await asyncio.start_unix_server(client, str(path), limit=1 << 20)
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


async def _answer(ingester: Ingester, reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(_CLIENT_SECONDS):
            sender, recipient, _queue_id, raw = await _receive(reader, ingester.size_limit)
        await asyncio.to_thread(
            ingester.take, raw, sender=sender.decode(errors="replace"), recipient=recipient.decode(errors="replace")
        )
        return b"OK"
    except (StoreError, WireError, TimeoutError, EOFError, ConnectionError) as error:
        why = str(error) or type(error).__name__
        log.error("event=ingest-failed error=%r", why)
        return f"not stored: {why}".encode(errors="replace")
    except Exception:
        # Our own fault must not lose a bounce: the client ends with 75, and Postfix tries again.
        log.exception("event=ingest-bug")
        return b"not stored: an error of our own, see the log"


async def _receive(reader: asyncio.StreamReader, size_limit: int) -> list[bytes]:
    parser = NetstringReader(size_limit + 1)
    values: list[bytes] = []
    while len(values) < 4:
        data = await reader.read(1 << 18)
        if not data:
            raise EOFError("the client went away before the mail was whole")
        values += parser.feed(data)
    return values[:4]


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
