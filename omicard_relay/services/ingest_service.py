"""The ingest service: LMTP and the pipe's socket over one ingester."""

import asyncio

from omicard_relay.services.ingest import Ingester, make_ingester
from omicard_relay.services.ingest_lmtp import serve_lmtp
from omicard_relay.services.ingest_socket import serve_socket
from omicard_relay.services.ports import port_error
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.store.engine import Store
from omicard_relay.tables.settings import IngestSettings, Settings

__all__ = ["serve_ingest"]


async def serve_ingest(settings: Settings, store: Store, rulebook: Rulebook, stop: asyncio.Event) -> None:
    """Take bounces until `stop` is set. Raises RelayError when a port, the socket or a key is wrong."""
    ingester = make_ingester(settings, store, rulebook)
    own = settings.ingest
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_lmtp(ingester, own, stop))
        if own.socket:
            tasks.create_task(serve_socket(ingester, settings.data_path(own.socket), stop))


async def _lmtp(ingester: Ingester, own: IngestSettings, stop: asyncio.Event) -> None:
    try:
        await serve_lmtp(ingester, own.host, own.port, stop)
    except OSError as error:
        raise port_error(error, own.host, own.port, "ingest.port") from None
