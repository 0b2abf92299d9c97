"""The steer service: looks at new attempts every moment, decides, writes it down, carries it out, and answers the status
filter.

Nothing here is in a mail's way: dead, hung or slow it leaves Postfix on its own defaults. What rests in the
exceptions table then rests until its entry runs out, which a timer sees to (`omicard-relay steer expire`). A store
that is gone is waited for: nothing new is decided meanwhile, what was decided is carried out.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

from omicard_relay.mail import Action, RelayError, StoreError, Verdict, one_line
from omicard_relay.services.exceptions_table import ExceptionsTable
from omicard_relay.services.postconf import open_postconf
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.services.statusfilter import FilterMode, StatusFilter
from omicard_relay.services.statusfilterd import StatusFilterThread
from omicard_relay.services.steer_acting import Actor
from omicard_relay.services.steer_fold import Folder
from omicard_relay.services.steer_setup import Setup, setup_of
from omicard_relay.services.waking import Waker
from omicard_relay.services.watchdog import tell_watchdog
from omicard_relay.steering.values import Alert
from omicard_relay.store import sightings, steering_waits
from omicard_relay.store.bounces import count
from omicard_relay.store.engine import Store
from omicard_relay.tables.settings import Settings

__all__ = ["names_of", "serve_steer"]

log = logging.getLogger(__name__)

#: Longer than Postfix keeps a mail by default (5 days): what is older waits no more.
_IN_QUEUE = timedelta(days=7)
#: Lines out of which a start learns which domain is whose: some seconds of work.
_RECENT = 100_000
#: Seconds between two looks at the policy's files and two writings of counters; and after which the same alert is
#: told again.
_MINUTE, _ALERT_AGAIN = 60.0, 3600.0
#: Seconds between two tries of a store that failed, doubling up to the second.
_AGAIN_SECONDS = (0.5, 15.0)
_PROGRESS_SECONDS = 5.0
#: A round that lasts longer hangs: systemd then starts the service anew.
_HUNG_SECONDS = 120.0


def names_of(settings: Settings) -> tuple[str, ...]:
    """What the log calls this machine: as configured; else the first part of the host name, as syslog writes it, and that of
    Postfix's `myhostname`, as its own postlogd(8) does. The first one names this node in the store."""
    if settings.steer.machine:
        return (settings.steer.machine,)
    names = [socket.gethostname()]
    try:
        names.append(open_postconf(Path(settings.steer.postfix_dir)).effective("myhostname"))
    except RelayError as error:
        log.warning("event=steer-postconf-failed note=set-steer.machine error=%r", str(error))
    return tuple(dict.fromkeys(name.partition(".")[0] for name in names if name))


async def serve_steer(settings: Settings, store: Store, rulebook: Rulebook, stop: asyncio.Event) -> None:
    """Steer this machine's mail until `stop` is set. Raises RelayError where that cannot be."""
    service = _Service(settings, store, rulebook)
    if settings.steer.mode != "act":
        await asyncio.to_thread(_clear, settings.steer_table)
    if settings.steer.mode == "off":
        log.info("event=steer-off note=nothing-is-learned-or-done")
        await tell_watchdog(stop)
        return
    if not await service.open(stop):
        return
    status_filter = service.start_filter()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tell_watchdog(stop, is_well=service.is_well), name="watchdog")
            tasks.create_task(service.run(stop), name="steer")
    finally:
        status_filter.stop()
        await asyncio.to_thread(service.close)


class _Service:
    def __init__(self, settings: Settings, store: Store, rulebook: Rulebook) -> None:
        self._settings, self._store, self._rulebook = settings, store, rulebook
        names = names_of(settings)
        self._machine, self._names = names[0], frozenset(names)
        setup = self._read_setup()
        self._folder = Folder(store, self._machine, setup, settings.steer.mode, self._names)
        self._waker = Waker(
            Path(settings.steer.postfix_dir), parallel=settings.steer.wake_parallel, most=settings.steer.wake_most
        )
        self._actor: Actor | None = None
        self._filter: StatusFilter | None = None
        self._thread: StatusFilterThread | None = None
        self._counted: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._alerted: dict[tuple[str, str], float] = {}
        self._minute = 0.0
        self._round_at = time.monotonic()

    def _read_setup(self) -> Setup:
        return setup_of(self._settings, machine=self._machine, today=_now().date())

    # --- beginning and end

    async def open(self, stop: asyncio.Event) -> bool:
        """Learn what is stored; False where `stop` came first."""
        start, again = time.monotonic(), _AGAIN_SECONDS[0]
        told = start

        def tell(number: int) -> None:
            nonlocal told
            if time.monotonic() - told >= _PROGRESS_SECONDS:
                told = time.monotonic()
                log.info("event=steer-learning attempts=%d seconds=%.1f", number, told - start)

        while not stop.is_set():
            try:
                how = await asyncio.to_thread(
                    self._folder.open, _now(), learn_days=self._settings.steer.learn_days, tell=tell
                )
                number = await asyncio.to_thread(self._open_actor) if self._settings.steer.mode == "act" else 0
            except StoreError as error:
                log.error("event=steer-store-failed again_seconds=%.1f error=%r", again, str(error))
                await _rest(stop, again)
                again = min(again * 2, _AGAIN_SECONDS[1])
                continue
            log.info(
                "event=steer-ready how=%s seconds=%.2f version=%d step=%d waiting=%d mode=%s machine=%s",
                *(how, time.monotonic() - start, self._folder.steer.state.version, self._folder.number),
                *(number, self._settings.steer.mode, one_line(",".join(sorted(self._names)), 80)),
            )
            return True
        return False

    def _open_actor(self) -> int:
        table = ExceptionsTable(self._settings.steer_table)
        actor = Actor(
            names=self._names,
            table=table,
            mode=self._folder.mode,
            has_other_mail=self._has_other_mail,
            is_gone=self._is_gone,
            limit=self._settings.steer.table_limit,
            most_wakes=self._settings.steer.wake_most,
        )
        since = _now() - _IN_QUEUE
        for line, one in steering_waits.open_decisions(self._store, self._machine, since):
            actor.decide([(line, one)])
        for line in steering_waits.resting_lines(self._store, since):
            actor.see([line], self._folder.setup)
        with self._store.read() as tx:
            recent = sightings.lines_since(tx, since, after=self._folder.reader.top - _RECENT, most=_RECENT)
        actor.learn_domains(recent, self._folder.setup)
        gone = actor.reconcile(self._folder.steer.providers())
        if gone:
            log.info("event=steer-table-cleaned entries=%d", gone)
        self._actor = actor
        return len(actor.waits)

    def start_filter(self) -> StatusFilterThread:
        """The server that Postfix's status filter asks, in a thread of its own."""
        steer = self._settings.steer
        self._filter = StatusFilter(
            self._rulebook,
            mode=FilterMode(steer.mode),
            deadline_seconds=steer.deadline_ms / 1000,
            decide=self._filter_action,
            provider_of=lambda host: self._folder.setup.provider_of(host, ""),
            mode_of=lambda provider, code: FilterMode(self._folder.mode(code, provider)),
        )
        self._thread = StatusFilterThread(self._filter, steer.host, steer.port)
        self._thread.start()
        return self._thread

    def _filter_action(self, provider: str, verdict: Verdict, reply_class: int, action: Action, text: str) -> Action:
        return self._folder.steer.filter_action(provider, verdict, reply_class, action, text)

    def close(self) -> None:
        """Write the state whole, so that the next start has nothing to fold."""
        try:
            self._folder.snapshot(_now())
            self._write_counts()
        except StoreError as error:
            log.error("event=steer-store-failed note=at-the-end error=%r", str(error))
        if self._actor is not None:
            self._actor.table.close()

    def is_well(self) -> bool:
        """Whether rounds come to an end and the filter answers: a store that is gone is no fault of this process."""
        is_answering = self._thread is None or self._thread.is_alive
        return is_answering and time.monotonic() - self._round_at < _HUNG_SECONDS

    # --- the loop

    async def run(self, stop: asyncio.Event) -> None:
        """Round after round."""
        again = _AGAIN_SECONDS[0]
        while not stop.is_set():
            self._round_at = time.monotonic()
            try:
                is_all = await asyncio.to_thread(self._advance)
                again = _AGAIN_SECONDS[0]
            except StoreError as error:
                log.error("event=steer-store-failed again_seconds=%.1f error=%r", again, str(error))
                is_all, again = True, min(again * 2, _AGAIN_SECONDS[1])
            wake = await asyncio.to_thread(self._act)
            if wake:
                woken = await self._waker.wake(wake)
                if woken.failed:
                    log.warning("event=steer-wake-failed failed=%d woken=%d", woken.failed, woken.woken)
            await asyncio.to_thread(self._every_minute)
            if is_all:
                await _rest(stop, max(float(self._settings.steer.every_seconds), again - _AGAIN_SECONDS[0]))

    def _advance(self) -> bool:
        done = self._folder.advance(_now())
        if self._actor is not None:
            self._actor.see(done.lines, self._folder.setup)
            self._actor.decide(done.decided)
        return done.is_all

    def _act(self) -> list[str]:
        """The table's batch, and whom to wake. A fault of ours leaves Postfix on its own schedule, and is tried again."""
        if self._actor is None:
            return []
        try:
            done = self._actor.round(self._folder.steer, self._folder.uneven, time.time())
        except RelayError as error:
            log.error("event=steer-table-failed error=%r", str(error))
            return []
        except Exception:
            log.exception("event=steer-bug note=nothing-done-in-this-round")
            return []
        if done.changed or done.wake:
            log.info(
                "event=steer-acted entries=%d woken=%d waiting=%d", done.changed, len(done.wake), len(self._actor.waits)
            )
        return done.wake

    def _has_other_mail(self, addresses: Collection[str], queue_ids: Collection[str]) -> bool:
        try:
            with self._store.read() as tx:
                return steering_waits.has_other_mail(tx, addresses, queue_ids, _now() - _IN_QUEUE)
        except StoreError:
            return True  # nobody knows: it waits

    def _is_gone(self, queue_id: str) -> bool:
        try:
            with self._store.read() as tx:
                return steering_waits.is_gone(tx, queue_id)
        except StoreError:
            return False

    def _every_minute(self) -> None:
        now = time.time()
        if now - self._minute < _MINUTE:
            return
        self._minute = now
        self._tell_alerts(now)
        try:
            self._folder.use(self._read_setup())
        except RelayError as error:
            log.error("event=steer-policy-refused note=the-old-one-stays error=%r", str(error))
        try:
            self._write_counts()
        except StoreError as error:
            log.error("event=steer-store-failed note=counters error=%r", str(error))

    def _tell_alerts(self, now: float) -> None:
        try:
            alerts: tuple[Alert, ...] = self._folder.steer.alerts(now)
        except Exception:
            log.exception("event=steer-bug note=no-alerts")
            return
        for alert in alerts:
            key = (alert.key, alert.about)
            if now - self._alerted.get(key, 0.0) < _ALERT_AGAIN:
                continue
            self._alerted[key] = now
            figures = " ".join(f"{name}={one_line(str(figure), 60)}" for name, figure in alert.figures.items())
            log.warning("event=steer-alert key=%s about=%s %s", alert.key, one_line(alert.about, 120), figures)
            self._counts[f"steer.alert.{alert.key}"] = self._counts.get(f"steer.alert.{alert.key}", 0) + 1
        self._alerted = {key: at for key, at in self._alerted.items() if now - at < _ALERT_AGAIN}

    def _write_counts(self) -> None:
        """What was counted since the last time, into the store's counters."""
        totals = dict(self._counts)
        if self._actor is not None:
            totals |= self._actor.counts
            totals |= {"steer.left-over": self._actor.waits.left, "steer.table-refused": self._actor.table.refused}
        if self._filter is not None:
            counts = self._filter.counts
            totals |= {f"status-filter.{name}": getattr(counts, name) for name in counts.__struct_fields__}
        totals["steer.wake-failed"] = self._waker.failures
        fresh = {name: number - self._counted.get(name, 0) for name, number in totals.items()}
        fresh = {name: number for name, number in fresh.items() if number > 0}
        if fresh:
            with self._store.write() as tx:
                for name, number in sorted(fresh.items()):
                    count(tx, name[:64], number)
            self._counted |= totals


def _clear(path: Path) -> None:
    """What an earlier run in mode `act` left behind must not go on acting."""
    if path.with_name(path.name + ".lmdb").exists():
        with ExceptionsTable(path) as table:
            gone = table.clear()
        if gone:
            log.info("event=steer-table-cleared entries=%d", gone)


def _now() -> datetime:
    return datetime.now(UTC)


async def _rest(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
