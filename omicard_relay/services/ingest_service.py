"""The ingest service: LMTP and the pipe's socket over one ingester, with one writer for all that comes at the same moment."""

import asyncio
import contextlib

from omicard_relay.services.handing_on import HandOn, serve_answers
from omicard_relay.services.ingest import make_ingester
from omicard_relay.services.ingest_intake import Intake
from omicard_relay.services.ingest_lmtp import serve_lmtp
from omicard_relay.services.ingest_socket import serve_socket
from omicard_relay.services.ports import port_error
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.store.engine import Store
from omicard_relay.store.writer import Writer
from omicard_relay.tables.settings import IngestSettings, Settings

__all__ = ["serve_ingest"]


async def serve_ingest(settings: Settings, store: Store, rulebook: Rulebook, stop: asyncio.Event) -> None:
    """Take bounces until `stop` is set. Raises RelayError when a port, the socket or a key is wrong."""
    writer = Writer(store)
    own = settings.ingest
    loop, waits = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended; the next start finds what waits
            loop.call_soon_threadsafe(waits.set)

    try:
        ingester = make_ingester(settings, store, rulebook, writer=writer, wake=wake)
        intake = Intake(ingester, memory_limit=own.memory_limit)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_lmtp(intake, own, stop))
                tasks.create_task(serve_answers(HandOn(store, settings), waits, stop))
                if own.socket:
                    tasks.create_task(serve_socket(intake, settings.data_path(own.socket), stop))
        finally:
            intake.close()
    finally:
        writer.close()


async def _lmtp(intake: Intake, own: IngestSettings, stop: asyncio.Event) -> None:
    try:
        await serve_lmtp(intake, own.host, own.port, stop)
    except OSError as error:
        raise port_error(error, own.host, own.port, "ingest.port") from None
