"""policies/suppress.toml: only codes that speak of the address, with sane figures, a site's own over the shipped ones."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import TableError
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.suppress import ADDRESS_CODES, SuppressRule, load_suppress

ROW = '[[suppress]]\ncode = {code}\nafter = {after}\ndays = {days}\nfor_days = {for_days}\nsource = "ours"\n'


def row(code=902, after=1, days=1, for_days=1):
    return ROW.format(code=code, after=after, days=days, for_days=for_days)


@pytest.fixture
def load(tmp_path):
    def load(text):
        (tmp_path / "suppress.toml").write_text(text)
        return load_suppress(tmp_path)

    return load


def test_the_shipped_rules_speak_of_addresses_alone():
    rules = load_suppress()
    assert set(rules) <= ADDRESS_CODES
    assert all(rule.source for rule in rules.values())
    assert (rules[902].after, rules[901].after, rules[901].days) == (1, 3, 14)


def test_the_codes_that_may_suppress_are_those_that_the_table_of_codes_marks():
    assert {number for number, code in load_policies().codes.items() if code.address} == ADDRESS_CODES


def test_an_out_of_office_answer_may_never_suppress():
    assert 906 not in ADDRESS_CODES


def test_a_site_replaces_the_shipped_rules_code_by_code(load):
    rules = load(row(code=902, after=9))
    assert rules[902].after == 9
    assert rules[901] == load_suppress()[901]


def test_a_folder_without_the_file_changes_nothing(tmp_path):
    assert load_suppress(tmp_path) == load_suppress()


BAD = {
    "a code of the sender": (
        row(code=913),
        r"`suppress\.0\.code`: 913 does not speak of the address; allowed are 901, 902",
    ),
    "out of office": (row() + row(code=906), r"`suppress\.1\.code`: 906 does not"),
    "never": (row(after=0), r"`suppress\.0\.after`: Expected `int` >= 1 \(found 0\)"),
    "no days": (row(days=0), r"`suppress\.0\.days`"),
    "for no time": (row(for_days=-1), r"`suppress\.0\.for_days`"),
    "beyond all time": (row(days=10**9), r"`suppress\.0\.days`: Expected `int` <= 36500"),
    "twice": (row() + row(), r"`suppress\.1\.code`: 902 stands twice"),
    "a typo": (row().replace("after", "afte"), r"\[suppress\.0\] has no key `afte`; did you mean `after`\?"),
    "apart for too long": (
        row(after=3, days=2) + "apart_hours = 25\n",
        r"`suppress\.0\.apart_hours`: 3 failures that are 25 hours apart need more than 2 days",
    ),
    "apart beyond a year": (row() + "apart_hours = 9000\n", r"`suppress\.0\.apart_hours`: Expected `int` <= 8760"),
    "a scope that is none": (row() + 'scope = "campaign"\n', r"`suppress\.0\.scope`: Invalid enum value 'campaign'"),
    "a bound that is none": (row() + "at_most_days = 0\n", r"`suppress\.0\.at_most_days`"),
    "no source": (row().replace('source = "ours"\n', ""), "missing required field `source`"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_stops_the_start(load, case):
    text, words = BAD[case]
    with pytest.raises(TableError, match=rf"suppress\.toml: .*{words}"):
        load(text)


# --- the figures ------------------------------------------------------------------------------------------------------

#: Code: failures, within days, hours apart, first entry's days, lifted by a delivery.
SHIPPED = {
    901: (3, 14, 0, 90, True),
    902: (1, 1, 0, 365, False),
    903: (1, 1, 0, 90, False),
    905: (2, 14, 24, 90, True),
    908: (1, 1, 0, 90, False),
    910: (3, 14, 0, 90, True),
    912: (1, 1, 0, 90, False),
    920: (2, 14, 0, 90, True),
    927: (2, 14, 24, 90, True),
    934: (3, 30, 0, 90, True),
}


def test_the_shipped_figures():
    rules = load_suppress()
    told = {c: (r.after, r.days, r.apart_hours, r.for_days, r.lifted_by_delivery) for c, r in rules.items()}
    assert told == SHIPPED
    assert all((rule.scope, rule.doubling, rule.at_most_days) == ("all", True, 730) for rule in rules.values())


def rule(**more):
    return SuppressRule(**{"code": 901, "after": 1, "days": 14, "for_days": 90, "source": "x", **more})


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        pytest.param({}, [90, 180, 360, 720, 730, 730], id="doubling"),
        pytest.param({"for_days": 365}, [365, 730, 730], id="a year"),
        pytest.param({"doubling": False}, [90, 90, 90], id="not doubling"),
        pytest.param({"for_days": 1000}, [1000, 1000], id="longer than the bound from the start"),
        pytest.param({"for_days": 1, "at_most_days": 36_500}, [1, 2, 4, 8], id="from one day"),
    ],
)
def test_each_repeat_holds_twice_as_long_up_to_a_bound(more, wanted):
    assert [rule(**more).holds_days(repeats) for repeats in range(len(wanted))] == wanted
    assert rule(**more).holds_days(10**9) <= 36_500


START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "apart", "wanted"),
    [
        pytest.param([], 24, 0, id="none"),
        pytest.param([0, 1, 2], 0, 3, id="each"),
        pytest.param([0, 1, 23], 24, 1, id="all on one day"),
        pytest.param([0, 24], 24, 2, id="just a day"),
        pytest.param([30, 0, 12], 24, 2, id="in any order"),
        pytest.param([0, 20, 40, 60], 24, 2, id="counted from the last that counted"),
    ],
)
def test_failures_count_only_when_they_are_far_enough_apart(hours, apart, wanted):
    moments = [START + timedelta(hours=hour) for hour in hours]
    assert rule(apart_hours=apart).counted(moments) == wanted


@given(st.lists(st.integers(0, 500), max_size=30), st.integers(0, 100))
def test_never_more_failures_count_than_there_are_or_fit_in(hours, apart):
    counted = rule(apart_hours=apart).counted([START + timedelta(hours=hour) for hour in hours])
    assert counted <= len(hours)
    assert not hours or counted >= 1
    if hours and apart:
        assert (counted - 1) * apart <= max(hours) - min(hours)
