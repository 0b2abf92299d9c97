"""policies/retry.toml: a row with a source for every code, sane figures, a site's own laid over it key by key."""

import pytest

from omicard_relay.mail import TableError
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.retry import load_retry


@pytest.fixture
def load(tmp_path):
    def load(text):
        (tmp_path / "retry.toml").write_text(text)
        return load_retry(tmp_path)

    return load


def test_every_code_has_a_rule_with_a_source():
    policy = load_retry()
    assert set(policy.rules) == set(load_policies().codes)
    assert all(rule.source for rule in [*policy.rules.values(), *policy.overrides.values()])


def test_greylisting_wants_the_same_ip_and_counts_from_the_first_attempt():
    rule = load_retry().rule(935, "anyone")
    assert (rule.same_ip, rule.counted_from) == (True, "first")


def test_an_automatic_reply_is_never_a_reason_to_send_again():
    rule = load_retry().rule(906, "anyone")
    assert rule.attempts == 1
    assert all(chance == 0 for _, chance in rule.guess)


def test_what_differs_at_a_provider_is_an_override_over_the_code_s_row():
    policy = load_retry()
    there, elsewhere = policy.rule(938, "yahoo"), policy.rule(938, "small.example")
    assert there.guess != elsewhere.guess
    assert (there.scope, there.cost) == (elsewhere.scope, elsewhere.cost)


def test_a_site_lays_its_keys_over_the_shipped_ones(load):
    policy = load(
        "[model]\nexplore = 0\n[[retry]]\ncode = 935\nattempts = 3\n"
        '[[override]]\nprovider = "qq"\ncode = 935\nmode = "off"\n'
    )
    assert policy.model.explore == 0
    assert policy.model.memory == load_retry().model.memory
    assert policy.rule(935, "else").attempts == 3
    assert policy.rule(935, "else").guess == load_retry().rule(935, "else").guess
    assert (policy.rule(935, "qq").mode, policy.rule(935, "qq").attempts) == ("off", 3)


def test_a_changed_file_is_read_again(load):
    assert load("[[retry]]\ncode = 935\nattempts = 3\n").rule(935, "x").attempts == 3
    assert load("[[retry]]\ncode = 935\nattempts = 44\n").rule(935, "x").attempts == 44


def test_a_shorter_deadline_bounds_all_codes_and_a_longer_one_none():
    policy = load_retry()
    rule = policy.rule(928, "x")
    assert policy.within(3600).deadline(rule) == 3600
    assert policy.within(1e9).deadline(rule) == policy.deadline(rule)


BAD = {
    "an unknown key": ("[[retry]]\ncode = 935\natempts = 3\n", "has no key `atempts`; did you mean `attempts`"),
    "a code twice": ("[[retry]]\ncode = 935\n[[retry]]\ncodes = [934, 935]\n", r"`retry\.1\.code`: 935 stands twice"),
    "no code": ("[[retry]]\nattempts = 3\n", "give either `code` or `codes`"),
    "code and codes": ("[[retry]]\ncode = 935\ncodes = [935]\n", "give either `code` or `codes`"),
    "no such code": ("[[retry]]\ncode = 999\n", r"`retry\.0\.code`: Expected `int` <= 939 \(found 999\)"),
    "rests that fall": (
        "[[retry]]\ncode = 935\nrest_minutes = [9, 3]\n",
        "`rest_minutes` must rise, but 9 is more than 3",
    ),
    "a guess without points": ("[[retry]]\ncode = 935\nguess = []\n", "`guess` needs points"),
    "a guess that turns back": ("[[retry]]\ncode = 935\nguess = [[5, 0.1], [5, 0.2]]\n", "whose minutes rise"),
    "a chance above one": ("[[retry]]\ncode = 935\nguess = [[5, 1.5]]\n", "Expected `float` <= 1"),
    "a lane for one recipient": ('[[retry]]\ncode = 935\nlane = "slow"\n', "touches no lane"),
    "a provider in a row": ('[[retry]]\ncode = 935\nprovider = "qq"\n', r"stands in an `\[\[override\]\]`"),
    "an override for nobody": ("[[override]]\ncode = 935\n", r"`override\.0\.provider` is missing"),
    "too much exploring": ("[model]\nexplore = 0.9\n", r"`model\.explore`: Expected `float` <= 0.5"),
    "no clock": ('[model]\nquiet_hours = ["25:00", "07:00"]\n', "quiet_hours"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_a_bad_file_stops_the_start_with_a_sentence(load, text, says):
    with pytest.raises(TableError, match=says) as told:
        load(text)
    assert "retry.toml" in str(told.value)
