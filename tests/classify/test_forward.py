"""A failing forward is 920 and speaks of the address on our list; another spelling of the same mailbox is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.classify.forward import FORWARD_FAILED, is_forward
from omicard_relay.mail import Evidence, Road, read_reply
from tests.judging import judge as shared_judge

JUDGE = shared_judge()

FORWARDS = {
    "another name elsewhere": ("ann@a.example", "smith@b.example"),
    "a sibling domain": ("ann@a.example", "smith@c.example"),
    "in another case": ("Ann@A.Example", "Smith@B.example"),
    "a name too short to tell": ("an@a.example", "anderson@b.example"),
}
SAME = {
    "the same": ("ann@a.example", "ann@a.example"),
    "another case": ("Ann@a.example", "aNN@A.EXAMPLE"),
    "the domain rewritten": ("ann@a.example", "ann@mailhost.b.example"),
    "a subdomain": ("ann@a.example", "x77@store.a.example"),
    "the domain above": ("ann@mail.a.example", "asmith@a.example"),
    "another name in one house": ("ann@a.example", "asmith@a.example"),
    "a detail": ("ann+news@a.example", "ann@b.example"),
    "dots": ("ann.smith@a.example", "annsmith@b.example"),
    "quotes": ("ann@a.example", '"ann"@b.example'),
    "a gateway": ("ann@a.example", "ann%a.example@gateway.b.example"),
    "SRS": ("ann@a.example", "srs0=hhh=tt=a.example=ann@b.example"),
    "no mailbox": ("ann@a.example", "|/usr/bin/vacation"),
    "a bare name": ("ann@a.example", "root"),
    "nothing": ("ann@a.example", ""),
    "no domain": ("ann@a.example", "smith@localhost"),
    "X.400": ("ann@a.example", "/o=corp/ou=first/cn=smith"),
}


@pytest.mark.parametrize("case", FORWARDS)
def test_another_mailbox_of_somebody_else_is_a_forward(case):
    original, final = FORWARDS[case]
    assert is_forward(original, final)
    assert is_forward(final, original)


@pytest.mark.parametrize("case", SAME)
def test_another_spelling_is_none(case):
    assert not is_forward(*SAME[case])


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_texts_are_answered_alike_both_ways(one, other):
    assert is_forward(one, other) == is_forward(other, one)


def report(text, *, original="ann@a.example", final="smith@b.example", road=Road.DSN, **more):
    return Evidence(road=road, original_recipient=original, recipient=final, replies=(read_reply(text),), **more)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("550 5.1.1 no such user here", 902),
        ("552 5.2.2 mailbox full", 901),
        ("550 the account is disabled", 912),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found", 903),
    ],
)
def test_what_an_address_code_says_of_the_other_mailbox_is_a_failing_forward(text, code):
    verdict = JUDGE.judge(report(text))
    assert (verdict.bounce_code, verdict.rule_id) == (920, FORWARD_FAILED)
    plain = JUDGE.judge(report(text, final="ann@a.example"))
    assert plain.bounce_code == code
    assert verdict.words == plain.words
    first = verdict.runners_up[0]
    assert (first.bounce_code, first.rule_id, first.confidence) == (code, plain.rule_id, plain.confidence)


@pytest.mark.parametrize("text", ["554 5.7.1 rejected as spam", "552 5.3.4 message too big", "450 greylisted"])
def test_a_cause_that_is_not_the_address_stays(text):
    assert JUDGE.judge(report(text)) == JUDGE.judge(report(text, final="ann@a.example"))


def test_the_memory_of_the_judge_does_not_mix_them():
    """One spelling and one forward in the same two domains, in both orders."""
    for _ in range(2):
        assert JUDGE.judge(report("550 5.1.1 no such user", final="ann@b.example")).bounce_code == 902
        assert JUDGE.judge(report("550 5.1.1 no such user", final="smith@b.example")).bounce_code == 920


def test_an_alias_of_our_own_postfix_that_leads_elsewhere_is_a_forward():
    assert JUDGE.judge(report("550 5.1.1 no such user", road=Road.LOG)).bounce_code == 920


def test_a_report_of_no_failure_stays_one():
    assert JUDGE.judge(report("250 ok", dsn_action="delivered")) is None
