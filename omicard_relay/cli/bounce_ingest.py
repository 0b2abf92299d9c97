"""`bounce ingest`: one mail on standard input, from Postfix's pipe(8). Exit 0 when it is stored, 75 whatever else happens.

Any other exit makes Postfix bounce a mail whose reverse-path is null, and so lose it. The mail goes to the running
service by its socket, with the code of the light client (cli/pipe_client.py), which Postfix's own line calls first;
without a service this process stores it by itself. Nothing is printed on standard output, and nothing that begins like
an enhanced status code: Postfix would read it as its own.
"""

import os
import sys
from datetime import UTC, datetime

import click

from omicard_relay.cli.pipe_client import EX_TEMPFAIL, complain, hand_over

__all__ = ["command"]


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
        complain(error)
        # Not sys.exit: nothing of Python's own shutdown may change the status any more.
        os._exit(EX_TEMPFAIL)


def _ingest(ctx: click.Context, sender: str, recipient: str, queue_id: str) -> None:
    from omicard_relay.cli.context import settings_of

    settings = settings_of(ctx)
    path = settings.data_path(settings.ingest.socket)
    values = [value.encode(errors="surrogateescape") for value in (sender, recipient, queue_id)]
    if settings.ingest.socket and hand_over(os.fsencode(path), *values):
        return
    from omicard_relay.services.forgetkey import forget_key
    from omicard_relay.services.handing_on import hand_on_quietly
    from omicard_relay.services.ingest import make_ingester
    from omicard_relay.services.rulebook import open_rulebook
    from omicard_relay.services.suppression import settle_quietly
    from omicard_relay.store.engine import open_store

    raw, cut = _read_all(settings.ingest.size_limit)
    store = open_store(settings.store_url, busy_seconds=settings.store.busy_seconds, hider=forget_key(settings))
    rulebook = open_rulebook(settings, store)
    make_ingester(settings, store, rulebook).take(raw, sender=sender, recipient=recipient, cut=cut)
    hand_on_quietly(store, settings)
    settle_quietly(store, rulebook.current.suppress, now=datetime.now(UTC))
    store.close()


def _read_all(limit: int) -> tuple[bytes, bool]:
    """Standard input up to the limit; the rest is read and let go, so that Postfix sees no broken pipe."""
    raw = sys.stdin.buffer.read(limit)
    cut = False
    while sys.stdin.buffer.read(1 << 16):
        cut = True
    return raw, cut
