"""Reply, Evidence and Verdict: what is derived of them, and that they cannot be changed."""

import msgspec
import pytest

from omicard_relay.mail import Evidence, Reply, Road, Stage, Trust, Verdict


@pytest.mark.parametrize(
    ("reply_code", "enhanced_status", "reply_class"),
    [(550, None, 5), (421, "4.7.0", 4), (250, None, 2), (None, "5.1.1", 5), (None, None, None), (450, "5.1.1", 4)],
)
def test_reply_class(reply_code: int | None, enhanced_status: str | None, reply_class: int | None) -> None:
    assert (
        Reply(text="", innermost="", reply_code=reply_code, enhanced_status=enhanced_status).reply_class == reply_class
    )


def test_the_innermost_reply_decides() -> None:
    outer, inner = Reply("a", "a", stage=Stage.RCPT), Reply("b", "b", stage=Stage.LATER)
    evidence = Evidence(road=Road.DSN, replies=(outer, inner))
    assert (evidence.reply, evidence.stage) == (inner, Stage.LATER)


def test_evidence_without_words() -> None:
    evidence = Evidence(road=Road.DSN)
    assert (evidence.reply, evidence.stage, evidence.trust) == (None, Stage.UNKNOWN, Trust.CLAIMED)


@pytest.mark.parametrize(
    "value",
    [Reply(text="", innermost=""), Evidence(road=Road.LOG), Verdict(bounce_code=900, rule_id="r", confidence=0.1)],
    ids=lambda value: type(value).__name__,
)
def test_values_are_frozen_and_can_be_keys(value: msgspec.Struct) -> None:
    with pytest.raises(AttributeError):
        value.text = "x"  # type: ignore[attr-defined]
    assert {value: 1}[msgspec.structs.replace(value)] == 1
