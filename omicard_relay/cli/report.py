"""`report`: how it stands, by recipient: dropped, delivered, resting, returned by code, and what came back later."""

from datetime import UTC, datetime, timedelta

import click

from omicard_relay.cli.context import open_configured_store, print_jsonl, print_table, settings_of
from omicard_relay.cli.language import current_language, register, say
from omicard_relay.cli.report_steering import print_steering
from omicard_relay.cli.words import shown
from omicard_relay.mail import one_line
from omicard_relay.store import answers, bounces, reports
from omicard_relay.tables.active import load_active

__all__ = ["command"]

register(
    {
        "report-none": ("no mail in the store yet", "資料庫中尚無郵件"),
        "report-state": ("Recipients by state", "收件人狀態"),
        "report-dropped": ("Dropped before sending", "發信前剔除"),
        "report-returned": ("Returned", "退信"),
        "report-resting": ("Resting, will be tried again", "休息中，稍後重送"),
        "report-refused": ("Refused by our own Postfix", "被自己的 Postfix 拒絕"),
        "report-later": ("Came back after delivery", "送達後才退回"),
        "report-counters": ("Counters", "計數"),
        "report-campaigns": ("Campaigns", "活動"),
        "col-count": ("recipients", "收件人數"),
        "col-code": ("code", "代碼"),
        "col-what": ("what", "項目"),
        "col-cause": ("cause", "原因"),
        "col-recipient": ("recipient", "收件人"),
        "col-state": ("state", "狀態"),
        "col-number": ("n", "次數"),
        "col-name": ("name", "名稱"),
        "report-more": ("more: omicard-relay explain ADDRESS", "更多：omicard-relay explain 信箱"),
    }
)

_CODES = ("returned", "resting", "refused", "later")


@click.command("report", short_help="How it stands, by recipient.")
@click.option("--campaign", help="Only this campaign.")
@click.option("--days", type=click.IntRange(1, 36_500), help="Only mail of the last so many days.")
@click.option("--jsonl", is_flag=True, help="One object a line, for programs.")
@click.option("--steering", is_flag=True, help="What steering planned beside what happened, by provider and cause.")
@click.option("--recipients", is_flag=True, help="List every recipient with its fate instead of figures.")
@click.pass_context
def command(
    ctx: click.Context, campaign: str | None, days: int | None, jsonl: bool, steering: bool, recipients: bool
) -> None:
    """Show how many recipients were dropped, delivered, rest, were returned and why, and what came back later."""
    settings = settings_of(ctx)
    store = open_configured_store(settings)
    since = datetime.now(UTC) - timedelta(days=days) if days else None
    if steering:
        print_steering(store, load_active(settings), since=since, jsonl=jsonl)
        return
    with store.read() as tx:
        if recipients:
            _print_fates(reports.fates(tx, campaign=campaign, since=since), jsonl)
            return
        counts = reports.summary(tx, campaign=campaign, since=since)
        counters = bounces.counters(tx)
        if waiting := answers.count_waiting(tx):
            counters["answers.waiting"] = waiting
        campaigns = reports.campaigns(tx) if campaign is None else []
    if jsonl:
        print_jsonl({"section": c.section, "key": c.key, "count": c.count} for c in counts)
        print_jsonl({"section": "counter", "key": name, "count": value} for name, value in counters.items())
        return
    if not counts and not counters:
        click.echo(say("report-none"))
        return
    codes = load_active(settings).codes
    for section in ("state", "dropped", *_CODES):
        rows = [c for c in counts if c.section == section]
        if not rows:
            continue
        if section in _CODES:
            columns = [say("col-code"), say("col-name"), say("col-cause"), say("col-count")]
            cells = [[c.key, codes[int(c.key)].name, codes[int(c.key)].text(current_language()), c.count] for c in rows]
            print_table(columns, cells, title=say(f"report-{section}"))
        else:
            print_table(
                [say("col-what"), say("col-count")],
                [[shown(c.key), c.count] for c in rows],
                title=say(f"report-{section}"),
            )
        click.echo()
    if campaign is None and campaigns:
        print_table([say("col-name"), say("col-count")], campaigns, title=say("report-campaigns"))
        click.echo()
    if campaign is None and counters:
        print_table([say("col-what"), say("col-number")], list(counters.items()), title=say("report-counters"))
    click.echo(say("report-more"))


def _print_fates(subjects: list[reports.Subject], jsonl: bool) -> None:
    if jsonl:
        print_jsonl(
            {
                "recipient": s.address,
                "state": s.state,
                "code": str(s.bounce_code) if s.bounce_code else None,
                "drop_step": s.drop_step,
                "reply": s.detail,
                "later_code": str(s.later_code) if s.later_code else None,
                "later_kind": s.later_kind,
                "queue_id": s.queue_id,
                "attempts": s.attempts,
                "campaign": s.campaign,
                "message_id": s.message_id,
                "submission": s.submission_id,
            }
            for s in subjects
        )
        return
    columns = [say("col-recipient"), say("col-state"), say("col-code"), say("col-cause")]
    print_table(
        columns,
        (
            [s.address, shown(s.state), s.bounce_code or shown(s.drop_step), one_line(s.detail or "", 100)]
            for s in subjects
        ),
    )
