"""`bounce ingest`: one mail on standard input, from Postfix's pipe(8). Exit 0 when it is stored, 75 whatever else happens.

Any other exit makes Postfix bounce a mail whose reverse-path is null, and so lose it. The mail goes to the running
service by its socket; without one this process stores it by itself. Nothing is printed on standard output, and nothing
that begins like an enhanced status code: Postfix would read it as its own.
"""

import os
import socket
import sys
from pathlib import Path

import click

from omicard_relay.wire.netstring import NetstringReader, encode

__all__ = ["command"]

EX_TEMPFAIL = 75
#: Seconds to wait for the running service: below Postfix's command_time_limit of 1000 s, above a busy store's patience.
_SERVICE_SECONDS = 60.0


@click.command("ingest", short_help="Store one bounce from standard input (the pipe target).")
@click.option("--sender", default="", help="Envelope sender.")
@click.option("--recipient", default="", help="Envelope recipient, with its signed token.")
@click.option("--queue-id", default="", help="Postfix's queue id.")
@click.pass_context
def command(ctx: click.Context, sender: str, recipient: str, queue_id: str) -> None:
    """Store one bounce mail from standard input. Exit 0 when it is stored, else 75: Postfix tries again."""
    try:
        _ingest(ctx, sender, recipient, queue_id)
    except BaseException as error:  # whatever happens here must end in 75, or a bounce is lost
        _complain(error)
        # Not sys.exit: nothing of Python's own shutdown may change the status any more.
        os._exit(EX_TEMPFAIL)


def _ingest(ctx: click.Context, sender: str, recipient: str, queue_id: str) -> None:
    from omicard_relay.cli.context import settings_of

    settings = settings_of(ctx)
    raw, cut = _read_all(settings.ingest.size_limit)
    if (
        settings.ingest.socket
        and not cut
        and _by_service(settings.data_path(settings.ingest.socket), sender, recipient, queue_id, raw)
    ):
        return
    from omicard_relay.services.ingest import make_ingester
    from omicard_relay.store.engine import open_store

    store = open_store(settings.store_url, busy_seconds=settings.store.busy_seconds)
    make_ingester(settings, store).take(raw, sender=sender, recipient=recipient, cut=cut)
    store.close()


def _read_all(limit: int) -> tuple[bytes, bool]:
    """Standard input up to the limit; the rest is read and let go, so that Postfix sees no broken pipe."""
    raw = sys.stdin.buffer.read(limit)
    cut = False
    while sys.stdin.buffer.read(1 << 16):
        cut = True
    return raw, cut


def _by_service(path: Path, sender: str, recipient: str, queue_id: str, raw: bytes) -> bool:
    """Whether the running service has stored it; False when there is none. Raises when it answers that it could not."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SERVICE_SECONDS)
        try:
            connection.connect(str(path))
        except OSError:
            return False
        values = (
            sender.encode(errors="replace"),
            recipient.encode(errors="replace"),
            queue_id.encode(errors="replace"),
            raw,
        )
        connection.sendall(b"".join(map(encode, values)))
        reader = NetstringReader(10_000)
        answers: list[bytes] = []
        while not answers:
            data = connection.recv(10_000)
            if not data:
                raise ConnectionError("the ingest service went away before it answered")
            answers = reader.feed(data)
    if answers[0] != b"OK":
        raise RuntimeError(answers[0].decode(errors="replace"))
    return True


def _complain(error: BaseException) -> None:
    try:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        sys.stderr.write(f"omicard-relay: bounce not stored, Postfix will try again: {text!a}\n")
        sys.stderr.flush()
    except Exception:  # standard error may be closed; the exit status says enough
        return
