"""The status filter: which replies change class, what stands in the answer, and that the follower reads the original there."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import Action, Evidence, Road, Trust, read_reply
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.services.statusfilter import FilterMode, StatusFilter, is_ours
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.suppress import load_suppress
from omicard_relay.wire import Delivery, parse_line
from omicard_relay.wire.netstring import NetstringReader
from omicard_relay.wire.socketmap import NOT_FOUND, Status, read_answer


@pytest.fixture(scope="module")
def rulebook() -> Rulebook:
    return Rulebook.of(load_policies(), load_suppress())


@pytest.fixture
def acting(rulebook: Rulebook) -> StatusFilter:
    return StatusFilter(rulebook, mode=FilterMode.ACT)


def said(reply: str, command: str = "RCPT TO") -> str:
    return f"host mx.there.test[192.0.2.9] said: {reply} (in reply to {command} command)"


def told(status_filter: StatusFilter, key: str) -> str | None:
    """What Postfix would take instead; None: nothing."""
    octets = status_filter.answer(key.encode())
    if octets == NOT_FOUND:
        return None
    (payload,) = NetstringReader(200_000).feed(octets)
    status, value = read_answer(payload)
    assert status is Status.OK
    return value.decode()


CHANGED = [
    pytest.param(
        f"5.0.0 {said('550 too many messages, try later')}",
        f"4.7.1 [921] {said('550 too many messages, try later')}",
        id="a-rate-limit-with-550-is-tried-again",
    ),
    pytest.param(
        f"5.1.1 {said('550 5.1.1 too many messages, try later')}",
        f"4.7.1 [921] {said('550 5.1.1 too many messages, try later')}",
        id="with-a-status-of-something-else",
    ),
    pytest.param(
        f"4.1.1 {said('450 4.1.1 <ann@there.test>: user unknown')}",
        f"5.1.1 [902] {said('450 4.1.1 <ann@there.test>: user unknown')}",
        id="an-unknown-user-with-450-is-final",
    ),
    pytest.param(
        f"5.7.1 {said('550 5.7.1 greylisted, please try again in 5 minutes')}",
        f"4.7.1 [935] {said('550 5.7.1 greylisted, please try again in 5 minutes')}",
        id="greylisting-with-550",
    ),
]


@pytest.mark.parametrize(("key", "answer"), CHANGED)
def test_a_cause_of_the_other_class_changes_the_class_and_keeps_the_text_whole(
    acting: StatusFilter, key: str, answer: str
) -> None:
    assert told(acting, key) == answer
    assert acting.counts.softened + acting.counts.hardened == 1


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("2.0.0 250 2.0.0 Ok: queued as R1", id="a-success"),
        pytest.param("2.0.0 too many messages, try later", id="a-success-with-words-of-a-failure"),
        pytest.param(f"5.1.1 {said('550 5.1.1 user unknown')}", id="final-and-final"),
        pytest.param(f"4.7.1 {said('450 4.7.1 greylisted, try again in 5 minutes')}", id="temporary-and-temporary"),
        pytest.param("4.3.2 [938] resting until 2026-11-24 21:40 UTC", id="our-own-rest"),
        pytest.param(f"5.1.1 [902] {said('450 4.1.1 user unknown')}", id="our-own-answer"),
        pytest.param("4.4.1 connect to mx.there.test[192.0.2.9]:25: Connection refused", id="nobody-spoke"),
        pytest.param("4.4.2 lost connection with mx.there.test[192.0.2.9] while sending RCPT TO", id="lost"),
        pytest.param("", id="nothing"),
        pytest.param("5.1.1", id="no-text"),
        pytest.param("5.1.1 ", id="an-empty-text"),
        pytest.param("7.1.1 550 user unknown", id="no-class"),
        pytest.param("5.1111.1 550 too many messages, try later", id="no-status"),
        pytest.param("*", id="what-postfix-asks-of-other-tables"),
    ],
)  # fmt: skip
def test_everything_else_stays_as_it_was(acting: StatusFilter, key: str) -> None:
    assert told(acting, key) is None
    assert acting.counts.asked == acting.counts.left == 1


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("4.4.1 connect to mx.there.test[192.0.2.9]:25: Connection refused", id="nobody-spoke"),
        pytest.param("5.4.6 mail for there.test loops back to myself", id="our-own-loop"),
        pytest.param(
            "4.7.1 host mx.there.test[192.0.2.9] refused to talk to me: 554 5.7.1 No SMTP service here", id="a-greeting"
        ),
        pytest.param(
            "4.7.0 SASL authentication failed; server mx.there.test[192.0.2.9] said: 535 5.7.8 Error: no such login",
            id="a-log-in",
        ),
        pytest.param(f"4.3.1 {said('451 message size exceeds available storage')}", id="no-fault-of-the-address"),
        pytest.param(
            f"4.1.1 {said('450 4.1.1 user unknown at this time, try again later')}", id="the-server-says-later"
        ),
    ],
)
@pytest.mark.parametrize("action", [Action.RETURN, Action.RETRY])
def test_what_is_not_the_last_word_of_a_server_stays_whatever_steering_says(
    rulebook: Rulebook, key: str, action: Action
) -> None:
    assert told(StatusFilter(rulebook, mode=FilterMode.ACT, decide=lambda *_: action), key) is None


def test_the_hook_decides_and_is_asked_every_time(rulebook: Rulebook) -> None:
    asked: list[tuple[str, int, int, Action, str]] = []
    actions = iter((Action.RETRY, Action.RETURN, Action.ALERT))

    def decide(provider, verdict, reply_class, action, text):  # type: ignore[no-untyped-def]
        asked.append((provider, verdict.bounce_code, reply_class, action, text))
        return next(actions)

    hooked = StatusFilter(rulebook, mode=FilterMode.ACT, decide=decide, provider_of=lambda host: host.split(".", 1)[1])
    text = said("550 5.1.1 <ann@there.test>: user unknown")
    assert told(hooked, f"5.1.1 {text}") == f"4.1.1 [902] {text}"
    assert told(hooked, f"5.1.1 {text}") is None
    assert told(hooked, f"5.1.1 {text}") is None
    assert asked == [("there.test", 902, 5, Action.RETURN, text)] * 3


@pytest.mark.parametrize(
    ("mode", "mode_of", "counts"),
    [
        pytest.param(FilterMode.OFF, None, (0, 0, 2), id="off"),
        pytest.param(FilterMode.OBSERVE, None, (1, 1, 2), id="observe"),
        pytest.param(FilterMode.OBSERVE, FilterMode.ACT, (1, 1, 2), id="the-ceiling-holds"),
        pytest.param(FilterMode.ACT, FilterMode.OBSERVE, (1, 1, 2), id="observe-this-provider"),
        pytest.param(FilterMode.ACT, FilterMode.ACT, (0, 0, 0), id="act"),
    ],
)
def test_modes_that_do_not_act_say_nothing_and_count_what_they_would_say(
    rulebook: Rulebook, mode: FilterMode, mode_of: FilterMode | None, counts: tuple[int, int, int]
) -> None:
    quiet = StatusFilter(rulebook, mode=mode, mode_of=(lambda provider, code: mode_of) if mode_of else None)
    answers = [told(quiet, key) for key in (CHANGED[0].values[0], CHANGED[2].values[0])]
    found = quiet.counts
    assert (found.observed_softened, found.observed_hardened, found.left) == counts
    assert (answers == [None, None]) is (counts[2] == 2)


def test_octets_that_are_no_text_come_back_as_they_went(acting: StatusFilter) -> None:
    text = b"host mx[192.0.2.9] said: 550 too many messages \xff\xfe, try later (in reply to RCPT TO command)"
    assert acting.answer(b"5.0.0 " + text).endswith(b" [921] " + text + b",")


def test_what_is_too_long_for_postfix_is_left(acting: StatusFilter) -> None:
    assert acting.answer(b"5.0.0 550 too many messages, try later " + b"x" * 100_000) == NOT_FOUND
    assert acting.counts.failed == 1


def test_our_own_fault_is_postfixes_own_way(rulebook: Rulebook) -> None:
    def broken(*_: object) -> Action:
        raise ZeroDivisionError

    faulty = StatusFilter(rulebook, mode=FilterMode.ACT, decide=broken)
    assert told(faulty, f"5.1.1 {said('550 5.1.1 user unknown')}") is None
    assert (faulty.counts.failed, faulty.counts.left) == (1, 0)


def test_new_rules_are_in_force_with_the_next_look_up(rulebook: Rulebook) -> None:
    book = Rulebook(rulebook.current)
    status_filter = StatusFilter(book, mode=FilterMode.ACT)
    key = CHANGED[0].values[0]
    assert told(status_filter, key) is not None
    book.current = Rulebook.of(replace(load_policies(), rules=(), shipped=()), load_suppress()).current
    assert "[900]" in (told(status_filter, key) or "")


def test_the_memory_is_bounded(acting: StatusFilter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omicard_relay.services.statusfilter._REMEMBERED", 8)
    for number in range(40):
        told(
            acting,
            f"5.0.0 {said(f'550 word{chr(97 + number % 26)}{chr(97 + number // 26)} too many messages, try later')}",
        )
        assert len(acting._known) <= 8
    told(acting, f"5.0.0 {said('550 too many messages, try later ' + 'x y ' * 500)}")
    assert all(len(text) <= 1000 for text in acting._known)


@given(st.binary(max_size=200))
def test_any_octets_get_an_answer(rulebook: Rulebook, key: bytes) -> None:
    status_filter = StatusFilter(rulebook, mode=FilterMode.ACT)
    for octets in (key, b"5.1.1 " + key, b"4.7.1 host mx said: 450 " + key):
        assert NetstringReader(200_000).feed(status_filter.answer(octets))
    assert status_filter.counts.failed == 0


# --- what the follower reads ------------------------------------------------------------------------------------------

LINE = "Nov 24 10:00:00 mta postfix/smtp[7]: 4XyZ12abcdz1: to=<ann@there.test>, relay=mx.there.test[192.0.2.9]:25, delay=1, delays=0/0/1/0, dsn={status}, status={outcome} ({text})"  # noqa: E501
REPLIES = [
    "550 too many messages, try later",
    "450 4.1.1 <ann@there.test>: user unknown",
    "452 4.2.2 mailbox full",
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
    "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints - 4.16.55.1",
    "451 4.7.1 greylisted, please try again in 300 seconds",
]
TEXTS = [said(reply) for reply in REPLIES] + [
    "host mx.there.test[192.0.2.9] refused to talk to me: 554 5.7.1 go away, your IP is blocked",
    "lost connection with mx.there.test[192.0.2.9] while sending RCPT TO",
    "connect to mx.there.test[192.0.2.9]:25: Connection timed out",
    "Host or domain name not found. Name service error for name=nx.test type=A: Host not found",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("code", [902, 921])
def test_a_line_with_our_code_is_judged_as_the_original(rulebook: Rulebook, text: str, code: int) -> None:
    """Rule, code, action, stage, reply code and class: those of the server's own reply, whatever we made of the status."""

    def read(status: str, outcome: str, shown: str) -> Delivery:
        line = LINE.format(status=status, outcome=outcome, text=shown).encode()
        event = parse_line(line, now=datetime(2026, 11, 24, 12, tzinfo=UTC), tz=UTC)
        assert isinstance(event, Delivery)
        return event

    plain, ours = read("5.0.0", "bounced", text), read("4.0.0", "deferred", f"[{code}] {text}")
    first, second = plain.attempt.reply, ours.attempt.reply
    assert (first.stage, first.reply_code, first.enhanced_status, first.innermost, first.ip) == (
        second.stage,
        second.reply_code,
        second.enhanced_status,
        second.innermost,
        second.ip,
    )
    assert not is_ours(first.text)
    assert is_ours(second.text)
    judged = [
        rulebook.current.judged(Evidence(road=Road.LOG, replies=(reply,), trust=Trust.PROVEN))
        for reply in (first, second)
    ]
    (verdict, decision), (verdict_of_ours, decision_of_ours) = judged
    assert verdict == verdict_of_ours
    assert decision is not None
    assert decision_of_ours is not None
    assert decision.action == decision_of_ours.action
    note = "our status filter has changed the class by which Postfix acted"
    assert decision_of_ours.reasons == (*decision.reasons, note) or first.host is None
    assert note not in decision.reasons


def test_what_the_filter_says_is_what_the_follower_finds(acting: StatusFilter, rulebook: Rulebook) -> None:
    """The code in brackets is the code of the verdict on the line that Postfix then writes."""
    for param in CHANGED:
        answer = told(acting, str(param.values[0]))
        assert answer is not None
        status, _, text = answer.partition(" ")
        verdict, _ = rulebook.current.judged(Evidence(road=Road.LOG, replies=(read_reply(text),), trust=Trust.PROVEN))
        assert verdict is not None
        found = re.match(r"\[(\d+)\]", text)
        assert found is not None
        assert verdict.bounce_code == int(found[1])
        assert status[0] in "45"
