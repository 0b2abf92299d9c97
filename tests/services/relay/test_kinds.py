"""The kind of a mail: by its header, by its campaign's name, by whether there is a campaign."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.services.relay.content import read_facts
from omicard_relay.services.relay.kinds import kind_of
from omicard_relay.tables.settings import CampaignSettings

OURS = CampaignSettings(kinds=(("news-*", "newsletter"), ("*-receipt", "transactional"), ("news-x*", "never")))


@pytest.mark.parametrize(
    ("campaign", "told", "wanted"),
    [
        (None, None, "transactional"),
        ("spring", None, "marketing"),
        ("News-2026", None, "newsletter"),
        ("news-xmas", None, "newsletter"),
        ("order-receipt", None, "transactional"),
        ("news-2026", "Alert", "alert"),
        (None, " marketing ", "marketing"),
        ("spring", "no kind!", "marketing"),
        ("spring", "", "marketing"),
        ("spring", "x" * 33, "marketing"),
    ],
)
def test_the_kind_is_found(campaign, told, wanted):
    assert kind_of(campaign, told, OURS) == wanted


def test_the_defaults_can_be_set():
    settings = CampaignSettings(default_kind="bulk", kind_without="other")
    assert (kind_of("x", None, settings), kind_of(None, None, settings)) == ("bulk", "other")


@given(st.none() | st.text(max_size=50), st.none() | st.text(max_size=50))
def test_any_names_give_a_kind(campaign, told):
    assert 1 <= len(kind_of(campaign, told, OURS)) <= 32


def test_the_header_is_read():
    facts = read_facts(b"X-Campaign: spring\r\nX-CAMPAIGN-KIND:\r\n alert\r\n\r\n", "X-Campaign", "X-Campaign-Kind")
    assert (facts.campaign, facts.kind) == ("spring", "alert")
    assert read_facts(b"X-Campaign-Kind: alert\r\n\r\n", "X-Campaign").kind is None
