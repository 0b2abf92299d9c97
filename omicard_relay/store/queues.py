"""What the log tells of queue ids, gathered over a batch of lines and written once for each id.

A mail has four or five lines that only say something of its queue id (client, message-id, queue active, removed). Each by
itself would cost a statement; here they wait in memory until `flush`, in the transaction of the batch. Whoever needs to
know an id's origin before that asks `QueueNotes.origin`, which looks at what waits first.
Not here: what follows from a note for a recipient in doubt (store/attempts.py).
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import queue

__all__ = ["QueueNotes"]

#: What can be told later than the first line (`seen`), in columns.
_TOLD = ("message_id", "sender", "orig_queue_id", "active", "removed", "notice_of")
_NOTHING: dict[str, str | datetime | None] = dict.fromkeys(_TOLD)


def _upsert(new: sqlite.Insert | postgresql.Insert) -> sa.Insert:
    """A row for an id that is new; of one that is there, what is told replaces what was, the rest stays."""
    told = {name: sa.func.coalesce(new.excluded[name], queue.c[name]) for name in _TOLD}
    return new.on_conflict_do_update(index_elements=[queue.c.queue_id], set_=told)


# Made once, as making a statement costs more than running it; by dialect, since SQL has no common word for the conflict.
_UPSERT = {"sqlite": _upsert(sqlite.insert(queue)), "postgresql": _upsert(postgresql.insert(queue))}
_ORIGIN = sa.select(queue.c.orig_queue_id).where(queue.c.queue_id == sa.bindparam("queue"))


class QueueNotes:
    """The notes of one transaction; `flush` before it ends, or they are lost."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._waiting: dict[str, dict[str, str | datetime | None]] = {}

    def note(
        self,
        queue_id: str,
        *,
        time: datetime,
        message_id: str | None = None,
        sender: str | None = None,
        orig_queue_id: str | None = None,
        active: datetime | None = None,
        removed: datetime | None = None,
        notice_of: str | None = None,
    ) -> None:
        """One line told this of a queue id; None: it did not speak of it. `time` is kept of the first line only."""
        row = self._waiting.setdefault(queue_id, {"queue_id": queue_id, "seen": time, **_NOTHING})
        told = (message_id, sender, orig_queue_id, active, removed, notice_of)
        row.update((name, value) for name, value in zip(_TOLD, told, strict=True) if value is not None)

    def origin(self, queue_id: str) -> str | None:
        """The id under which the mail came to Postfix (XFORWARD IDENT), as far as the log has told it."""
        waiting = self._waiting.get(queue_id, _NOTHING)["orig_queue_id"]
        if waiting is not None:
            return str(waiting)
        return self._tx.execute(_ORIGIN, {"queue": queue_id}).scalar()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            self._tx.execute(_UPSERT[self._tx.dialect.name], list(self._waiting.values()))
            self._waiting.clear()
