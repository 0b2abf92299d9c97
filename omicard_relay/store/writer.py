"""One thread that writes: many small jobs become one durable transaction (group commit).

A service hands in a job and waits for its future; the job's writes are on disk when the future is done. A job that
fails is rolled back by itself (a savepoint) and fails alone; a commit that fails, fails all of its batch.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from omicard_relay.mail import StoreBusyError, StoreError
from omicard_relay.store.engine import Store, Tx

__all__ = ["Writer"]

T = TypeVar("T")
_Item = tuple[Callable[[Tx], object], "Future[object]"]

#: Jobs in one transaction at most: a few milliseconds of work, so that nobody waits long for the others.
_BATCH = 64


class Writer:
    """A writing thread over a store. At most `capacity` jobs wait; above, `submit` fails at once with StoreBusyError."""

    def __init__(self, store: Store, *, capacity: int = 2000) -> None:
        self._store = store
        self._jobs: queue.Queue[_Item | None] = queue.Queue(capacity)
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[Tx], T]) -> "Future[T]":
        """Run `job(tx)` soon; the future gives its result once it is on disk, or raises what failed."""
        future: Future[T] = Future()
        try:
            self._jobs.put_nowait((job, future))  # type: ignore[arg-type]
        except queue.Full:
            future.set_exception(StoreBusyError("the store is behind with writing; try again."))
        return future

    def close(self) -> None:
        """Write what waits, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._jobs.get()) is not None:
            batch, ended = [first], False
            while len(batch) < _BATCH:
                try:
                    item = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    ended = True
                    break
                batch.append(item)
            self._write(batch)
            if ended:
                return

    def _write(self, batch: list[_Item]) -> None:
        results: list[tuple[Future[object], object, BaseException | None]] = []
        try:
            with self._store.write() as tx:
                for job, future in batch:
                    try:
                        with tx.begin_nested():
                            results.append((future, job(tx), None))
                    except Exception as error:  # the job's own failure is its caller's to see
                        results.append((future, None, error))
        except StoreError as error:
            for _, future in batch:
                future.set_exception(error)
            return
        for future, result, failure in results:
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(result)
