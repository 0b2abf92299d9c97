"""What a step is made of, for the service and for a recomputation alike: folding, evidence out of the store, lanes as rows.

Not here: what is decided (steer_fold.py) and compared (steer_recompute.py).
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence

import msgspec

from omicard_relay.steering.steer import Steer
from omicard_relay.steering.values import Seen
from omicard_relay.store import sightings
from omicard_relay.store.engine import Tx
from omicard_relay.store.sightings import Line
from omicard_relay.store.steering import Step

__all__ = ["NO_EVIDENCE", "evidence_digest", "fold", "lane_rows", "lanes_text", "seen_of_step"]

log = logging.getLogger(__name__)

#: The evidence of a step whose state was made anew.
NO_EVIDENCE = ""


def fold(steer: Steer, seen: Sequence[Seen]) -> None:
    """Learn these in their order. One that cannot be learned, by a fault of ours, is left out, here and in a recomputation."""
    for one in seen:
        try:
            steer.learn(one)
        except Exception:
            log.exception("event=steer-bug attempt=%d note=not-learned", one.id)


def seen_of_step(tx: Tx, step: Step, provider_of: Callable[[str, str], str]) -> tuple[list[Seen], dict[int, Line]]:
    """What a step folded, out of the stored evidence as it is now, with the verdicts of then; and the lines by id."""
    lines = sightings.lines_of(tx, step.attempts, as_of=step.time)
    seen = [sightings.seen_of(lines[one], provider_of) for one in step.attempts if one in lines]
    if step.complaints:
        for complaint in sightings.complaints_of(tx, ids=step.complaints):
            seen.append(sightings.seen_of_complaint(complaint, provider_of))
    return seen, lines


def evidence_digest(seen: Sequence[Seen]) -> str:
    """Names what was folded: 32 hex digits. Of nothing it is a digest, too, never empty."""
    return hashlib.blake2b(msgspec.msgpack.encode(list(seen)), digest_size=16).hexdigest()


def lanes_text(
    steer: Steer, providers: Iterable[str], known: dict[str, object], now: float
) -> tuple[str | None, dict[str, object]]:
    """Those of the providers whose lanes changed since `known`, as JSON (None: none), and what is known now.

    A provider whose lanes are all ordinary again stands there with an empty list.
    """
    fresh: dict[str, object] = {}
    for provider in sorted(providers):
        if rows := lane_rows(steer, provider, now):
            fresh[provider] = rows
    changed = {provider: lanes for provider, lanes in fresh.items() if known.get(provider) != lanes}
    changed |= {provider: [] for provider in known if provider not in fresh}
    return (msgspec.json.encode(dict(sorted(changed.items()))).decode() if changed else None), fresh


def lane_rows(steer: Steer, provider: str, now: float) -> list[object]:
    """The lanes of a provider as [ip, speed, rests until, is probing]; none where they are all ordinary."""
    if steer.is_ordinary(provider, now):
        return []
    return [[lane.ip, lane.speed, lane.rests_until, lane.is_probing] for lane in steer.lanes(provider, now)]
