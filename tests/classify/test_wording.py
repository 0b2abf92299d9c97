"""wording_of: addresses masked, quotes plain, full width folded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.classify.wording import wording_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<mailbox-full@example.com>: no", "<a@b>: no"),
        ("ann@example.com.", "a@b."),
        ('<"john doe"@example.com> no', "<a@b> no"),
        ("user’s “quota”", 'user\'s "quota"'),
        ("ＡＢＣ：５５０", "ABC:550"),
        ("plain words", "plain words"),
        ("http://example.com/?e=x@y.z&p=NoSuchUser", "http://example.com/?e=a@b&p=NoSuchUser"),
    ],
    ids=["address", "full stop stays", "quoted local part", "quotes", "full width", "untouched", "address in a link"],
)
def test_wording(text: str, shown: str) -> None:
    assert wording_of(text).shown == shown


@given(st.text(max_size=200))
def test_any_text_has_a_wording(text: str) -> None:
    wording = wording_of(" ".join(text.split()))
    assert wording.octets.decode("utf-8", "replace") is not None
    assert wording.folded == wording.shown.lower()
