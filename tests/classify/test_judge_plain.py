"""The judge's short cuts change nothing: rank laziness, masking, and what is remembered.

`PlainJudge` (tests/judging.py) asks google-re2 for every rule; the two must name the same cause by the same rule.
"""

import msgspec
import pytest

from omicard_relay.classify import Judge
from omicard_relay.classify.examples import evidence_of_example
from omicard_relay.classify.wording import masked
from omicard_relay.mail import Evidence, Road, Stage, Verdict, read_reply
from omicard_relay.tables import Policies, Rule, Strength
from tests.judging import PlainJudge, aside, policies, spliced, texts_of
from tests.judging import judge as shared_judge

POLICIES = policies()
JUDGE = shared_judge()


def told(verdict: Verdict | None) -> tuple[int, str, str] | None:
    return None if verdict is None else (verdict.bounce_code, verdict.rule_id, verdict.words)


def bare(text: str) -> Evidence:
    return Evidence(road=Road.MANUAL, replies=(read_reply(text),))


@pytest.fixture(scope="module")
def plain() -> PlainJudge:
    return PlainJudge(POLICIES)


def test_every_example_is_judged_as_without_short_cuts(plain: PlainJudge) -> None:
    for rule in POLICIES.rules:
        for example in rule.examples:
            evidence = evidence_of_example(rule, example)
            assert told(JUDGE.judge(evidence)) == told(plain.judge(evidence)), (rule.id, example)


def test_spliced_texts_are_judged_as_without_short_cuts(plain: PlainJudge) -> None:
    for text in spliced(2000, seed=1):
        assert told(JUDGE.judge(bare(text))) == told(plain.judge(bare(text))), text


ROADS = [
    Evidence(road=Road.ARF, feedback_type="abuse"),
    Evidence(road=Road.AUTOREPLY),
    Evidence(road=Road.AUTOREPLY, new_address="bob@example.com"),
    Evidence(road=Road.DSN, dsn_action="delayed", status="4.4.7"),
    Evidence(road=Road.LOG, recipient="ann@docomo.ne.jp"),
]


@pytest.mark.parametrize("evidence", ROADS, ids=lambda one: f"{one.road}-{one.dsn_action or one.new_address or ''}")
def test_other_roads_are_judged_as_without_short_cuts(plain: PlainJudge, evidence: Evidence) -> None:
    for text in spliced(80, seed=3):
        whole = msgspec.structs.replace(evidence, replies=(read_reply(text, stage=Stage.END_OF_DATA),))
        assert told(JUDGE.judge(whole)) == told(plain.judge(whole)), text


def test_a_site_of_its_own_rules_is_judged_as_without_short_cuts() -> None:
    """Own rules beside the shipped ones, one replaced, some gone."""
    shipped = POLICIES.shipped
    replaced = msgspec.structs.replace(shipped[3], bounce_code=936)
    own = (
        Rule(id="own-of", bounce_code=938, strength=Strength.TEXT, pattern="[^ ]{2,9} of", examples=("x",)),
        Rule(
            id="own-user",
            bounce_code=921,
            strength=Strength.TEXT,
            phrases=("user … unknown", "full"),
            unless="spam",
            examples=("x",),
        ),
        Rule(id="own-550", bounce_code=937, strength=Strength.REPLY, phrases=("550",), examples=("x",)),
    )
    rules = (*shipped[:3], replaced, *shipped[4::2], *own)
    site = Policies(codes=POLICIES.codes, rules=rules, shipped=shipped)
    with aside():
        judge, plain = Judge(site), PlainJudge(site)
    told_by = set()
    for text in (*texts_of((shipped[3],)), *spliced(250, seed=5)):
        verdict = judge.judge(bare(text))
        # Which of several words of one rule are told depends on what else is looked for.
        assert (told(verdict) or ())[:2] == (told(plain.judge(bare(text))) or ())[:2], text
        told_by.add(verdict.rule_id if verdict else "")
    assert {"own-of", "own-user"} <= told_by


def test_masking_before_reading_changes_no_verdict() -> None:
    """So that what is remembered under a masked text is right for every text of that form.

    Words run together without a blank look like an id and become one; a code among them is lost with them.
    """
    for text in (*texts_of(POLICIES.rules), *spliced(3000, seed=2, glued=0)):
        plain, shown = JUDGE.judge(bare(text)), JUDGE.judge(bare(masked(text)))
        assert told(plain) == told(shown), text


def test_what_was_judged_before_changes_no_verdict() -> None:
    """The same texts in another order, by a judge that has seen them all and by one that has seen none."""
    texts = [*texts_of(POLICIES.rules)[::4], *spliced(800, seed=6, glued=0)]
    seasoned = Judge(POLICIES)
    for text in reversed(texts):
        seasoned.judge_text(text)
    for text in texts:
        assert told(seasoned.judge_text(text)) == told(JUDGE.judge(bare(text))), text
