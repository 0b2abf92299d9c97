"""Judge: the order of judgement, the layers of a report, roads, and any text at all."""

import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.classify import Judge
from omicard_relay.mail import Evidence, Reply, Road, Stage, read_reply
from omicard_relay.tables import Policies, Rule, Strength
from tests.judging import aside, policies
from tests.judging import judge as shared_judge

POLICIES = policies()
JUDGE = shared_judge()

#: Cases of the table's text and of its rulings: text, code.
BOUNDARIES = {
    "text beats enhanced code": ("550 5.1.1 <ann@example.com> has sent to too many recipients this hour", 921),
    "enhanced code beats reply code": ("552 5.1.1 ann", 902),
    "token beats text": ("421 4.7.0 [TSS04] Messages temporarily deferred due to user complaints", 938),
    "wrapper yields to inner cause": ("554 5.4.7 [internal] (last transfail: 452 4.2.2 inbox is out of storage)", 901),
    "wrapper without cause": ("554 5.4.7 message expired", 931),
    "bare refusal": ("554 access denied", 907),
    "nothing said": ("554 transaction failed", 900),
    "protocol complaint": ("503 5.5.1 bad sequence of commands", 900),
    "full so long that closed": ("550 the mailbox was full for 90 days, account closed", 912),
    "disk of the server": ("452 4.3.1 insufficient disk space", 915),
    "local recipient table is no directory": ("550 5.1.1 User unknown in local recipient table", 902),
    "hops that may be a loop": ("554 5.4.14 Hop count exceeded - possible mail loop", 904),
    "a stated loop": ("554 routing loop detected", 937),
    "TLS wanted of us": ("530 5.7.0 Must issue a STARTTLS command first", 923),
    "mailbox unavailable, 5xx": ("550 Requested action not taken: mailbox unavailable", 902),
    "mailbox unavailable, 450": ("450 Requested action not taken: mailbox unavailable", 928),
    "connect timed out": ("connect to mx1.example.com[192.0.2.1]:25: Connection timed out", 910),
    "conversation timed out": ("conversation with mx1.example.com[192.0.2.1] timed out while sending MAIL FROM", 911),
    "no route": ("connect to mx1.example.com[192.0.2.1]:25: No route to host", 911),
    "SMTPUTF8 missing": ("SMTPUTF8 is required, but was not offered by host mx1.example.com[192.0.2.1]", 909),
    "quota that is a rate": ("550 5.2.2 submission quota exceeded", 921),
    "single label": ("550 5.1.6 single label domains not accepted", 902),
    "quarantined": ("550 5.2.1 Content Filter agent quarantined this message", 918),
    "5.1.1 over quota": ("552 5.1.1 mailbox over quota", 901),
    "unusual rate of an IP, 4xx": ("421 4.7.28 unusual rate of unsolicited mail originating from your IP address", 938),
    "unusual rate of an IP, 5xx": ("550 5.7.28 unusual rate of unsolicited mail originating from your IP address", 939),
    "unusual rate of nobody": ("421 4.7.28 unusual rate of unsolicited mail", 913),
    "QQ frequency": ("550 Connection frequency limited", 921),
    "edge blocking": ("550 5.4.1 Recipient address rejected: Access denied", 902),
    "relay at 5.4.1": ("550 5.4.1 Relay access denied", 923),
    "vendor score, 5xx": ("554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1", 939),
    "vendor score, 4xx": ("421 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1", 938),
    "public list": ("554 blocked using zen.spamhaus.org", 917),
    "PBL": ("554 listed in the PBL of Spamhaus", 925),
    "sender domain on a list": ("550 MailFrom domain is listed in Spamhaus", 919),
    "temporary DNS trouble with the sender": ("450 4.1.8 Sender address rejected: Domain not found", 933),
    "too many recipients": ("452 4.5.3 Too many recipients", 921),
    "too many invalid recipients": ("550 too many invalid recipients", 924),
    "messages a connection": ("421 too many messages in this session", 929),
    "service unavailable, 4xx": ("421 Service unavailable", 915),
    "service unavailable, 5xx": ("554 Service unavailable", 907),
    "channel closes": ("421 mx1.example.com closing transmission channel", 915),
    "frozen in Chinese": ("550 用户被冻结", 934),
    "closed in Chinese": ("550 用户被禁用", 912),
    "country": ("554 mail from your country is not accepted", 939),
    "ezmlm asks to confirm": ("confirm that you are human", 936),
    "address names are no words": ("550 5.1.1 <mailbox-full@example.com>: user unknown", 902),
    "IP octets are no codes": ("550 blocked: 5.1.1.7 is listed in an RBL", 917),
}


@pytest.mark.parametrize(("text", "code"), BOUNDARIES.values(), ids=BOUNDARIES.keys())
def test_boundary_of_the_table(text: str, code: int) -> None:
    verdict = JUDGE.judge_text(text)
    assert verdict.bounce_code == code, f"{verdict.rule_id}: {verdict.words!r}"


def test_verdict_names_rule_words_and_runners_up() -> None:
    verdict = JUDGE.judge_text("552 5.1.1 <ann@example.com>: Mailbox full, access denied")
    assert verdict.bounce_code == 901
    assert verdict.rule_id in POLICIES.rules_by_id
    assert "Mailbox full" in verdict.words
    assert 0 < verdict.confidence <= 1
    assert [runner.bounce_code for runner in verdict.runners_up][:1] == [902]
    # Weaker readings are told where that costs nothing, and each code but the winner's once.
    codes = [runner.bounce_code for runner in verdict.runners_up]
    assert len(set(codes)) == len(codes)
    assert set(codes) <= {902, 907}


def test_agreeing_code_makes_surer() -> None:
    alone = JUDGE.judge_text("mailbox full").confidence
    assert JUDGE.judge_text("552 5.2.2 mailbox full").confidence > alone


def test_carrier_says_unknown_after_data() -> None:
    at_rcpt = JUDGE.judge_text("550 Unknown user", stage=Stage.RCPT, host="mx.docomo.ne.jp")
    after_data = JUDGE.judge_text("550 Unknown user", stage=Stage.END_OF_DATA, host="mx.docomo.ne.jp")
    elsewhere = JUDGE.judge_text("550 Unknown user", stage=Stage.END_OF_DATA, host="mx.example.com")
    assert [v.bounce_code for v in (at_rcpt, after_data, elsewhere)] == [902, 926, 902]


def test_recipient_domain_stands_for_its_provider() -> None:
    verdict = JUDGE.judge_text("550 Unknown user", stage=Stage.END_OF_DATA, recipient="ann@docomo.ne.jp")
    assert verdict.bounce_code == 926


def test_outer_reply_speaks_when_the_inner_one_is_silent() -> None:
    outer, inner = read_reply("552 5.2.2 mailbox full"), read_reply("554 transaction failed")
    verdict = JUDGE.judge(Evidence(road=Road.DSN, replies=(outer, inner)))
    assert verdict is not None
    assert (verdict.bounce_code, verdict.words.startswith("outer text: ")) == (901, True)
    assert verdict.confidence < JUDGE.judge_text("552 5.2.2 mailbox full").confidence


def test_inner_reply_wins_over_the_outer_one() -> None:
    outer, inner = read_reply("552 5.2.2 mailbox full"), read_reply("550 5.7.1 access denied")
    verdict = JUDGE.judge(Evidence(road=Road.DSN, replies=(outer, inner)))
    assert verdict is not None
    assert verdict.bounce_code == 907


def test_dsn_without_words_falls_back_to_its_status() -> None:
    verdict = JUDGE.judge(Evidence(road=Road.DSN, status="5.1.1", dsn_action="failed"))
    assert verdict is not None
    assert verdict.bounce_code == 902


def test_dsn_without_anything_is_900_with_low_confidence() -> None:
    verdict = JUDGE.judge(Evidence(road=Road.DSN, dsn_action="failed"))
    assert verdict is not None
    assert (verdict.bounce_code, verdict.rule_id) == (900, "no-cause")
    assert verdict.confidence <= 0.2


def test_bare_delayed_dsn_is_928_and_a_stated_cause_wins() -> None:
    bare = JUDGE.judge(Evidence(road=Road.DSN, dsn_action="delayed"))
    stated = JUDGE.judge(Evidence(road=Road.DSN, dsn_action="delayed", replies=(read_reply("452 4.2.2 mailbox full"),)))
    assert bare is not None
    assert stated is not None
    assert (bare.bounce_code, stated.bounce_code) == (928, 901)


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(road=Road.DSN, dsn_action="delivered"),
        Evidence(road=Road.DSN, dsn_action="relayed"),
        Evidence(road=Road.DSN, dsn_action="Expanded"),
        Evidence(road=Road.ARF, feedback_type="not-spam"),
        Evidence(road=Road.DSN, replies=(read_reply("250 2.1.5 Ok"),)),
    ],
    ids=["delivered", "relayed", "expanded", "not spam", "250"],
)
def test_no_failure_gives_no_verdict(evidence: Evidence) -> None:
    assert JUDGE.judge(evidence) is None


@pytest.mark.parametrize(
    ("feedback_type", "words", "code"),
    [
        ("abuse", "", 913),
        (None, "", 913),
        ("opt-out", "", 926),
        ("opt-out-list", "", 926),
        ("auth-failure", "", 933),
        ("virus", "", 930),
        ("fraud", "", 913),
        ("other", "they complained about spam", 913),
        ("other", "hello", 900),
    ],
)
def test_feedback_type_is_the_statement(feedback_type: str | None, words: str, code: int) -> None:
    replies = (read_reply(words, stage=Stage.LATER),) if words else ()
    verdict = JUDGE.judge(Evidence(road=Road.ARF, feedback_type=feedback_type, replies=replies))
    assert verdict is not None
    assert verdict.bounce_code == code


@pytest.mark.parametrize(
    ("text", "new_address", "code"),
    [
        ("I am on holiday until Monday. In urgent cases write to bob@example.com.", None, 906),
        ("My mailbox is full of joy and the list is blocked, user unknown.", None, 906),
        ("Ann is no longer with the company.", None, 912),
        ("Ann has left the company. Please write to bob@example.com.", "bob@example.com", 908),
        ("自動回覆：我正在休假中", None, 906),
    ],
)
def test_auto_reply(text: str, new_address: str | None, code: int) -> None:
    reply = read_reply(text, stage=Stage.LATER)
    verdict = JUDGE.judge(Evidence(road=Road.AUTOREPLY, replies=(reply,), new_address=new_address))
    assert verdict is not None
    assert verdict.bounce_code == code


def test_our_own_answer_is_read_back() -> None:
    verdict = JUDGE.judge(Evidence(road=Road.LOG, replies=(read_reply("[938] resting until 21:40"),)))
    assert verdict is not None
    assert (verdict.bounce_code, verdict.rule_id) == (938, "own-answer")


def test_remote_words_behind_our_own_answer_win() -> None:
    text = "[900] host mx1.example.com[192.0.2.1] said: 452 4.2.2 Mailbox full (in reply to RCPT TO command)"
    verdict = JUDGE.judge_text(text)
    assert (verdict.bounce_code, verdict.rule_id != "own-answer") == (901, True)


def test_same_reply_same_verdict_by_log_dsn_and_hand() -> None:
    reply = read_reply("550 5.1.1 no such user")
    by_road = {road: JUDGE.judge(Evidence(road=road, replies=(reply,))) for road in (Road.LOG, Road.DSN, Road.MANUAL)}
    assert len(set(by_road.values())) == 1


def test_several_threads_judge_at_once() -> None:
    judge = Judge(POLICIES)
    texts = [text for text, _ in BOUNDARIES.values()]
    wanted = [JUDGE.judge_text(text) for text in texts]
    results: dict[int, bool] = {}

    def work(number: int) -> None:
        results[number] = [judge.judge_text(text) for text in texts] == wanted

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(4), True)


def test_new_judge_compiles_quickly() -> None:
    # Another tuple of rules, so that the process's cache does not answer.
    other = replace_rules()
    started = time.process_time()
    Judge(other).judge_text("550 5.1.1 no such user")
    assert time.process_time() - started < 2


def replace_rules():  # type: ignore[no-untyped-def]
    return replace(POLICIES, rules=POLICIES.rules[1:])


@given(
    st.lists(
        st.sampled_from(["550", "5.1.1", "user", "unknown", "mailbox", "full", "spam", "[", "a@b.c", "blocked", "信箱"])
    )
)
@settings(max_examples=200, deadline=None)
def test_any_mixture_of_telling_words_judges(words: list[str]) -> None:
    verdict = JUDGE.judge_text(" ".join(words))
    assert verdict == JUDGE.judge_text(" ".join(words))


def test_reply_made_by_hand_judges() -> None:
    assert JUDGE.judge(Evidence(road=Road.DSN, replies=(Reply(text="", innermost=""),))) is not None


# --- layers -----------------------------------------------------------------------------------------------------------


def text_rule(name: str, code: int, **more: object) -> Rule:
    return Rule(id=name, bounce_code=code, strength=Strength.TEXT, examples=("x",), **more)  # type: ignore[arg-type]


SHIPPED = (
    text_rule("full", 901, phrases=("mailbox is full",)),
    text_rule("at-host", 917, phrases=("moon is full",), host=("mx.example",)),
    Rule(id="token", bounce_code=938, strength=Strength.TOKEN, phrases=("[m00n]",), examples=("x",)),
    Rule(id="code", bounce_code=902, strength=Strength.ENHANCED, phrases=("5.1.1",), examples=("x",)),
    Rule(id="any", bounce_code=907, strength=Strength.REPLY, phrases=("550",), examples=("x",)),
)


def site(*own: Rule, without: str = "") -> Judge:
    """A judge of the shipped rules with a site's own over them."""
    rules = {rule.id: rule for rule in (*SHIPPED, *own) if rule.id != without}
    with aside():
        return Judge(Policies(codes=POLICIES.codes, rules=tuple(rules.values()), shipped=SHIPPED))


@pytest.mark.parametrize(
    ("own", "text", "wins"),
    [
        (text_rule("own", 922, phrases=("full",)), "550 mailbox is full", "own"),
        (text_rule("own", 922, pattern="f[u-w]ll"), "550 mailbox is full", "own"),
        (text_rule("own", 922, phrases=("full",), weak=True), "550 mailbox is full", "full"),
        (text_rule("own", 907, phrases=("full",)), "550 mailbox is full", "full"),
        (text_rule("own", 922, phrases=("moon",)), "550 moon is full", "own"),
        (text_rule("own", 922, phrases=("full",)), "550 mailbox is full [M00N]", "token"),
        (Rule(id="own", bounce_code=936, strength=Strength.TOKEN, phrases=("[m00n",), examples=("x",)), "550 [m00n]", "own"),
        (Rule(id="own", bounce_code=936, strength=Strength.ENHANCED, phrases=("x.1.1",), examples=("x",)), "5.1.1 z", "own"),
        (Rule(id="own", bounce_code=936, strength=Strength.REPLY, phrases=("550",), examples=("x",)), "550 5.1.1 z", "code"),
        (Rule(id="own", bounce_code=936, strength=Strength.REPLY, phrases=("550",), examples=("x",)), "550 z", "own"),
    ],
)  # fmt: skip
def test_an_own_rule_outranks_the_shipped_ones_of_its_tier(own: Rule, text: str, wins: str) -> None:
    assert site(own).judge_text(text, host="a.mx.example").rule_id == wins


@pytest.mark.parametrize("rule", SHIPPED, ids=lambda rule: rule.id)
def test_a_replaced_rule_and_a_removed_one_say_nothing_more(rule: Rule) -> None:
    text = {"full": "mailbox is full", "at-host": "moon is full", "token": "[m00n]", "code": "5.1.1 z", "any": "550 z"}[
        rule.id
    ]
    assert site().judge_text(text, host="a.mx.example").rule_id == rule.id
    changed = Rule(
        id=rule.id, bounce_code=935, strength=Strength.TEXT, phrases=("when the moon is high",), examples=("x",)
    )
    replaced = site(changed)
    assert replaced.judge_text(text, host="a.mx.example").rule_id == "no-cause"
    assert replaced.judge_text("550 when the moon is high").bounce_code == 935
    removed = site(without=rule.id)
    assert removed.judge_text(text, host="a.mx.example").rule_id == "no-cause"


def test_a_shipped_rule_that_a_layer_repeats_unchanged_stays_a_shipped_one() -> None:
    own = text_rule("own", 922, phrases=("is full",))
    assert site(SHIPPED[0], own).judge_text("mailbox is full").rule_id == "own"


def test_no_shipped_rules_make_every_rule_one_of_the_same_layer() -> None:
    with aside():
        judge = Judge(Policies(codes=POLICIES.codes, rules=SHIPPED))
    assert judge.judge_text("550 mailbox is full").rule_id == "full"
