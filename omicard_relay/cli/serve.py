"""`serve`: run the relay, the follower, the ingester and steering, one or several in a process, until SIGTERM or Ctrl-C.

When one of them ends with an error the others are stopped too, and the exit status is 1: the service manager starts all anew.
Not here: the running itself (services/running.py).
"""

import logging
import sys

import click

from omicard_relay.cli.context import open_configured_store, settings_of

__all__ = ["command"]

_SERVICES = ("relay", "follow", "ingest", "steer")


@click.command("serve", short_help="Run the services.")
@click.argument("services", nargs=-1, type=click.Choice(_SERVICES))
@click.option(
    "--log-level", default="INFO", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]), show_default=True
)
@click.pass_context
def command(ctx: click.Context, services: tuple[str, ...], log_level: str) -> None:
    """Run SERVICES (all of them when none is named) until SIGTERM or Ctrl-C."""
    from omicard_relay.services.running import run_services

    logging.basicConfig(
        stream=sys.stderr, level=log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    # aiosmtpd logs every command, with addresses and content, at INFO.
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    # Alembic tells its steps in lines of its own form.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings = settings_of(ctx)
    store = open_configured_store(settings)
    try:
        run_services(services or _SERVICES, settings, store)
    finally:
        store.close()
