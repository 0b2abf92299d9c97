"""Whether a text has any of several wordings."""

from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce.says import Says

SAYS = Says(r"user unknown|信箱已滿", r"^reason:")


def test_case_does_not_matter_and_lines_have_ends() -> None:
    assert SAYS("550 USER Unknown")
    assert SAYS("您的信箱已滿")
    assert SAYS("x\nReason: y")
    assert not SAYS("the reason: y")


def test_which_of_the_patterns() -> None:
    assert sorted(SAYS.which("reason: user unknown")) == [0, 1]
    assert SAYS.which("nothing") == []


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=100))
def test_any_text_is_asked(text: str) -> None:
    assert SAYS(text) is bool(SAYS.which(text))
