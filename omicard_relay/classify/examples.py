"""A rule's examples as evidence, and what the judge makes of them.

An example is read under the rule's own conditions: the first of its stages, hosts, roads and report types.
Not here: what a failed example means for a set of rules (classify/check.py).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from omicard_relay.classify.judge import Judge
from omicard_relay.mail import Evidence, Road, Verdict, read_reply
from omicard_relay.tables.policies import Policies
from omicard_relay.tables.rules import Rule

__all__ = ["ExampleResult", "evidence_of_example", "example_results", "expected_code"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleResult:
    """One example and its verdict. `is_counter`: a reply that must not get this rule; `expected` is None then.

    `verdict` is None when the evidence states that nothing failed.
    """

    rule: Rule
    example: str
    is_counter: bool
    expected: int | None
    verdict: Verdict | None

    @property
    def passed(self) -> bool:
        """Whether the example does what its author says."""
        if self.is_counter:
            return self.verdict is None or self.verdict.rule_id != self.rule.id
        return self.verdict is not None and self.verdict.bounce_code == self.expected


def evidence_of_example(rule: Rule, example: str) -> Evidence:
    """The example under the rule's own conditions."""
    reply = read_reply(
        example,
        stage=rule.stage[0] if rule.stage else None,
        host=f"mx1.{rule.host[0].strip('.')}" if rule.host else None,
    )
    return Evidence(
        road=rule.road[0] if rule.road else Road.MANUAL,
        replies=(reply,),
        feedback_type=rule.feedback_type[0] if rule.feedback_type else None,
        dsn_action=rule.dsn_action[0] if rule.dsn_action else None,
        new_address="ann@example.net" if rule.new_address else None,
    )


def expected_code(rule: Rule, evidence: Evidence) -> int:
    """The code that the rule gives to this evidence."""
    temporary = evidence.reply is not None and evidence.reply.reply_class == 4
    return rule.temporary_code if temporary and rule.temporary_code else rule.bounce_code


def example_results(policies: Policies, judge: Judge, only: Collection[str] | None = None) -> Iterator[ExampleResult]:
    """Every example and counter-example of the rules (of those with the ids `only`), judged, in the order of the rules."""
    for rule in policies.rules:
        if only is not None and rule.id not in only:
            continue
        for is_counter, examples in ((False, rule.examples), (True, rule.not_examples)):
            for example in examples:
                evidence = evidence_of_example(rule, example)
                yield ExampleResult(
                    rule=rule,
                    example=example,
                    is_counter=is_counter,
                    expected=None if is_counter else expected_code(rule, evidence),
                    verdict=judge.judge(evidence),
                )
