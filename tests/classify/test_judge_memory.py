"""What the judge remembers: bounded, never one reply's words in another's verdict, never across host, stage or road."""

import random
import threading

import msgspec
import pytest

from omicard_relay.classify import Judge
from omicard_relay.classify import judge as judging
from omicard_relay.classify.judge import NO_CAUSE
from omicard_relay.mail import Evidence, Reply, Road, Stage, read_reply
from omicard_relay.tables import Policies, Rule, Strength
from tests.judging import aside, policies, spliced

POLICIES = policies()


@pytest.fixture
def judge() -> Judge:
    """A judge that has seen nothing."""
    return Judge(POLICIES)


def small(*rules: Rule) -> Judge:
    with aside():
        return Judge(Policies(codes=POLICIES.codes, rules=rules))


def rule(name: str, code: int, **more: object) -> Rule:
    return Rule(id=name, bounce_code=code, strength=Strength.TEXT, examples=("x",), **more)  # type: ignore[arg-type]


def remembered(judge: Judge) -> int:
    """Characters that the keys of both memories hold."""
    return sum(
        len(part)
        for memory in (judge._told, judge._read_before)
        for key in memory
        for part in key
        if isinstance(part, str | bytes)
    )


def test_a_flood_of_different_replies_does_not_fill_the_memory(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_REMEMBERED", 50)
    monkeypatch.setattr(judging, "_WORDINGS", 50)
    for number in range(400):
        judge.judge_text(f"550 user {number} unknown here", recipient=f"ann@d{number}.example")
        assert len(judge._told) <= 50
        assert len(judge._read_before) <= 50
        assert len(judge._wordings) <= 50


@pytest.mark.parametrize("size", [2_000, 25_000])
def test_long_texts_and_long_names_are_not_remembered(judge: Judge, size: int) -> None:
    long = "no " * size
    judge.judge_text(f"550 user unknown {long}")
    judge.judge_text("550 user unknown", host=f"{'x.' * size}example")
    judge.judge_text("550 user unknown", recipient=f"ann@{'x.' * size}example")
    reply = read_reply("550 user unknown")
    for evidence in (
        Evidence(road=Road.DSN, replies=(reply,), remote_mta=long),
        Evidence(road=Road.DSN, replies=(reply,), dsn_action=long),
        Evidence(road=Road.ARF, replies=(reply,), feedback_type=long),
        Evidence(road=Road.DSN, replies=(msgspec.structs.replace(reply, host=long),)),
        Evidence(road=Road.DSN, replies=(msgspec.structs.replace(reply, enhanced_status=f"5.1.1{long}"),)),
    ):
        judge.judge(evidence)
    assert remembered(judge) < 2_000


def test_the_same_reply_to_others_is_remembered_once(judge: Judge) -> None:
    for number in range(50):
        judge.judge_text(
            f"550 5.1.1 <ann{number}@example.com> unknown, id 4bQ2T13zXyz{number:03} from 203.0.113.{number}"
        )
    assert len(judge._told) == 1


def test_words_of_one_reply_never_stand_in_the_verdict_of_another(judge: Judge) -> None:
    secret = "550 5.1.1 <secret.name@private.example>: user unknown"
    for first, second in (
        (secret, secret.replace("secret.name@private", "ann@public")),
        ("zzz secret.name@private.example xyzzy", "zzz ann@public.example xyzzy"),
        ("451 zzz 203.0.113.9 q4bQ2T13zXyz9", "451 zzz 198.51.100.1 q4cR3U24aXyz9"),
    ):
        judge.judge_text(first)
        verdict = judge.judge_text(second)
        told = f"{verdict.words} {verdict.runners_up}"
        assert not any(word in told for word in ("secret", "private", "203.0.113", "4bQ2T13"))


def test_words_are_told_in_the_case_of_the_reply(judge: Judge) -> None:
    for text in ("552 Mailbox FULL", "552 mailbox full", "552 MAILBOX FULL"):
        assert judge.judge_text(text).words in text


def test_no_verdict_tells_words_that_its_reply_does_not_have(judge: Judge) -> None:
    """Whoever was judged before."""
    for text in spliced(1200, seed=23, glued=0):
        verdict = judge.judge_text(text)
        shown = judging.wording_of(" ".join(text.replace("\\n", " ").split())).shown
        if verdict.rule_id != NO_CAUSE:
            words = verdict.words.removeprefix("outer text: ").removesuffix("…")
            joined = judging.wording_of(read_reply(text).innermost).shown
            assert words in shown or words in joined, (text, verdict)


CONDITIONAL = small(
    rule("anybody", 902, phrases=("user unknown",)),
    rule("at-host", 926, phrases=("user unknown",), host=("mx.example",), stage=(Stage.END_OF_DATA,)),
    rule("by-report", 913, phrases=("user unknown",), road=(Road.ARF,), feedback_type=("abuse",)),
    rule("by-answer", 906, phrases=("user unknown",), road=(Road.AUTOREPLY,)),
    rule("moved", 908, pattern="user +unknown", road=(Road.AUTOREPLY,), new_address=True),
    rule("late", 901, phrases=("user unknown now",), dsn_action=("delayed",), temporary_code=938),
)
R = read_reply("550 user unknown")
AT_END = msgspec.structs.replace(R, stage=Stage.END_OF_DATA)
CASES = [
    (Evidence(road=Road.LOG, replies=(R,)), "anybody"),
    (Evidence(road=Road.LOG, replies=(AT_END,)), "anybody"),
    (Evidence(road=Road.LOG, replies=(msgspec.structs.replace(AT_END, host="a.mx.example"),)), "at-host"),
    (Evidence(road=Road.LOG, replies=(msgspec.structs.replace(AT_END, host="amx.example"),)), "anybody"),
    (Evidence(road=Road.LOG, replies=(msgspec.structs.replace(R, stage=Stage.RCPT, host="a.mx.example"),)), "anybody"),
    (Evidence(road=Road.DSN, replies=(AT_END,), remote_mta="mx.example."), "at-host"),
    (Evidence(road=Road.DSN, replies=(AT_END,), recipient="a@mx.example"), "at-host"),
    (Evidence(road=Road.DSN, replies=(AT_END,), original_recipient="a@MX.example"), "at-host"),
    (Evidence(road=Road.ARF, replies=(R,), feedback_type="abuse"), "by-report"),
    (Evidence(road=Road.ARF, replies=(R,), feedback_type="ABUSE"), "by-report"),
    (Evidence(road=Road.ARF, replies=(R,), feedback_type="other"), NO_CAUSE),
    (Evidence(road=Road.AUTOREPLY, replies=(R,)), "by-answer"),
    (Evidence(road=Road.AUTOREPLY, replies=(R,), new_address="b@example.com"), "moved"),
    (Evidence(road=Road.DSN, replies=(read_reply("550 user unknown now"),), dsn_action="delayed"), "late"),
    (Evidence(road=Road.DSN, replies=(read_reply("550 user unknown now"),), dsn_action="failed"), "anybody"),
]  # fmt: skip


def test_the_same_words_under_other_conditions_are_another_reply() -> None:
    chance = random.Random(29)  # noqa: S311  the same order every time
    for _ in range(20):
        for evidence, rule_id in chance.sample(CASES, len(CASES)):
            verdict = CONDITIONAL.judge(evidence)
            assert verdict is not None
            assert verdict.rule_id == rule_id, evidence


def test_a_pasted_text_is_remembered_with_its_stage_host_and_recipient() -> None:
    for _ in range(3):
        told = [
            CONDITIONAL.judge_text("550 user unknown", *more).rule_id
            for more in (
                (),
                (Stage.END_OF_DATA,),
                (Stage.END_OF_DATA, "a.mx.example"),
                (Stage.RCPT, "a.mx.example"),
                (Stage.END_OF_DATA, None, "ann@mx.example"),
                (Stage.END_OF_DATA, None, "ann@other.example"),
            )
        ]
        assert told == ["anybody", "anybody", "at-host", "anybody", "at-host", "anybody"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("450-ann@example.com over quota", "550-ann@example.com over quota"),
        ("450 4.2.2-ann@example.com no", "450 4.3.1-ann@example.com no"),
        ("x@y.example\\nmailbox full", "x@y.example\\nuser unknown"),
        ("mailbox full\\nx@y.example", "user unknown\\nx@y.example"),
        ("450:4:2:2 no", "550:5:1:1 no"),
        ("450mailboxisfull no", "550mailboxisfull no"),
    ],
)
def test_what_is_masked_never_hides_a_code_or_a_cause(judge: Judge, first: str, second: str) -> None:
    fresh = Judge(POLICIES).judge_said(second)
    judge.judge_said(first)
    assert judge.judge_said(second) == fresh


def test_the_class_is_remembered_with_the_verdict(judge: Judge) -> None:
    for _ in range(2):
        assert [judge.judge_said(text)[1] for text in ("450 xyzzy", "550 xyzzy", "xyzzy", "250 xyzzy")] == [
            4,
            5,
            None,
            2,
        ]


def test_several_threads_share_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = list(spliced(300, seed=31))
    alone = Judge(POLICIES)
    wanted = [alone.judge_text(text) for text in texts]
    # So small that it is emptied again and again while others read it.
    monkeypatch.setattr(judging, "_REMEMBERED", 20)
    shared = Judge(POLICIES)
    wrong: list[str] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311  an order, no secret
        for place in chance.choices(range(len(texts)), k=400):
            try:
                if shared.judge_text(texts[place]) != wanted[place]:
                    wrong.append(texts[place])
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_reply_without_words_is_judged_beside_one_with_words(judge: Judge) -> None:
    empty = Evidence(road=Road.DSN, replies=(Reply(text="", innermost=""),), dsn_action="failed")
    first = judge.judge(empty)
    judge.judge_text("550 user unknown")
    assert judge.judge(empty) == first
