"""The status filter alone, as a process that can be killed and stopped: the shipped rules, acting, no steering behind it."""

import asyncio
import sys

import uvloop

from omicard_relay.services.rulebook import Rulebook
from omicard_relay.services.statusfilter import FilterMode, StatusFilter
from omicard_relay.services.statusfilterd import serve_status_filter
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.suppress import load_suppress


async def main() -> None:
    """Serve until killed; one line says that it listens."""
    status_filter = StatusFilter(Rulebook.of(load_policies(), load_suppress()), mode=FilterMode.ACT)
    await serve_status_filter(
        status_filter,
        "127.0.0.1",
        int(sys.argv[1]),
        asyncio.Event(),
        on_listening=lambda port: print("listening", flush=True),
    )


uvloop.run(main())
