"""decide: the table's default action, unless the rule states its own; reasons in words."""

from dataclasses import replace

import msgspec
import pytest

from omicard_relay.classify import Judge
from omicard_relay.mail import Action, Verdict, read_reply
from omicard_relay.steering import decide
from omicard_relay.tables import load_policies

POLICIES = load_policies()


@pytest.mark.parametrize("number", POLICIES.codes)
def test_default_action_is_the_table_s(number: int) -> None:
    verdict = Verdict(bounce_code=number, rule_id="no-cause", confidence=0.5)
    decision = decide(verdict, reply=None, policies=POLICIES)
    assert decision.action is POLICIES.codes[number].action
    assert str(number) in decision.reasons[0]


def test_reply_s_digit_does_not_choose_the_action() -> None:
    judge = Judge(POLICIES)
    for text in ("452 4.2.2 mailbox full", "552 5.2.2 mailbox full"):
        reply = read_reply(text)
        decision = decide(judge.judge_text(text), reply=reply, policies=POLICIES)
        assert decision.action is Action.RETURN
        assert any(text[:3] in reason for reason in decision.reasons)


def test_action_of_the_rule_wins_and_is_named() -> None:
    verdict = Judge(POLICIES).judge_text("552 5.2.2 mailbox full")
    rules = tuple(
        msgspec.structs.replace(rule, action=Action.RETRY) if rule.id == verdict.rule_id else rule
        for rule in POLICIES.rules
    )
    decision = decide(verdict, reply=None, policies=replace(POLICIES, rules=rules))
    assert decision.action is Action.RETRY
    assert verdict.rule_id in decision.reasons[0]


def test_dns_trouble_with_the_sender_is_tried_again_when_temporary() -> None:
    judge = Judge(POLICIES)
    for text, action in (
        ("450 4.1.8 <news@example.org>: Sender address rejected: Domain not found", Action.RETRY),
        ("550 5.1.8 <news@example.org>: Sender address rejected: Domain not found", Action.RETURN),
    ):
        decision = decide(judge.judge_text(text), reply=read_reply(text), policies=POLICIES)
        assert decision.action is action


@pytest.mark.parametrize(
    ("text", "is_noted"),
    [
        ("[902] host mx.a.test[192.0.2.9] said: 450 4.1.1 who? (in reply to RCPT TO command)", True),
        ("host mx.a.test[192.0.2.9] said: 450 4.1.1 who? (in reply to RCPT TO command)", False),
        ("[938] resting until 2026-11-24 21:40 UTC", False),
        ("[902] returned: host mx.a.test[192.0.2.9] said: 450 4.1.1 who? (in reply to RCPT TO command)", False),
    ],
    ids=["the-filter", "the-server", "our-rest", "our-return"],
)
def test_a_class_that_our_filter_changed_is_noted(text: str, is_noted: bool) -> None:
    verdict = Verdict(bounce_code=902, rule_id="x", confidence=1.0)
    decision = decide(verdict, reply=read_reply(text), policies=POLICIES)
    assert any("status filter" in reason for reason in decision.reasons) is is_noted
