"""The phrase that tells a template: rare words, no stop words alone, nothing that known replies hold."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.classify.masking import joined, mask
from omicard_relay.classify.telling import WellKnown, phrases_of, words_of_templates
from omicard_relay.classify.wording import wording_of

KNOWN = WellKnown(
    [
        "550 5.1.1 no such user here",
        "552 the mailbox is full, try again later",
        "450 try again later",
        "550 mail refused",
    ]
)


def best(text: str, templates: Mapping[str, int] | None = None) -> str | None:
    tokens = tuple(token.lower() for token in mask(wording_of(text).shown))
    return next(phrases_of(tokens, KNOWN, templates or {}), None)


PHRASES = {
    "the rare words": ("550 mail refused: old zebra crossing is shut", "refused: old zebra crossing is shut"),
    "no stop words at the ends": ("550 of the hungry wolf and the", "hungry wolf"),
    "not over what changes": ("550 wolf 192.0.2.1 devours every parcel", "devours every parcel"),
    "not over the end of a sentence": ("450 Sorry. Wolves devour parcels. Goodbye.", "wolves devour parcels"),
    "a part of a word does not stand alone": ("450 wolfpack17 devours every parcel", "devours every parcel"),
    "what is known is left out": ("550 no such user here", None),
    "known and new": ("450 try again later, wolves about", "try again later, wolves about"),
    "stop words alone tell nothing": ("550 you are not the one", None),
    "too short": ("550 ox", None),
    "Chinese": ("550 來自192.0.2.1的信件掉進河裡", "的信件掉進河裡"),
    "Korean": ("550 편지는 호랑이가 먹었습니다", "편지는 호랑이가 먹었습니다"),
    "a status inside is no word": ("550 wolves devour (#5.7.1) parcels", "wolves devour"),
    "a control character is no word": ("550 wolves\x1b[0m devour every parcel", "devour every parcel"),
}


@pytest.mark.parametrize(("text", "wanted"), PHRASES.values(), ids=PHRASES.keys())
def test_best_phrase(text: str, wanted: str | None) -> None:
    assert best(text) == wanted


def test_what_stands_in_many_templates_tells_less() -> None:
    texts = [
        f"550 the parcel office of this town sent it back because of {cause} now"
        for cause in ("owls", "cats", "wolves")
    ]
    templates = words_of_templates(tuple(mask(text)) for text in texts)
    assert all(
        cause in (best(text, templates) or "") for text, cause in zip(texts, ("owls", "cats", "wolves"), strict=True)
    )


@given(st.text(max_size=120) | st.text(alphabet="ab1. <>@月\u2060ΣİK", max_size=80))
def test_each_phrase_stands_in_the_reply_as_the_judge_reads_it(text: str) -> None:
    wording = wording_of(" ".join(text.split()))
    tokens = tuple(token.lower() for token in mask(wording.shown))
    for phrase in phrases_of(tokens, KNOWN, {}):
        assert phrase in joined(tokens)
        assert phrase == phrase.strip()
        assert not KNOWN.holds(phrase)
