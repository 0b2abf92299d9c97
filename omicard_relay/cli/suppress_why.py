"""`suppress why`: why mail to an address is held back, or was, or is not, with the proof of each.

Told are the known bounces that hold and those that ended (ran out, lifted by a delivery, taken off by a person), what a
complaint has unsubscribed, failures that a whitelist entry has made harmless, and what was only claimed.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from omicard_relay.cli.context import open_configured_store, print_jsonl, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.mail import ListEntry, ListName, domain_of, one_line
from omicard_relay.store import lists, proofs
from omicard_relay.store.engine import Tx
from omicard_relay.tables.suppress import ADDRESS_CODES

__all__ = ["why"]

register(
    {
        "why-free": ("{value}: is no known bounce, mail to it is not held back", "{value}：非已知退信，不會被剔除"),
        "why-no-bounce": ("{value}: is no known bounce", "{value}：非已知退信"),
        "why-entry": (
            "{value}: known bounce {code} since {created:%Y-%m-%d} until {until}; {reason}; proof: {source}; by {who}",
            "{value}：已知退信 {code}，自 {created:%Y-%m-%d} 至 {until}；{reason}；依據：{source}；建立者 {who}",
        ),
        "why-scope": ("  for {scope} only", "  僅限 {scope}"),
        "why-proof": (
            "  told {time:%Y-%m-%d %H:%M}Z: {code} by {rule}, decided by: {words}",
            "  {time:%Y-%m-%d %H:%M}Z 回報：{code}（規則 {rule}），判斷依據：{words}",
        ),
        "why-reply": ("  the reply: {reply}", "  完整回應：{reply}"),
        "why-never": ("it is removed", "移除為止"),
        "why-unsubscribed": (
            "{value}: unsubscribed from {scope} since {created:%Y-%m-%d}; {reason}; proof: {source}; by {who}",
            "{value}：自 {created:%Y-%m-%d} 起已退訂 {scope}；{reason}；依據：{source}；建立者 {who}",
        ),
        "why-ran-out": (
            "{value}: was known bounce {code} from {created:%Y-%m-%d}, ran out on {until}; {reason}; proof: {source}",
            "{value}：曾為已知退信 {code}，自 {created:%Y-%m-%d}，已於 {until} 到期；{reason}；依據：{source}",
        ),
        "why-taken-off": (
            "{value}: was known bounce {code} from {created:%Y-%m-%d}, taken off on {until} by {who}{note}; {reason}; "
            "proof: {source}; back again: omicard-relay suppress undo {change}",
            "{value}：曾為已知退信 {code}，自 {created:%Y-%m-%d}，已於 {until} 由 {who} 移除{note}；{reason}；"
            "依據：{source}；復原：omicard-relay suppress undo {change}",
        ),
        "why-whitelisted": (
            "{value}: is on the whitelist since {created:%Y-%m-%d} ({reason}); proven failures since then that changed "
            "nothing: {count}",
            "{value}：自 {created:%Y-%m-%d} 起在白名單（{reason}）；其後已證實但未採取動作的失敗：{count}",
        ),
        "why-claimed": (
            "{value}: only claimed, and not believed: {count} times {code} by {road}, last on {last:%Y-%m-%d %H:%M}Z",
            "{value}：僅為宣稱而未採信：{road} {code} 共 {count} 次，最後一次 {last:%Y-%m-%d %H:%M}Z",
        ),
        "why-more": ("all that happened: omicard-relay explain {value}", "完整歷程：omicard-relay explain {value}"),
    }
)

#: Proven failures of a whitelisted address that are looked at.
_FAILURES = 100


@click.command("why")
@click.argument("address")
@click.option("--jsonl", is_flag=True, help="One object a line, for programs.")
@click.pass_context
def why(ctx: click.Context, address: str, jsonl: bool) -> None:
    """Tell why mail to an address is held back, or was, or is not, and where the proof stands. Exit 1 when no known bounce
    holds."""
    store = open_configured_store(settings_of(ctx))
    now = datetime.now(UTC)
    with store.read() as tx:
        found = list(_facts(tx, address, now))
    is_held = any(fact["what"] == "known-bounce" for fact in found)
    if jsonl:
        print_jsonl(_plain(fact) for fact in found)
    else:
        if not is_held:
            key = "why-no-bounce" if any(fact["what"] == "unsubscribed" for fact in found) else "why-free"
            click.echo(say(key, value=one_line(address)))
        for fact in found:
            _tell(fact)
        if found:
            click.echo(say("why-more", value=one_line(address)))
    ctx.exit(0 if is_held else 1)


def _facts(tx: Tx, address: str, now: datetime) -> Iterator[dict[str, Any]]:
    """What is known, in the order in which it is told; `time` and the like are moments."""
    domain = domain_of(address)
    # The address and its whole domain, as the scrub looks.
    values = list(dict.fromkeys([address, *([f"@{domain}"] if domain else [])]))
    every = lists.history(tx, values)
    holds = [entry for entry in every if entry.removed is None and (entry.expires is None or entry.expires > now)]
    for name in (ListName.KNOWN_BOUNCE, ListName.UNSUBSCRIBED):
        for entry in holds:
            if entry.list_name is name:
                yield {"what": name.value, **_entry(entry), **_proof(proofs.find_proof(tx, entry))}
    for entry in holds:
        if entry.list_name is ListName.WHITELIST:
            failed = proofs.proven_failures(tx, address, ADDRESS_CODES, since=entry.created, limit=_FAILURES)
            yield {
                "what": "whitelist",
                **_entry(entry),
                "failures": len(failed),
                **_proof(failed[0] if failed else None),
            }
    for entry in every:
        if entry.list_name is ListName.KNOWN_BOUNCE and entry not in holds:
            ending = proofs.find_ending(tx, entry.entry_id) if entry.removed is not None else None
            yield {
                "what": "ended",
                **_entry(entry),
                "ended": entry.removed or entry.expires,
                "ended_by": ending.who if ending else None,
                "ended_note": ending.note if ending else None,
                "change": ending.change_id if ending else None,
                **_proof(proofs.find_proof(tx, entry)),
            }
    for claim in proofs.claims_about(tx, address):
        yield {
            "what": "claim",
            "value": address,
            "road": claim.road.value,
            "code": claim.bounce_code,
            "count": claim.count,
            "last": claim.last,
        }


def _entry(entry: ListEntry) -> dict[str, Any]:
    return {
        "value": entry.value,
        "scope": entry.scope,
        "code": entry.bounce_code,
        "reason": entry.reason,
        "source": entry.source,
        "created": entry.created,
        "created_by": entry.created_by,
        "expires": entry.expires,
    }


def _proof(proof: proofs.Proof | None) -> dict[str, Any]:
    if proof is None:
        return {"proof": None}
    return {
        "proof": {
            "time": proof.time,
            "source": proof.source,
            "code": proof.bounce_code,
            "rule": proof.rule_id,
            "words": proof.words,
            "reply": proof.reply,
            "feedback_type": proof.feedback_type,
            "new_address": proof.new_address,
        }
    }


def _plain(fact: dict[str, Any]) -> dict[str, Any]:
    """The same with its moments in ISO 8601."""
    plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fact.items()}
    return {name: _plain(value) if isinstance(value, dict) else value for name, value in plain.items()}


def _tell(fact: dict[str, Any]) -> None:
    what = fact["what"]
    shown = {name: one_line(str(text)) for name, text in fact.items() if isinstance(text, str)}
    shown |= {name: text for name, text in fact.items() if name not in shown}
    shown["code"] = fact["code"] or "-"
    if what == "claim":
        click.echo(say("why-claimed", **shown))
        return
    until = fact.get("ended") or fact["expires"]
    shown |= {"who": shown["created_by"], "until": f"{until:%Y-%m-%d}" if until else say("why-never")}
    if what == "whitelist":
        click.echo(say("why-whitelisted", **shown, count=fact["failures"]))
    elif what == "ended" and fact["change"] is not None:
        note = f" ({shown['ended_note']})" if fact["ended_note"] else ""
        click.echo(say("why-taken-off", **{**shown, "who": shown["ended_by"]}, note=note))
    else:
        key = {"known-bounce": "why-entry", "unsubscribed": "why-unsubscribed", "ended": "why-ran-out"}[what]
        click.echo(say(key, **shown))
    if what == "known-bounce" and fact["scope"] != "all":
        click.echo(say("why-scope", scope=shown["scope"]))
    proof = fact["proof"]
    if proof is not None:
        words = one_line(proof["words"] or proof["feedback_type"] or "-")
        click.echo(
            say(
                "why-proof",
                time=proof["time"],
                code=proof["code"] or "-",
                rule=one_line(proof["rule"] or "-"),
                words=words,
            )
        )
        if proof["reply"]:
            click.echo(say("why-reply", reply=one_line(proof["reply"], 500)))
