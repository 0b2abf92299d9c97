"""An address in texts: its own spellings are found, those of others are not."""

import pytest

from omicard_relay.store.mentions import Mention


@pytest.mark.parametrize(
    ("address", "text"),
    [
        pytest.param("ann@x.example", "list-7-ann=x.example@shop.example", id="VERP behind a hyphen"),
        pytest.param("ann@x.example", "list+ann=x.example@shop.example", id="VERP behind a plus sign"),
        pytest.param("ann@x.example", "prvs=1234abcd=ann@x.example", id="BATV"),
        pytest.param("ann@x.example", "SRS0=ab=cd=x.example=ann@fwd.example", id="SRS"),
        pytest.param("ann@x.example", "rfc822;ann@x.example", id="typed"),
        pytest.param("ann@x.example", "'ann@x.example'", id="quoted"),
        pytest.param("ann+news@x.example", "https://x/?to=ann%2Bnews%40x.example", id="plus sign in a link"),
        pytest.param("ann@x.example", "ann=40x=2Eexample", id="quoted-printable"),
    ],
)
def test_spelling_of_the_address_is_found(address: str, text: str) -> None:
    mention = Mention(address)
    assert mention.mask(text, "SOMEBODY") != text
    assert mention.is_in(text.encode())


@pytest.mark.parametrize(
    "text", ["joann@x.example", "ann+tag@x.example", "jo-ann@x.example", "ann@x.example.tw", "ann@y.x.example"]
)
def test_other_address_is_not_this_one(text: str) -> None:
    mention = Mention("ann@x.example")
    assert mention.mask(text, "SOMEBODY") == text
    assert not mention.is_in(text.encode())


def test_column_of_an_address_is_that_one_or_another() -> None:
    mention = Mention("ann@x.example")
    assert mention.mask("prvs=1=ann@x.example", "SOMEBODY", is_address=True) == "prvs=1=ann@x.example"
    assert mention.mask("Ann@X.example", "SOMEBODY", is_address=True) == "SOMEBODY"
