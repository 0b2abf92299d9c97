"""What is wrong with a set of rules as the judge sees it: examples that fail, rules that contradict or hide each other.

A rule is known by its id; file and line are put in by the caller. Two kinds of reasoning: every example is judged by
the whole set, and phrases are compared as words (classify/overlap.py), without asking the judge.
Not here: the form of the files (tables/lint.py).
Known limit: patterns are not compared with each other, only by their examples.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from omicard_relay.classify.compare import WinReason, rank_of, why_it_wins
from omicard_relay.classify.examples import ExampleResult, evidence_of_example, example_results
from omicard_relay.classify.judge import NO_CAUSE, Judge
from omicard_relay.classify.overlap import overlap_findings
from omicard_relay.mail import Verdict, one_line
from omicard_relay.tables.findings import Finding, FindingKind, Level
from omicard_relay.tables.policies import Policies

__all__ = ["Flip", "check_rules", "example_findings", "flips", "result_findings"]

_SHOWN = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """An example of a rule that both sets have, judged otherwise by the second one."""

    before: ExampleResult
    after: ExampleResult

    @property
    def breaks(self) -> bool:
        """Whether the example did what its author says, and does not any more."""
        return self.before.passed and not self.after.passed


def check_rules(policies: Policies, only: Collection[str] | None = None) -> Iterator[Finding]:
    """All findings, rule by rule; with `only`, those of the rules with these ids."""
    yield from example_findings(policies, only)
    yield from overlap_findings(policies, only)
    if only is None:
        yield from _codes_without_rule(policies)


def example_findings(policies: Policies, only: Collection[str] | None = None) -> Iterator[Finding]:
    """What the examples of the rules (with `only`, of those with these ids) say, judged by the whole set."""
    for _, results in groupby(example_results(policies, Judge(policies), only), key=lambda result: result.rule.id):
        yield from result_findings(tuple(results), policies)


def flips(before: Policies, after: Policies) -> tuple[Flip, ...]:
    """The examples of rules that did not change themselves, whose cause or action is another one in the second set."""
    kept = {rule.id for rule in after.rules if before.rules_by_id.get(rule.id) == rule}
    if before.codes == after.codes:
        kept &= _touched(before, kept) | _touched(after, kept)
    if not kept:
        return ()
    # By place: both sets have the same examples of these rules, perhaps in another order of rules.
    seconds: dict[str, list[ExampleResult]] = {}
    for result in example_results(after, Judge(after), kept):
        seconds.setdefault(result.rule.id, []).append(result)
    found = []
    for rule_id, firsts in groupby(example_results(before, Judge(before), kept), key=lambda result: result.rule.id):
        for first, second in zip(firsts, seconds[rule_id], strict=True):
            if first.passed != second.passed or _outcome(first, before) != _outcome(second, after):
                found.append(Flip(before=first, after=second))
    return tuple(found)


def result_findings(results: Collection[ExampleResult], policies: Policies) -> Iterator[Finding]:
    """What the judged examples of one rule say about it."""
    own = False
    for result in results:
        if not result.passed:
            yield _failed(result)
            continue
        if result.is_counter or result.verdict is None:
            continue
        own = own or result.verdict.rule_id == result.rule.id
        yield from _conflicts(result, result.verdict, policies)
    deciding = {r.verdict.rule_id for r in results if not r.is_counter and r.passed and r.verdict is not None}
    if deciding and not own and all(result.passed for result in results):
        by = ", ".join(sorted(deciding))
        rule_id = next(iter(results)).rule.id
        yield Finding(kind=FindingKind.SHADOWED, level=Level.WARNING, rule_id=rule_id, fields={"by": by})


def _touched(policies: Policies, kept: Collection[str]) -> set[str]:
    """The kept rules on whose examples some other rule of this set holds: only there a verdict can change.

    The set of the changed rules alone is small and quick to compile, where the whole one takes a second.
    """
    changed = tuple(rule for rule in policies.rules if rule.id not in kept)
    if not changed:
        return set()
    judge = Judge(Policies(codes=policies.codes, rules=changed))
    touched = set()
    for rule in policies.rules:
        if rule.id in kept:
            evidences = (evidence_of_example(rule, example) for example in (*rule.examples, *rule.not_examples))
            if any((verdict := judge.judge(one)) and verdict.rule_id != NO_CAUSE for one in evidences):
                touched.add(rule.id)
    return touched


def _failed(result: ExampleResult) -> Finding:
    verdict = result.verdict
    fields = {
        "example": one_line(result.example, _SHOWN),
        "expected": str(result.expected or ""),
        "got": str(verdict.bounce_code) if verdict else "-",
        "by": verdict.rule_id if verdict else "-",
        "words": one_line(verdict.words, _SHOWN) if verdict else "",
    }
    kind = FindingKind.NOT_EXAMPLE_HITS if result.is_counter else FindingKind.EXAMPLE_FAILS
    return Finding(kind=kind, rule_id=result.rule.id, fields=fields)


def _conflicts(result: ExampleResult, verdict: Verdict, policies: Policies) -> Iterator[Finding]:
    """Rules as strong as the one that decided, with another code, that lost only by shorter words."""
    winner = policies.rules_by_id.get(verdict.rule_id)
    if winner is None:
        return
    codes = policies.codes
    first = (winner, verdict.bounce_code)
    others = [
        (policies.rules_by_id[other.rule_id], other.bounce_code)
        for other in verdict.runners_up
        if other.rule_id in policies.rules_by_id
    ]
    peers = [other for other in others if rank_of(*other, codes) == rank_of(*first, codes)]
    stated = {code for _, code in peers}
    for rule, code in peers:
        if why_it_wins(first, (rule, code), codes, stated) is WinReason.LONGER:
            fields = {
                "example": one_line(result.example, _SHOWN),
                "by": winner.id,
                "code": str(verdict.bounce_code),
                "other": rule.id,
                "other_code": str(code),
            }
            yield Finding(kind=FindingKind.CONFLICT, rule_id=result.rule.id, fields=fields)


def _outcome(result: ExampleResult, policies: Policies) -> Mapping[str, object]:
    """What an operator would see change: the code, and what the deciding rule says about the action."""
    if result.verdict is None:
        return {}
    rule = policies.rules_by_id.get(result.verdict.rule_id)
    return {
        "code": result.verdict.bounce_code,
        "action": rule.action if rule else None,
        "temporary_action": rule.temporary_action if rule else None,
    }


def _codes_without_rule(policies: Policies) -> Iterator[Finding]:
    reached = {rule.bounce_code for rule in policies.rules} | {rule.temporary_code for rule in policies.rules}
    for number, code in policies.codes.items():
        if number not in reached:
            yield Finding(kind=FindingKind.CODE_WITHOUT_RULE, fields={"code": str(number), "name": code.name})
