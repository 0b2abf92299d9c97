"""`omicard-relay log parse`: mail logs of Postfix -> one object per delivery attempt, or a summary for people.

A queue lifetime that ran out gives one object for each recipient of that mail who was still deferred in what was read
before, with the last cause that a server gave, else 931.
Known limits: of a mail whose deferrals stand in another file only the expiry is known, which names no recipient: no object.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import click

from omicard_relay.cli.context import print_jsonl, print_table, ready_judge, settings_of
from omicard_relay.cli.language import current_language, register, say
from omicard_relay.cli.log_files import LogFiles, named_zone
from omicard_relay.cli.words import shown as in_words
from omicard_relay.mail import Action, Attempt, Evidence, Outcome, Road, Trust, Verdict
from omicard_relay.tables import BounceCode
from omicard_relay.wire import Delivery, Expired, LogEvent, Rejected, Removed

__all__ = ["command"]

register(
    {
        "log.nothing": ("{lines} lines read; none tells of a delivery.", "已讀 {lines} 行，沒有投遞紀錄。"),
        "log.read": (
            "{lines} lines read, {attempts} of them about a delivery, {first} to {last}",
            "已讀 {lines} 行，其中 {attempts} 筆與投遞有關，{first} 至 {last}",
        ),
        "log.outcomes": ("Outcomes", "投遞結果"),
        "log.codes": ("Why it failed", "失敗原因"),
        "log.relays": ("Servers spoken to most", "最常連線的主機"),
        "log.col.status": ("status", "狀態"),
        "log.col.count": ("count", "筆數"),
        "log.col.code": ("code", "代碼"),
        "log.col.name": ("name", "名稱"),
        "log.col.reason": ("reason", "原因"),
        "log.col.action": ("action", "處置"),
        "log.col.server": ("server", "主機"),
    }
)

_TOP_SERVERS = 10
_FAILURES = frozenset((Outcome.DEFERRED, Outcome.BOUNCED, Outcome.EXPIRED, Outcome.REJECTED))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """One object of the output: `verdict` and `action` are None where nothing failed."""

    attempt: Attempt
    status: str
    time: datetime
    delay_seconds: float | None
    verdict: Verdict | None
    action: Action | None


_Judging = Callable[[Attempt, bool], tuple[Verdict, Action] | None]


@click.group()
def command() -> None:
    """Read mail logs of Postfix."""


@command.command("parse")
@click.argument("files", nargs=-1, type=click.Path(readable=False))
@click.option("--jsonl", is_flag=True, help="One JSON object a line for each delivery attempt.")
@click.option("--tz", "zone", help="Time zone of stamps without one, such as Asia/Taipei (else the machine's own).")
@click.pass_context
def parse(ctx: click.Context, files: tuple[str, ...], jsonl: bool, zone: str | None) -> None:
    """Show the delivery attempts of log FILEs (also gzip; - or none: standard input)."""
    judging, codes = _judging(ctx)
    logs = LogFiles(files or ("-",), named_zone(zone), progress=True)
    told = _tell(logs.events(), judging)
    if jsonl:
        print_jsonl(_row(one) for one in told)
    else:
        _print_summary(told, logs, codes)
    if logs.failed:
        ctx.exit(1)


def _judging(ctx: click.Context) -> tuple[_Judging, dict[int, BounceCode]]:
    """What judges a failure by the tables of this site, and the codes."""
    # Late: compiling the rules is dear, and `log --help` needs none of it.
    from omicard_relay.steering import decide, expiry_verdict
    from omicard_relay.tables.active import load_active

    policies = load_active(settings_of(ctx))
    judge = ready_judge(policies)

    def judged(attempt: Attempt, expired: bool) -> tuple[Verdict, Action] | None:
        evidence = Evidence(
            road=Road.LOG,
            recipient=attempt.recipient,
            original_recipient=attempt.original_recipient,
            replies=(attempt.reply,),
            queue_id=attempt.queue_id,
            time=attempt.time,
            trust=Trust.PROVEN,
        )
        verdict = judge.judge(evidence)
        if expired:
            verdict = expiry_verdict(verdict)
        if verdict is None:
            return None
        return verdict, decide(verdict, reply=attempt.reply, policies=policies).action

    return judged, dict(policies.codes)


def _tell(events: Iterable[LogEvent], judging: _Judging) -> Iterator[_Told]:
    """One object for each delivery and refusal, and for each recipient whose mail expired while it was deferred."""
    deferred: defaultdict[str, dict[str, Attempt]] = defaultdict(dict)
    for event in events:
        match event:
            case Delivery(attempt=attempt, status=status):
                _remember(deferred, attempt)
                yield _told(attempt, status, judging)
            case Rejected(attempt=attempt):
                yield _told(attempt, Outcome.REJECTED.value, judging)
            case Expired():
                for attempt in deferred.pop(event.queue_id, {}).values():
                    yield _expired(attempt, event, judging)
            case Removed():
                deferred.pop(event.queue_id, None)
            case _:
                pass


def _remember(deferred: defaultdict[str, dict[str, Attempt]], attempt: Attempt) -> None:
    """Keep the last true attempt of a deferred recipient: a line that only repeats or rests hides no server's words."""
    waiting = deferred[attempt.queue_id] if attempt.outcome is Outcome.DEFERRED else deferred.get(attempt.queue_id)
    if waiting is None:
        return
    if attempt.outcome is not Outcome.DEFERRED:
        waiting.pop(attempt.recipient, None)
    elif attempt.is_attempt or not waiting.get(attempt.recipient, attempt).is_attempt:
        waiting[attempt.recipient] = attempt


def _told(attempt: Attempt, status: str, judging: _Judging) -> _Told:
    verdict, action = (attempt.outcome in _FAILURES and judging(attempt, False)) or (None, None)
    return _Told(
        attempt=attempt,
        status=status,
        time=attempt.time,
        delay_seconds=attempt.delay_seconds,
        verdict=verdict,
        action=action,
    )


def _expired(attempt: Attempt, expiry: Expired, judging: _Judging) -> _Told:
    verdict, action = judging(attempt, True) or (None, None)
    since = (expiry.time - attempt.time).total_seconds()
    return _Told(
        attempt=attempt,
        status=Outcome.EXPIRED.value,
        time=expiry.time,
        delay_seconds=None if attempt.delay_seconds is None else attempt.delay_seconds + since,
        verdict=verdict,
        action=action,
    )


def _row(told: _Told) -> dict[str, object]:
    attempt = told.attempt
    return {
        "time": told.time.isoformat(),
        "queue_id": attempt.queue_id,
        "recipient": attempt.recipient,
        "relay": attempt.relay_host,
        "relay_ip": attempt.relay_ip,
        "status": told.status,
        "dsn": attempt.enhanced_status or None,
        "reply": attempt.reply.text,
        "stage": attempt.reply.stage.value,
        "delay": told.delay_seconds,
        "code": str(told.verdict.bounce_code) if told.verdict else None,
        "action": told.action.value if told.action else None,
        "rule": told.verdict.rule_id if told.verdict else None,
    }


def _print_summary(told: Iterable[_Told], logs: LogFiles, codes: dict[int, BounceCode]) -> None:
    statuses: Counter[str] = Counter()
    causes: Counter[tuple[int, str]] = Counter()
    servers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    first: datetime | None = None
    last: datetime | None = None
    for one in told:
        statuses[one.status] += 1
        if one.verdict and one.action:
            causes[one.verdict.bounce_code, one.action.value] += 1
        if one.attempt.relay_ip:
            servers[(one.attempt.relay_host or one.attempt.relay_ip).lower()][one.attempt.outcome.value] += 1
        first = min(first or one.time, one.time)
        last = max(last or one.time, one.time)
    if first is None or last is None:
        click.echo(say("log.nothing", lines=logs.lines))
        return
    click.echo(
        say("log.read", lines=logs.lines, attempts=statuses.total(), first=first.isoformat(), last=last.isoformat())
    )
    count = say("log.col.count")
    click.echo()
    print_table([say("log.col.status"), count], statuses.most_common(), say("log.outcomes"))
    if causes:
        click.echo()
        columns = [say(f"log.col.{name}") for name in ("code", "name", "reason", "action")]
        print_table(
            [*columns, count],
            (
                (code, codes[code].name, codes[code].text(current_language()), in_words(action), number)
                for (code, action), number in causes.most_common()
            ),
            say("log.codes"),
        )
    if servers:
        click.echo()
        shown = (Outcome.SENT.value, Outcome.DEFERRED.value, Outcome.BOUNCED.value)
        top = sorted(servers.items(), key=lambda item: (-item[1].total(), item[0]))[:_TOP_SERVERS]
        print_table(
            [say("log.col.server"), count, *shown],
            ((name, tally.total(), *(tally[word] for word in shown)) for name, tally in top),
            say("log.relays"),
        )
