"""Order, modes, whitelist and codes of the scrub."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import ListEntry, ListName
from omicard_relay.scrub import Candidate, Drop, ScrubOutcome, scrub
from omicard_relay.tables.settings import ScrubSettings

DAY = datetime(2026, 1, 2, tzinfo=UTC)
DEFAULT = ScrubSettings()


def entries(**named: int | None) -> Mapping[ListName, ListEntry]:
    """Entries by list name (dashes as underscores), each with a bounce code or None."""
    return {
        ListName(name.replace("_", "-")): ListEntry(
            list_name=ListName(name.replace("_", "-")),
            value="ann@example.com",
            reason=f"{name} reason",
            source="import",
            bounce_code=code,
            created=DAY,
        )
        for name, code in named.items()
    }


def of(
    settings: ScrubSettings = DEFAULT, address: str = "ann@example.com", *, twice: bool = False, **named: int | None
) -> ScrubOutcome:
    candidate = Candidate(
        address=address,
        sender_domain="shop.example",
        campaign="spring",
        already_in_campaign=twice,
        entries=entries(**named),
    )
    return scrub(candidate, settings)


def test_an_address_on_no_list_is_kept_without_a_note() -> None:
    assert of() == ScrubOutcome(drop=None, notes=())
    assert of().kept


@pytest.mark.parametrize(
    ("outcome", "step", "code", "reject"),
    [
        pytest.param(of(address="ann@"), "syntax", 902, True, id="syntax"),
        pytest.param(of(twice=True), "duplicate", None, False, id="duplicate"),
        pytest.param(of(unsubscribed=None), "unsubscribed", 926, False, id="unsubscribed"),
        pytest.param(of(blacklist=None), "blacklist", 926, True, id="blacklist"),
        pytest.param(of(blacklist=919), "blacklist", 919, True, id="blacklist-names-a-code"),
        pytest.param(of(known_bounce=901), "known-bounce", 901, False, id="known-bounce"),
        pytest.param(of(known_bounce=None), "known-bounce", 902, False, id="known-bounce-without-code"),
    ],
)
def test_each_list_drops_with_its_code_and_default_mode(
    outcome: ScrubOutcome, step: str, code: int | None, reject: bool
) -> None:
    drop = outcome.drop
    assert drop is not None
    assert (drop.step, drop.bounce_code, drop.reject) == (step, code, reject)
    assert not outcome.kept


def test_the_entry_s_reason_is_told() -> None:
    assert of(unsubscribed=None).drop == Drop(
        step="unsubscribed", reason="unsubscribed: unsubscribed reason", bounce_code=926, reject=False
    )


def test_a_domain_entry_names_the_domain() -> None:
    entry = ListEntry(list_name=ListName.BLACKLIST, value="@example.com", reason="", source="hand", created=DAY)
    outcome = scrub(Candidate(address="ann@example.com", entries={ListName.BLACKLIST: entry}), DEFAULT)
    assert outcome.drop is not None
    assert outcome.drop.reason == "on the blacklist (@example.com)"


def test_the_first_step_of_the_order_decides() -> None:
    later_first = ScrubSettings(order=("known-bounce", "unsubscribed"))
    assert of(unsubscribed=None, known_bounce=901).drop.step == "unsubscribed"  # type: ignore[union-attr]
    assert of(later_first, unsubscribed=None, known_bounce=901).drop.step == "known-bounce"  # type: ignore[union-attr]


def test_a_step_that_is_off_or_not_in_the_order_drops_nothing() -> None:
    assert of(ScrubSettings(unsubscribed="off"), unsubscribed=None).kept
    assert of(ScrubSettings(order=("syntax",)), unsubscribed=None, blacklist=None, twice=True).kept


def test_without_a_campaign_nothing_is_a_duplicate() -> None:
    assert scrub(Candidate(address="ann@example.com", already_in_campaign=True), DEFAULT).kept


def test_mode_decides_what_the_client_sees() -> None:
    assert of(ScrubSettings(unsubscribed="reject"), unsubscribed=None).drop.reject  # type: ignore[union-attr]
    assert not of(ScrubSettings(syntax="discard"), address="ann@").drop.reject  # type: ignore[union-attr]


def test_a_whitelisted_known_bounce_is_kept_with_a_warning() -> None:
    outcome = of(whitelist=None, known_bounce=901, blacklist=None)
    assert outcome.kept
    assert outcome.notes == (
        "whitelisted over blacklist: on the blacklist: blacklist reason (whitelist: whitelist reason)",
        "whitelisted over known-bounce: known to bounce: known_bounce reason (whitelist: whitelist reason)",
    )


def test_a_whitelist_does_not_win_where_the_settings_do_not_say_so() -> None:
    assert of(whitelist=None, unsubscribed=None).drop.step == "unsubscribed"  # type: ignore[union-attr]
    outcome = of(ScrubSettings(whitelist_wins_over=("blacklist",)), whitelist=None, blacklist=None, known_bounce=901)
    assert outcome.drop is not None
    assert outcome.drop.step == "known-bounce"
    assert len(outcome.notes) == 1


def test_a_whitelist_can_let_an_odd_form_through() -> None:
    odd = "ann..lee@docomo.example"
    assert not of(address=odd, whitelist=None).kept
    assert of(ScrubSettings(whitelist_wins_over=("syntax",)), address=odd, whitelist=None).kept


@pytest.mark.parametrize(
    "settings",
    [ScrubSettings(syntax="off"), ScrubSettings(order=()), ScrubSettings(whitelist_wins_over=("syntax",))],
    ids=["off", "no-order", "whitelisted"],
)
def test_no_setting_lets_a_control_character_through(settings: ScrubSettings) -> None:
    drop = of(settings, address="ann@example.com\r\nDATA", whitelist=None).drop
    assert drop is not None
    assert (drop.step, drop.bounce_code, drop.reject) == ("syntax", 902, True)


@given(st.text(max_size=60), st.booleans(), st.sets(st.sampled_from(list(ListName))))
def test_any_candidate_gets_an_outcome_and_a_drop_has_words(address: str, twice: bool, lists: set[ListName]) -> None:
    found = entries(**{name.value.replace("-", "_"): None for name in lists})
    outcome = scrub(Candidate(address=address, campaign="c", already_in_campaign=twice, entries=found), DEFAULT)
    assert outcome.kept or (outcome.drop is not None and outcome.drop.reason)
