"""policies/suppress.toml: only codes that speak of the address, with sane figures, a site's own over the shipped ones."""

import pytest

from omicard_relay.mail import TableError
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.suppress import ADDRESS_CODES, load_suppress

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
    "no source": (row().replace('source = "ours"\n', ""), "missing required field `source`"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_stops_the_start(load, case):
    text, words = BAD[case]
    with pytest.raises(TableError, match=rf"suppress\.toml: .*{words}"):
        load(text)
