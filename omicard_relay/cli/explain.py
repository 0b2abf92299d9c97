"""`explain`: why one mail did or did not arrive: every event of an address, a queue id or a Message-ID, with its reasons."""

from collections.abc import Mapping
from datetime import UTC, datetime

import click

from omicard_relay.cli.context import open_configured_store, print_jsonl, settings_of
from omicard_relay.cli.language import current_language, register, say
from omicard_relay.cli.reasons import decision_sentence, plan_row
from omicard_relay.cli.words import shown
from omicard_relay.mail import ListEntry, domain_of, one_line
from omicard_relay.store import lists, reports, story
from omicard_relay.store.engine import Tx
from omicard_relay.tables.active import load_active
from omicard_relay.tables.policies import Policies

__all__ = ["command"]

register(
    {
        "explain-none": (
            "nothing is known of {what}: name an address, a queue id, a Message-ID or a submission id as the log shows it",
            "查無 {what}：請輸入信箱、queue id、Message-ID 或 submission id",
        ),
        "explain-mail": (
            "{address}: {state} since {since:%Y-%m-%d %H:%M:%S} UTC",
            "{address}：{since:%Y-%m-%d %H:%M:%S} UTC 起為 {state}",
        ),
        "explain-from": (
            "  from {sender}, received {received:%Y-%m-%d %H:%M:%S} UTC",
            "  寄件人 {sender}，收信 {received:%Y-%m-%d %H:%M:%S} UTC",
        ),
        "explain-ids": (
            "  campaign {campaign}, message-id {message_id}, queue id {queue_id}",
            "  活動 {campaign}，message-id {message_id}，queue id {queue_id}",
        ),
        "explain-dropped": (
            "  {time:%Y-%m-%d %H:%M:%S}  dropped before sending by step {step}: {reason}",
            "  {time:%Y-%m-%d %H:%M:%S}  發信前由步驟 {step} 剔除：{reason}",
        ),
        "explain-kept": (
            "  {time:%Y-%m-%d %H:%M:%S}  passed all steps before sending",
            "  {time:%Y-%m-%d %H:%M:%S}  通過發信前所有檢查",
        ),
        "explain-decision": (
            "  {time:%Y-%m-%d %H:%M:%S}  decision ({mode}): {sentence}",
            "  {time:%Y-%m-%d %H:%M:%S}  決定（{mode}）：{sentence}",
        ),
        "explain-list": (
            "  {time:%Y-%m-%d %H:%M:%S}  list {list_name}: {what} {value} by {who}: {note}; source: {source}",
            "  {time:%Y-%m-%d %H:%M:%S}  名單 {list_name}：{who} {what} {value}：{note}；來源：{source}",
        ),
        "explain-event": (
            "  {time:%Y-%m-%d %H:%M:%S}  {what} {number}{outcome}",
            "  {time:%Y-%m-%d %H:%M:%S}  {what} {number}{outcome}",
        ),
        "explain-code": (
            "      {code} {name} ({cause}); rule {rule}, confidence {confidence:.2f}, words: {words}",
            "      {code} {name}（{cause}）；規則 {rule}，信心 {confidence:.2f}，依據：{words}",
        ),
        "explain-first-read": (
            "      first read as {code} ({rule}) by {release}",
            "      初次判讀為 {code}（{rule}），依據{release}",
        ),
        "explain-read-again": (
            "      read again as {code} ({rule}) by {release} on {time:%Y-%m-%d %H:%M:%S} UTC",
            "      {time:%Y-%m-%d %H:%M:%S} UTC 依據{release}重新判讀為 {code}（{rule}）",
        ),
        "explain-release": ("release {number} of the rules", "第 {number} 版規則"),
        "explain-no-release": ("the rules before the first release", "首次發布前的規則"),
        "explain-action": ("      action {action}: {reasons}", "      處理 {action}：{reasons}"),
        "explain-reply": ("      said: {reply}", "      回應：{reply}"),
        "explain-deleted": (
            "      the mail itself was deleted on {time:%Y-%m-%d}; this is what it stated",
            "      該郵件本身已於 {time:%Y-%m-%d} 刪除；以上為其內容摘要",
        ),
        "explain-claim": ("      not proven: recorded only", "      未能證明：僅記錄"),
        "explain-entry": (
            "on list {list_name} ({state}): {value}, scope {scope}, reason: {reason}, source: {source}, until {until}",
            "名單 {list_name}（{state}）：{value}，範圍 {scope}，原因：{reason}，來源：{source}，期限 {until}",
        ),
        "explain-holds": ("holds", "有效"),
        "explain-over": ("over", "已失效"),
        "explain-never": ("further notice", "永久"),
        "explain-past": (
            "log line of a mail that did not come through the relay: {time} {outcome} {reply}",
            "未經本系統之郵件紀錄：{time} {outcome} {reply}",
        ),
    }
)


@click.command("explain", short_help="Why one mail did or did not arrive.")
@click.argument("what")
@click.option("--jsonl", is_flag=True, help="One object a line, for programs.")
@click.pass_context
def command(ctx: click.Context, what: str, jsonl: bool) -> None:
    """Tell everything about WHAT: an address, a queue id, a Message-ID or a submission id."""
    settings = settings_of(ctx)
    store = open_configured_store(settings)
    policies = load_active(settings)
    with store.read() as tx:
        subjects = reports.find_subjects(tx, what)
        entries = lists.history(
            tx, [what, *(s.address for s in subjects)] + ([f"@{d}"] if (d := domain_of(what)) else [])
        )
        past = reports.unjoined(tx, what)
        if not subjects and not entries and not past:
            click.echo(say("explain-none", what=one_line(what)), err=True)
            ctx.exit(1)
        if jsonl:
            _jsonl(tx, subjects, entries, past)
            return
        for subject in reversed(subjects):
            _show(tx, subject, policies)
        decided = {int(str(line["id"])): story.past_decisions(tx, [int(str(line["id"]))]) for line in past}
    for entry in entries:
        _show_entry(entry)
    for line in past:
        click.echo(
            say(
                "explain-past",
                time=line["time"],
                outcome=shown(str(line["outcome"])),
                reply=one_line(str(line["reply"]), 200),
            )
        )
        for event in decided[int(str(line["id"]))]:
            _show_ours(event, policies)


def _show(tx: Tx, s: reports.Subject, policies: Policies) -> None:
    click.echo(say("explain-mail", address=one_line(s.address), state=shown(s.state), since=s.since))
    click.echo(say("explain-from", sender=one_line(s.sender or "<>"), received=s.received))
    click.echo(
        say(
            "explain-ids",
            campaign=one_line(s.campaign or "-"),
            message_id=one_line(s.message_id or "-"),
            queue_id=s.queue_id or "-",
        )
    )
    for event in story.story(tx, s):
        if _show_ours(event, policies):
            continue
        number = f"{event.number} " if event.number else ""
        outcome = one_line(event.outcome, 40)
        click.echo(say("explain-event", time=event.time, what=shown(event.what), number=number, outcome=shown(outcome)))
        if event.bounce_code is not None:
            code = policies.codes[event.bounce_code]
            click.echo(
                say(
                    "explain-code",
                    code=event.bounce_code,
                    name=code.name,
                    cause=code.text(current_language()),
                    rule=event.rule_id,
                    confidence=event.confidence or 0.0,
                    words=one_line(event.words or "-", 120),
                )
            )
            _show_rereads(event)
            if event.action:
                click.echo(say("explain-action", action=shown(event.action), reasons=one_line(event.reasons or "")))
        if event.reply:
            click.echo(say("explain-reply", reply=one_line(event.reply)))
        if event.content_deleted is not None:
            click.echo(say("explain-deleted", time=event.content_deleted))
        if event.trust == "claimed":
            click.echo(say("explain-claim"))


def _show_ours(event: reports.Event, policies: Policies) -> bool:
    """What was done on our side: the scrub decision, steering's, changes of lists. False for any other event."""
    time = event.time
    if event.what == "scrub" and event.outcome == "dropped":
        click.echo(say("explain-dropped", time=time, step=shown(event.value), reason=one_line(event.reasons or "")))
    elif event.what == "scrub":
        click.echo(say("explain-kept", time=time))
    elif event.what == "list":
        click.echo(
            say(
                "explain-list",
                time=time,
                list_name=shown(event.list_name),
                what=shown(event.outcome),
                value=one_line(event.value or ""),
                who=one_line(event.who or "-"),
                note=one_line(event.reasons or "-"),
                source=one_line(event.source or "-"),
            )
        )
    elif event.decided is not None and event.failed is not None:
        code = event.bounce_code
        name = policies.codes[code].name if code is not None and code in policies.codes else ""
        sentence = decision_sentence(event.decided, failed=event.failed, code=code, name=name)
        click.echo(say("explain-decision", time=time, mode=say(f"mode-{event.outcome}"), sentence=sentence))
    else:
        return False
    return True


def _show_rereads(event: reports.Event) -> None:
    """What the reply was taken for, before and since: nothing where it was judged once."""
    for number, one in enumerate(event.rereads):
        if number == 0:
            old = one.old
            click.echo(say("explain-first-read", code=old.bounce_code, rule=old.rule_id, release=_release(old.release)))
        new = one.new
        click.echo(
            say(
                "explain-read-again",
                code=new.bounce_code,
                rule=new.rule_id,
                release=_release(new.release),
                time=one.time,
            )
        )


def _release(number: int | None) -> str:
    return say("explain-no-release") if number is None else say("explain-release", number=number)


def _show_entry(entry: ListEntry) -> None:
    over = entry.removed is not None or (entry.expires is not None and entry.expires <= datetime.now(UTC))
    click.echo(
        say(
            "explain-entry",
            list_name=shown(entry.list_name),
            state=say("explain-over" if over else "explain-holds"),
            value=one_line(entry.value),
            scope=one_line(entry.scope),
            reason=one_line(entry.reason),
            source=one_line(entry.source),
            until=f"{entry.expires:%Y-%m-%d}" if entry.expires else say("explain-never"),
        )
    )


def _decision_row(event: reports.Event) -> dict[str, object] | None:
    one = event.decided
    if one is None:
        return None
    return {
        "attempt": one.attempt_id,
        "mode": one.mode,
        "provider": one.provider,
        "step": one.step,
        **plan_row(one.plan),
    }


def _jsonl(tx: Tx, subjects: list[reports.Subject], entries: list[ListEntry], past: list[Mapping[str, object]]) -> None:
    for s in subjects:
        head = {"recipient": s.address, "submission": s.submission_id, "queue_id": s.queue_id}
        print_jsonl(
            [
                {
                    **head,
                    "event": "recipient",
                    "time": s.since.isoformat(),
                    "state": s.state,
                    "code": str(s.bounce_code) if s.bounce_code else None,
                    "drop_step": s.drop_step,
                    "reply": s.detail,
                    "campaign": s.campaign,
                    "message_id": s.message_id,
                    "later_code": str(s.later_code) if s.later_code else None,
                }
            ]
        )
        print_jsonl(
            {
                **head,
                "event": e.what,
                "time": e.time.isoformat(),
                "outcome": e.outcome,
                "number": e.number,
                "code": str(e.bounce_code) if e.bounce_code else None,
                "rule": e.rule_id,
                "confidence": e.confidence,
                "words": e.words,
                "action": e.action,
                "reasons": e.reasons,
                "stage": e.stage,
                "host": e.host,
                "reply": e.reply,
                "trust": e.trust,
                "mail_deleted": e.content_deleted.isoformat() if e.content_deleted else None,
                "rules_release": e.rules_release,
                "step": e.value if e.what == "scrub" else None,
                "decision": _decision_row(e),
                "list": e.list_name,
                "value": e.value if e.what == "list" else None,
                "who": e.who,
                "source": e.source,
                "rereads": [
                    {
                        "time": one.time.isoformat(),
                        "old_code": str(one.old.bounce_code) if one.old.bounce_code else None,
                        "old_rule": one.old.rule_id,
                        "old_action": one.old.action,
                        "old_release": one.old.release,
                        "new_code": str(one.new.bounce_code) if one.new.bounce_code else None,
                        "new_rule": one.new.rule_id,
                        "new_action": one.new.action,
                        "new_release": one.new.release,
                    }
                    for one in e.rereads
                ],
            }
            for e in story.story(tx, s)
        )
    print_jsonl(
        {
            "event": "list-entry",
            "list": e.list_name,
            "value": e.value,
            "scope": e.scope,
            "reason": e.reason,
            "source": e.source,
            "code": str(e.bounce_code) if e.bounce_code else None,
            "created": e.created.isoformat(),
            "expires": e.expires.isoformat() if e.expires else None,
            "removed": e.removed.isoformat() if e.removed else None,
        }
        for e in entries
    )
    print_jsonl(
        {
            "event": "other-mail",
            "recipient": line["address"],
            "queue_id": line["queue_id"],
            "time": line["time"],
            "outcome": line["outcome"],
            "code": str(line["bounce_code"]) if line["bounce_code"] else None,
            "rule": line["rule_id"],
            "reply": line["reply"],
            "decision": next(map(_decision_row, story.past_decisions(tx, [int(str(line["id"]))])), None),
        }
        for line in past
    )
