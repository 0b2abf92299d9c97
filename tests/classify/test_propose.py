"""A phrase from a reply: its own words stay, what changes from mail to mail goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.classify import Judge
from omicard_relay.classify.propose import propose_phrase
from omicard_relay.tables import Policies, Rule, Strength
from omicard_relay.tables.codes import read_codes
from omicard_relay.tables.rules import rule_faults
from tests.ruling import ROOT

CODES = read_codes(ROOT / "policies" / "codes.toml")

CASES = {
    "codes and address": ("450 4.7.1 <ann@example.com>: Come back when the moon is high", "come back when the moon is high"),
    "multi-line": ("450-4.7.1 Come back\n450 4.7.1 when the moon is high", "come back when the moon is high"),
    "wrapper": (
        "host mx1.example.com[192.0.2.1] said: 452 4.2.2 The box is brimming over (in reply to RCPT TO command)",
        "the box is brimming over",
    ),
    "address in the middle": ("550 the moon <ann@example.com> is low", "the moon … is low"),
    "number in the middle": ("550 wait 300 moons", "wait … moons"),
    "link and id": ("554 Our stars forbid letters, see https://example.com/a?b=1 4Xyz-1-Qq", "our stars forbid letters, see"),
    "host name": ("554 mx7.example.com wants no letters from strangers", "wants no letters from strangers"),
    "Chinese": ("550 月亮太低，請稍後再來 [192.0.2.1]", "月亮太低,請稍後再來"),
    "two sentences": ("550 Sorry. The moon is much too low tonight. Ask Ann.", "the moon is much too low tonight"),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "phrase"), CASES.values(), ids=CASES.keys())
def test_the_phrase_is_what_stays_the_same(reply: str, phrase: str) -> None:
    assert propose_phrase(reply) == phrase


@pytest.mark.parametrize("reply", ["", "550", "550 5.1.1", "550 <ann@example.com>", "550 12 34 a1b2", "…", "550 好"])
def test_a_reply_without_words_gives_none(reply: str) -> None:
    assert propose_phrase(reply) is None


@given(
    st.text(max_size=300) | st.lists(st.sampled_from(["550 ", "moon ", "a@b.c ", "9 ", "…", "x.y ", "; "])).map("".join)
)
def test_any_text_gives_none_or_a_phrase_that_is_well_formed(reply: str) -> None:
    phrase = propose_phrase(reply)
    if phrase is not None and len(phrase) >= 2:
        rule = Rule(id="a", bounce_code=938, strength=Strength.TEXT, phrases=(phrase,), examples=("x",))
        assert not list(rule_faults(rule))
        assert phrase == phrase.strip()


@pytest.mark.parametrize(("reply", "_phrase"), CASES.values(), ids=CASES.keys())
def test_a_rule_with_the_phrase_judges_the_reply(reply: str, _phrase: str) -> None:
    rule = Rule(
        id="a", bounce_code=938, strength=Strength.TEXT, phrases=(propose_phrase(reply) or "",), examples=(reply,)
    )
    assert Judge(Policies(codes=CODES, rules=(rule,))).judge_text(reply).rule_id == "a"
