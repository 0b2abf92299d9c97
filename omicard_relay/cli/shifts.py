"""How other verdicts are shown: a table by cause, rule and action, and samples; the same for programs as JSON objects."""

from collections.abc import Iterator, Mapping, Sequence

import click

from omicard_relay.cli.context import print_table
from omicard_relay.cli.language import register, say
from omicard_relay.cli.words import shown
from omicard_relay.mail import one_line
from omicard_relay.services.rulediff import Reading, Sample, Shift

__all__ = ["print_samples", "print_shifts", "shift_rows"]

register(
    {
        "shift-count": ("replies", "回應數"),
        "shift-code": ("code", "代碼"),
        "shift-rule": ("rule", "規則"),
        "shift-action": ("action", "動作"),
        "shift-title": ("Replies that are read otherwise", "判讀改變的回應"),
        "shift-sample": ("{before} -> {after}  {recipient}: {text}", "{before} → {after}　{recipient}：{text}"),
        "shift-samples": ("Samples", "樣本"),
    }
)

#: Characters of a sample that a person is shown.
_SHOWN = 200


def print_shifts(counts: Mapping[Shift, int]) -> None:
    """A table of the shifts, most frequent first; nothing where there is none."""
    if not counts:
        return
    columns = [say(f"shift-{name}") for name in ("count", "code", "rule", "action")]
    rows = (
        [
            count,
            _both(_code(shift.before), _code(shift.after)),
            _both(shift.before.rule_id or "-", shift.after.rule_id or "-"),
            _both(shown(shift.before.action) or "-", shown(shift.after.action) or "-"),
        ]
        for shift, count in sorted(counts.items(), key=lambda item: -item[1])
    )
    print_table(columns, rows, title=say("shift-title"))


def print_samples(samples: Mapping[Shift, Sequence[Sample]]) -> None:
    """A line for each sample, safe to print."""
    if not any(samples.values()):
        return
    click.echo(say("shift-samples"))
    for shift, kept in samples.items():
        for sample in kept:
            click.echo(
                "  "
                + say(
                    "shift-sample",
                    before=_code(shift.before),
                    after=_code(shift.after),
                    recipient=one_line(sample.recipient or "-"),
                    text=one_line(sample.text, _SHOWN),
                )
            )


def shift_rows(
    counts: Mapping[Shift, int], samples: Mapping[Shift, Sequence[Sample]] | None = None
) -> Iterator[dict[str, object]]:
    """The same for programs: sections `shift` and `sample`."""
    for shift, count in sorted(counts.items(), key=lambda item: -item[1]):
        yield {"section": "shift", **_pair(shift), "count": count}
    for shift, kept in (samples or {}).items():
        for sample in kept:
            yield {
                "section": "sample",
                **_pair(shift),
                "table": sample.kind,
                "row": sample.row_id,
                "recipient": sample.recipient,
                "text": sample.text,
            }


def _pair(shift: Shift) -> dict[str, object]:
    return {
        f"{which}_{name}": value
        for which, reading in (("old", shift.before), ("new", shift.after))
        for name, value in (
            ("code", str(reading.bounce_code) if reading.bounce_code else None),
            ("rule", reading.rule_id),
            ("action", reading.action),
        )
    }


def _code(reading: Reading) -> str:
    return str(reading.bounce_code) if reading.bounce_code else "-"


def _both(before: str, after: str) -> str:
    return before if before == after else f"{before} -> {after}"
