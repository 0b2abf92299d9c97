"""One thread that writes: many small jobs become one durable transaction (group commit).

A service hands in a job and waits for its future; the job's writes are on disk when the future is done. A job that
fails is rolled back by itself (a savepoint) and fails alone; a commit that fails, or a lock, disk or connection that is
lost under a job, fails all of its batch. A job whose future is cancelled before its turn is not run.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from omicard_relay.mail import StoreBusyError, StoreError
from omicard_relay.store.engine import Store, Tx, translate

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
        self._closed = False
        self._door = threading.Lock()  # no job may slip in behind the end mark, where nobody would run it
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[Tx], T]) -> "Future[T]":
        """Run `job(tx)` soon; the future gives its result once it is on disk, or raises what failed."""
        future: Future[T] = Future()
        with self._door:
            if self._closed:
                future.set_exception(StoreError("the store is being closed; nothing more is written."))
                return future
            try:
                self._jobs.put_nowait((job, future))  # type: ignore[arg-type]
            except queue.Full:
                future.set_exception(StoreBusyError("the store is behind with writing; try again."))
        return future

    def close(self) -> None:
        """Write what waits, then end the thread."""
        with self._door:
            was_closed, self._closed = self._closed, True
        if not was_closed:
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
            # From here on the futures cannot be cancelled any more; one that was, is not run.
            self._write([item for item in batch if item[1].set_running_or_notify_cancel()])
            if ended:
                return

    def _write(self, batch: list[_Item]) -> None:
        results: list[tuple[Future[object], object, BaseException | None]] = []
        try:
            with self._store.write() as tx:
                for job, future in batch:
                    results.append((future, *self._run_one(tx, job)))
        except BaseException as error:  # the thread must outlive whatever it is: all others wait for it
            for _, future in batch:
                future.set_exception(error)
            return
        for future, result, failure in results:
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(result)

    def _run_one(self, tx: Tx, job: Callable[[Tx], object]) -> tuple[object, BaseException | None]:
        """The job's result or its own failure. Raises what has broken the whole transaction."""
        try:
            with tx.begin_nested():
                return job(tx), None
        except (IntegrityError, DataError) as error:
            return None, translate(error, self._store.shown)
        except SQLAlchemyError:
            raise  # a lock, the disk or the connection: SQLite may have rolled all of it back by itself
        except Exception as error:  # the caller's to see
            return None, error
