"""Hostile texts: any text is judged, and work grows no faster than the text."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.classify import Judge, index, matcher, phrases
from omicard_relay.classify.wording import masked, wording_of
from omicard_relay.mail import Evidence, Road, printable, read_reply
from omicard_relay.mail.wrappers import peel
from tests.judging import aside, policies, spliced, texts_of
from tests.judging import judge as shared_judge

POLICIES = policies()
JUDGE = shared_judge()

PIECES = {
    "everyday words": "your mail address is not ip p li ] ",
    "all openers of gaps": "user mailbox message sender ip blocked not ",
    "long word": "x",
    "Chinese": "信箱已收件人不存在",
    "Portuguese gaps": "endere o ip m reputa ",
    "Czech gaps": "p ekro en kv p c lov ",
    "addresses": "a@b ",
    "broken addresses": '<"@a@@',
    "ids": "1tX2aB-0003Cd-9Z,4bQ2T13zXyz9:1:2:3.",
    "codes": "550 5.1.1 450-4.2.2 ",
    "repeated lines": "550-5.1.1 no 550 5.1.1 ",
    "wrappers": "host a[1.1.1.1] said: ",
    "marks": "remote host said: (reason: last error: ",
    "transcript": ">>> RCPT <<< 550 ",
    "brackets": "[(<#",
    "breaks": "\\n\\r\\n",
    "accents": "İẞéς",
    "a phrase but for its end": "the mailbox of the user is over its ",
}


def best(work: Callable[[], object], times: int = 3) -> float:
    """Seconds of processor time, the best of several."""
    seconds = []
    for _ in range(times):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def sized(piece: str, size: int) -> str:
    return (piece * (size // len(piece) + 1))[:size]


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES.keys())
def test_twice_the_text_takes_about_twice_the_time(piece: str) -> None:
    short, long = sized(piece, 9_000), sized(piece, 18_000)
    JUDGE.judge_text(long)  # what is compiled at its first use is compiled now
    JUDGE.judge_text(short)
    assert best(lambda: JUDGE.judge_text(long)) < 3.5 * best(lambda: JUDGE.judge_text(short)) + 0.02


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES.keys())
def test_a_million_characters_take_little_more_than_the_part_that_is_read(piece: str) -> None:
    read, whole = sized(piece, 20_000), sized(piece, 1_000_000)
    JUDGE.judge_text(read)
    verdict = JUDGE.judge_text(whole)
    assert 900 <= verdict.bounce_code <= 939
    assert best(lambda: JUDGE.judge_text(whole)) < 2 * best(lambda: JUDGE.judge_text(read)) + 0.1


@pytest.mark.parametrize("work", [masked, wording_of, peel, read_reply], ids=lambda work: work.__name__)
@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES.keys())
def test_each_step_is_linear_by_itself(work: Callable[[str], object], piece: str) -> None:
    short, long = sized(piece, 30_000), sized(piece, 120_000)
    work(short)
    # Four times the text; quadratic time would be sixteen times as much.
    assert best(lambda: work(long), 2) < 9 * best(lambda: work(short), 2) + 0.03


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES.keys())
def test_questions_do_not_grow_with_the_text(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """google-re2 and the search for phrases are asked once for what is promised, however often it stands there."""
    asked = {"re2": 0, "phrase": 0}

    def search(self: matcher.Matcher, expression: str, octets: bytes) -> tuple[int, int] | None:
        asked["re2"] += 1
        return real_search(self, expression, octets)

    def find(octets: bytes, phrase: phrases.Phrase) -> tuple[int, int] | None:
        asked["phrase"] += 1
        return real_find(octets, phrase)

    real_search, real_find = matcher.Matcher._search, phrases.find_phrase
    monkeypatch.setattr(matcher.Matcher, "_search", search)
    monkeypatch.setattr(matcher, "find_phrase", find)
    counts = []
    for size in (4_000, 8_000, 16_000):
        asked.update(re2=0, phrase=0)
        JUDGE.judge(Evidence(road=Road.MANUAL, replies=(read_reply(sized(piece, size)),)))
        counts.append(sum(asked.values()))
    # Twice, for the innermost words and for the whole text; one or two more where the cut falls.
    assert counts[2] <= 2 * counts[0] + 20
    assert counts[2] <= 2 * len(index.tables_of(POLICIES.shipped).expressions)


def test_a_phrase_that_never_ends_is_sought_in_linear_time() -> None:
    (phrase,), _ = phrases.write_out("a.{0,60}b.{0,60}a.{0,60}b.{0,60}c")
    short, long = b"ab" * 1_000, b"ab" * 4_000
    assert phrases.find_phrase(long, phrase) is None
    assert best(lambda: phrases.find_phrase(long, phrase)) < 9 * best(lambda: phrases.find_phrase(short, phrase)) + 0.02


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_text_is_judged(text: str) -> None:
    verdict = JUDGE.judge_text(text)
    assert 900 <= verdict.bounce_code <= 939
    assert 0 < verdict.confidence <= 1
    assert "\n" not in verdict.words
    assert printable(verdict.words) == verdict.words


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_octets_are_judged(octets: bytes) -> None:
    for text in (octets.decode("latin-1"), octets.decode("utf-8", "surrogateescape")):
        assert 900 <= JUDGE.judge_text(text).bounce_code <= 939


def test_spliced_texts_with_any_character_in_them_are_judged() -> None:
    strange = [
        "\x00",
        "\x01\x02",
        "\ud800",
        "\u202e",
        "\u0345",
        "İ",
        "ﬃ",
        "\U0001f4eb",
        "\x7f",
        "\r\n",
        "\\n",
        "²",
        "½",
        "㌔",
    ]
    for number, text in enumerate(spliced(1500, seed=37)):
        place = number * 7 % (len(text) + 1)
        verdict = JUDGE.judge_text(text[:place] + strange[number % len(strange)] + text[place:])
        assert 900 <= verdict.bounce_code <= 939


def test_every_example_cut_anywhere_is_judged() -> None:
    for number, text in enumerate(texts_of(POLICIES.rules)[::6]):
        for end in range(number % 5, len(text), 13):
            assert 900 <= JUDGE.judge_text(text[:end]).bounce_code <= 939


def test_own_rules_for_codes_alone_meet_any_text() -> None:
    """A set of rules without any word has no literal to find, whatever stands in the text."""
    rules = tuple(rule for rule in POLICIES.rules if rule.strength in ("enhanced", "reply"))
    with aside():
        judge = Judge(type(POLICIES)(codes=POLICIES.codes, rules=rules))
    assert judge.judge_text("550 5.1.1 \x01\x02").bounce_code == 902
