"""`serve`: run the relay, the follower and the ingester, one or several in a process, until SIGTERM or Ctrl-C.

When one of them ends with an error the others are stopped too, and the exit status is 1: the service manager starts all anew.
"""

import asyncio
import logging
import signal
import sys

import click

from omicard_relay.cli.context import open_configured_store, settings_of
from omicard_relay.mail import RelayError

__all__ = ["command"]

_SERVICES = ("relay", "follow", "ingest")


@click.command("serve", short_help="Run the services.")
@click.argument("services", nargs=-1, type=click.Choice(_SERVICES))
@click.option(
    "--log-level", default="INFO", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]), show_default=True
)
@click.pass_context
def command(ctx: click.Context, services: tuple[str, ...], log_level: str) -> None:
    """Run SERVICES (all of them when none is named) until SIGTERM or Ctrl-C."""
    import uvloop

    logging.basicConfig(
        stream=sys.stderr, level=log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    # aiosmtpd logs every command, with addresses and content, at INFO.
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    settings = settings_of(ctx)
    store = open_configured_store(settings)
    wanted = dict.fromkeys(services or _SERVICES)

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            async with asyncio.TaskGroup() as tasks:
                for name in wanted:
                    tasks.create_task(_run_one(name, stop), name=name)
        except* RelayError as group:
            raise RelayError("; ".join(str(error) for error in group.exceptions)) from None

    async def _run_one(name: str, stop: asyncio.Event) -> None:
        try:
            if name == "relay":
                from omicard_relay.services.relay import serve_relay

                await serve_relay(settings, store, stop)
            elif name == "follow":
                from omicard_relay.services.follow import serve_follow

                await serve_follow(settings, store, stop)
            else:
                from omicard_relay.services.ingest_service import serve_ingest

                await serve_ingest(settings, store, stop)
        finally:
            # A service that ended by itself, or failed, ends the others: half a line is worse than a restart.
            stop.set()

    uvloop.run(run())
    store.close()
