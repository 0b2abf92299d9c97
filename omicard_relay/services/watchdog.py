"""systemd's watchdog: a service that no longer turns its loop is started anew (sd_notify(3), systemd.service(5) WatchdogSec=).

READY=1 once, then WATCHDOG=1 three times in each period, from the very loop that must not hang; without systemd nothing.
Not here: the units (postfix/systemd/).
Known limits: a thread that hangs beside a loop that turns is only seen by `is_well`.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress

__all__ = ["tell_watchdog"]


async def tell_watchdog(stop: asyncio.Event, *, is_well: Callable[[], bool] = lambda: True) -> None:
    """Tell systemd that this loop turns, until `stop`. While `is_well` says no, nothing is told, and systemd acts."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        await stop.wait()
        return
    _tell(address, "READY=1")
    pause = _period() / 3
    while not stop.is_set():
        if pause and is_well():
            _tell(address, "WATCHDOG=1")
        try:
            await asyncio.wait_for(stop.wait(), pause or None)
        except TimeoutError:
            continue
    _tell(address, "STOPPING=1")


def _period() -> float:
    """Seconds in which systemd wants to hear from this very process; 0: it does not."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0, int(os.environ.get("WATCHDOG_USEC", "0"))) / 1_000_000
    except ValueError:
        return 0.0


def _tell(address: str, what: str) -> None:
    """One datagram; a name that begins with `@` is Linux's abstract one."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        sender.sendto(what.encode(), "\0" + address[1:] if address.startswith("@") else address)
