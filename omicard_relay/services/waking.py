"""Waking what has rested: `postqueue -i` for each mail that is due, or one `postqueue -f` where very many are.

`postqueue -i` names one mail and walks no queue; it runs in a bounded number of processes. A fault of Postfix's is counted,
for its own schedule takes such a mail up all the same.
Not here: when a mail is due (steering/).
Known limits: `postqueue -f` also wakes mails that still rest; the exceptions table has an answer for those.
"""

import asyncio
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from omicard_relay.mail import one_line

__all__ = ["Waker", "Woken"]

log = logging.getLogger(__name__)

_TOOL_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/postfix/sbin")
#: Postfix's queue ids, short and long: anything else would be an option, or a file of somebody else's.
_QUEUE_ID = re.compile(r"[0-9A-Za-z]{5,40}")
#: Bytes of complaint that are kept for the log.
_COMPLAINT = 300


class Woken(msgspec.Struct, frozen=True, kw_only=True):
    """How many mails were woken one by one, how many could not be; `flushed`: all were, with one command."""

    woken: int = 0
    failed: int = 0
    flushed: bool = False


class Waker:
    """Wakes mails of one Postfix. Nothing here raises for a fault of Postfix's."""

    def __init__(
        self,
        config_dir: Path | None = None,
        *,
        parallel: int = 4,
        most: int = 500,
        timeout_seconds: float = 10.0,
        program: str = "postqueue",
    ) -> None:
        """`config_dir`: None takes Postfix's own. More than `most` ids are woken by a flush."""
        self.failures = 0
        self._options = () if config_dir is None else ("-c", str(config_dir.absolute()))
        self._parallel, self._most, self._timeout = parallel, most, timeout_seconds
        path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_TOOL_FOLDERS))
        self._program = shutil.which(program, path=path)

    async def wake(self, queue_ids: Collection[str]) -> Woken:
        """Have Postfix try these mails now. An id that is none of Postfix's counts as failed."""
        ids = list(dict.fromkeys(queue_ids))
        if not ids:
            return Woken()
        good = [one for one in ids if _QUEUE_ID.fullmatch(one)]
        refused = len(ids) - len(good)
        if len(good) > self._most:
            is_done = await self._run("-f")
            done = Woken(failed=refused + (0 if is_done else len(good)), flushed=is_done)
        else:
            waiting = iter(good)  # shared: each worker takes the next one
            results = await asyncio.gather(*(self._work(waiting) for _ in range(min(self._parallel, len(good)))))
            woken = sum(results)
            done = Woken(woken=woken, failed=refused + len(good) - woken)
        self.failures += done.failed
        return done

    async def _work(self, waiting: Iterator[str]) -> int:
        count = 0
        for queue_id in waiting:
            count += await self._run("-i", queue_id)
        return count

    async def _run(self, *arguments: str) -> bool:
        """Whether it went well within the time; a command that hangs is killed."""
        if self._program is None:
            log.error("event=wake-failed error='there is no postqueue; is Postfix installed here?'")
            return False
        try:
            process = await asyncio.create_subprocess_exec(
                self._program,
                *self._options,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            log.error("event=wake-failed error=%r", one_line(str(error)))
            return False
        try:
            async with asyncio.timeout(self._timeout):
                _, said = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            log.warning("event=wake-failed id=%s error='no answer within %g s'", arguments[-1], self._timeout)
            return False
        except BaseException:
            process.kill()
            raise
        if process.returncode:
            words = one_line(said.decode("utf-8", "replace"), _COMPLAINT)
            log.warning("event=wake-failed id=%s status=%d error=%r", arguments[-1], process.returncode, words)
        return process.returncode == 0
