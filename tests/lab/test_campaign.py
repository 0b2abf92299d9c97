"""The demonstration campaign: every line has one fate, and the lists say the same."""

from collections import Counter

import pytest

from lab.campaign import plan
from lab.domains import DOMAINS, Fate
from omicard_relay.mail import ListName, address_key, domain_of
from omicard_relay.scrub.syntax import syntax_fault


@pytest.mark.parametrize("total", [1000, 1234, 3000])
def test_a_campaign_has_as_many_lines_as_asked_for_and_every_habit(total: int) -> None:
    campaign = plan(total)
    assert len(campaign.recipients) == total
    assert {planned.domain for planned in campaign.recipients} == {"", *(domain.name for domain in DOMAINS)}
    assert {planned.fate for planned in campaign.recipients} == set(Fate)


def test_the_same_seed_gives_the_same_campaign_and_another_a_different_one() -> None:
    assert plan(seed=1) == plan(seed=1)
    assert plan(seed=1).recipients != plan(seed=2).recipients


def test_a_line_is_dropped_exactly_when_the_lists_or_an_earlier_line_say_so() -> None:
    campaign = plan()
    listed = {name: set(values) for name, values in campaign.lists.items()}
    seen: set[str] = set()
    for planned in campaign.recipients:
        key, domain = address_key(planned.address), f"@{domain_of(planned.address)}"
        white = key in listed[ListName.WHITELIST]
        reasons = {
            "duplicate": key in seen,
            "unsubscribed": key in listed[ListName.UNSUBSCRIBED],
            "blacklist": not white and bool({key, domain} & listed[ListName.BLACKLIST]),
            "known-bounce": not white and key in listed[ListName.KNOWN_BOUNCE],
        }
        expected = {reason for reason, holds in reasons.items() if holds}
        if planned.drop_reason == "syntax":
            assert expected <= {"duplicate"}
        else:
            assert expected == ({planned.drop_reason} - {""}), planned
        assert (planned.fate is Fate.DROPPED) == bool(planned.drop_reason)
        seen.add(key)


def test_few_recipients_hold_up_the_run() -> None:
    hosts = Counter(planned.domain for planned in plan().recipients)
    assert hosts["hang.test"] + hosts["silent.test"] <= 10


def test_a_campaign_too_small_for_every_habit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1,000"):
        plan(999)


def test_exactly_the_broken_addresses_have_a_syntax_fault() -> None:
    for planned in plan().recipients:
        assert (syntax_fault(planned.address) is not None) == (planned.drop_reason == "syntax"), planned.address
