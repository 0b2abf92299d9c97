"""`report --steering`: what steering planned beside what happened, by provider and cause.

In mode `observe` what happened is Postfix's own schedule: so a site sees, before it lets steering act, how many
attempts it would have saved, how well its chances were foreseen, and which of its returns Postfix went on to deliver.
An attempt is saved when it failed and came before the planned moment, or behind a planned return. Medians are over
those that have both figures.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

import click

from omicard_relay.cli.context import print_jsonl, print_table
from omicard_relay.cli.language import current_language, register, say
from omicard_relay.cli.words import shown
from omicard_relay.mail import Action, Outcome
from omicard_relay.store.decisions import Followed, followed
from omicard_relay.store.engine import Store
from omicard_relay.tables.policies import Policies

__all__ = ["Group", "grouped", "print_steering"]

register(
    {
        "steering-none": ("steering has decided nothing yet", "尚無重送決定"),
        "steering-title": (
            "Steering: what was planned and what happened (rests in minutes, medians)",
            "重送決策：計畫與實際（休息時間為分鐘，取中位數）",
        ),
        "steering-code": ("code", "代碼"),
        "steering-cause": ("cause", "原因"),
        "steering-provider": ("provider", "業者"),
        "steering-mode": ("mode", "模式"),
        "steering-n": ("decisions", "決定數"),
        "steering-planned": ("planned rest", "計畫休息"),
        "steering-real": ("real rest", "實際休息"),
        "steering-chance": ("foreseen", "預期成功"),
        "steering-passed": ("passed", "實際成功"),
        "steering-returns": ("returns", "退信"),
        "steering-wrong": ("delivered later", "後來送達"),
        "steering-saved": ("attempts saved", "省下嘗試"),
    }
)


@dataclass(slots=True)
class Group:
    """Figures of one provider, code and mode. Rests in seconds; `foreseen` sums the chances of `tried` retries, of which
    `passed` were delivered by the next attempt."""

    provider: str
    code: int
    mode: str
    decisions: int = 0
    retries: int = 0
    returns: int = 0
    wrong_returns: int = 0
    saved: int = 0
    tried: int = 0
    passed: int = 0
    foreseen: float = 0.0
    planned: list[float] = field(default_factory=list)
    real: list[float] = field(default_factory=list)

    def add(self, one: Followed) -> None:
        """One decision and what came of it."""
        plan = one.decided.plan
        self.decisions += 1
        if plan.action is Action.RETURN:
            self.returns += 1
            self.wrong_returns += one.was_delivered
            self.saved += sum(outcome == Outcome.DEFERRED for _, outcome in one.later)
            return
        self.retries += 1
        self.saved += sum(
            outcome == Outcome.DEFERRED and time.timestamp() < plan.at - _SLACK_SECONDS for time, outcome in one.later
        )
        self.planned.append(plan.at - one.time.timestamp())
        if one.later:
            time, outcome = one.later[0]
            self.real.append((time - one.time).total_seconds())
            self.tried += 1
            self.foreseen += plan.chance
            self.passed += outcome == Outcome.SENT

    def row(self) -> dict[str, object]:
        """For programs; rests in seconds."""
        return {
            "provider": self.provider,
            "code": str(self.code),
            "mode": self.mode,
            "decisions": self.decisions,
            "retries": self.retries,
            "planned_rest": round(median(self.planned), 1) if self.planned else None,
            "real_rest": round(median(self.real), 1) if self.real else None,
            "tried": self.tried,
            "foreseen": round(self.foreseen / self.tried, 4) if self.tried else None,
            "passed": self.passed,
            "returns": self.returns,
            "returns_delivered_later": self.wrong_returns,
            "attempts_saved": self.saved,
        }


#: An attempt this much before its moment came as planned: the entry lets it go by the second, and logs are cut to it.
_SLACK_SECONDS = 2.0


def grouped(found: Iterable[Followed]) -> list[Group]:
    """The figures, the largest groups first."""
    groups: dict[tuple[str, int, str], Group] = {}
    for one in found:
        key = (one.decided.provider, one.code, one.decided.mode)
        groups.setdefault(key, Group(*key)).add(one)
    return sorted(groups.values(), key=lambda group: (-group.decisions, group.provider, group.code, group.mode))


def print_steering(store: Store, policies: Policies, *, since: datetime | None, jsonl: bool) -> None:
    """Print them, as a table or one object a line."""
    groups = grouped(followed(store, since=since))
    if jsonl:
        print_jsonl(group.row() for group in groups)
        return
    if not groups:
        click.echo(say("steering-none"))
        return
    columns = ["provider", "mode", "n", "planned", "real", "chance", "passed", "returns", "wrong", "saved"]
    names = [say(f"steering-{name}") for name in columns]
    print_table(
        [names[0], say("steering-code"), say("steering-cause"), *names[1:]],
        (_cells(g, policies) for g in groups),
        say("steering-title"),
    )


def _cells(group: Group, policies: Policies) -> list[object]:
    cause = policies.codes[group.code].text(current_language()) if group.code in policies.codes else ""
    return [
        *(group.provider, group.code, cause, shown(group.mode), group.decisions),
        *(_minutes(group.planned), _minutes(group.real)),
        f"{group.foreseen / group.tried:.0%}" if group.tried else "",
        f"{group.passed}/{group.tried}" if group.tried else "",
        *(group.returns or "", group.wrong_returns if group.returns else "", group.saved),
    ]


def _minutes(seconds: list[float]) -> str:
    return f"{median(seconds) / 60:.1f}" if seconds else ""
