"""Every example of every shipped rule goes through the whole judge and gets the rule's code."""

import pytest

from omicard_relay.classify import Judge
from omicard_relay.classify.judge import NO_CAUSE
from omicard_relay.classify.weigh import TIERS, tier_of
from omicard_relay.mail import Evidence, Road, Verdict, read_reply
from omicard_relay.tables import Policies, Rule, load_policies

POLICIES: Policies = load_policies()
JUDGE = Judge(POLICIES)


def evidence_for(rule: Rule, example: str) -> Evidence:
    """The example under the rule's own conditions."""
    return Evidence(
        road=rule.road[0] if rule.road else Road.MANUAL,
        replies=(
            read_reply(
                example,
                stage=rule.stage[0] if rule.stage else None,
                host=f"mx1.{rule.host[0]}" if rule.host else None,
            ),
        ),
        feedback_type=rule.feedback_type[0] if rule.feedback_type else None,
        dsn_action=rule.dsn_action[0] if rule.dsn_action else None,
        new_address="ann@example.net" if rule.new_address else None,
    )


def expected(rule: Rule, evidence: Evidence) -> int:
    temporary = evidence.reply is not None and evidence.reply.reply_class == 4
    return rule.temporary_code if temporary and rule.temporary_code else rule.bounce_code


EXAMPLES = [(rule, example) for rule in POLICIES.rules for example in rule.examples]
COUNTER_EXAMPLES = [(rule, example) for rule in POLICIES.rules for example in rule.not_examples]


@pytest.mark.parametrize(("rule", "example"), EXAMPLES, ids=[f"{rule.id}-{n}" for n, (rule, _) in enumerate(EXAMPLES)])
def test_example_gets_the_code_of_its_rule(rule: Rule, example: str) -> None:
    evidence = evidence_for(rule, example)
    verdict = JUDGE.judge(evidence)
    assert verdict is not None
    assert verdict.bounce_code == expected(rule, evidence), f"{verdict.rule_id} decided by {verdict.words!r}"
    assert verdict.confidence >= TIERS[_tier(verdict)], f"two causes of the same strength: {verdict.runners_up}"


def _tier(verdict: Verdict) -> str:
    """The tier of the rule that decided; a dispute between equals leaves less confidence than it gives."""
    if verdict.rule_id == NO_CAUSE:
        return "reply"
    rule = POLICIES.rules_by_id[verdict.rule_id]
    return tier_of(rule, POLICIES.codes[verdict.bounce_code].generality)


@pytest.mark.parametrize(
    ("rule", "example"), COUNTER_EXAMPLES, ids=[f"{rule.id}-{n}" for n, (rule, _) in enumerate(COUNTER_EXAMPLES)]
)
def test_counter_example_does_not_get_the_rule(rule: Rule, example: str) -> None:
    verdict = JUDGE.judge(evidence_for(rule, example))
    assert verdict is not None
    assert verdict.rule_id != rule.id


def test_each_code_has_a_rule() -> None:
    reached = {rule.bounce_code for rule in POLICIES.rules} | {rule.temporary_code for rule in POLICIES.rules}
    assert set(POLICIES.codes) <= reached


def test_every_rule_names_where_its_words_come_from_or_is_general() -> None:
    general = ("generic-", "languages-", "autoreply-", "dnsbl-")
    assert [rule.id for rule in POLICIES.rules if not rule.source and not rule.id.startswith(general)] == []
