"""The 40 codes: complete, worded in both languages, and errors that say what to do."""

from pathlib import Path

import pytest

from omicard_relay.mail import Action, TableError
from omicard_relay.tables import load_policies
from omicard_relay.tables.codes import FIRST_CODE, LAST_CODE, read_codes
from omicard_relay.tables.toml import shipped

CODES = load_policies().codes
ONE = """
[[code]]
number = 931
name = "expired"
en = "time ran out"
"zh-TW" = "傳送時間過期"
action = "retry"
"""


def test_all_forty_are_there_in_order() -> None:
    assert list(CODES) == list(range(FIRST_CODE, LAST_CODE + 1))


def test_only_931_alerts() -> None:
    assert [number for number, code in CODES.items() if code.action is Action.ALERT] == [931]


def test_default_actions_retry_exactly_where_the_table_says() -> None:
    retried = [number for number, code in CODES.items() if code.action is Action.RETRY]
    assert retried == [900, 907, 911, 913, 915, 921, 924, 928, 929, 935, 937, 938]


def test_address_codes_are_those_that_say_the_address_is_bad() -> None:
    assert [n for n, code in CODES.items() if code.address] == [901, 902, 903, 905, 908, 910, 912, 920, 927, 934]


def test_general_codes_are_those_used_only_when_nothing_else_is_said() -> None:
    assert {number for number, code in CODES.items() if code.generality} == {900, 907, 913, 915, 928}


def test_nothing_yields_to_itself_or_in_a_circle_of_two() -> None:
    for number, code in CODES.items():
        assert number not in code.yields_to
        assert [other for other in code.yields_to if number in CODES[other].yields_to] == []


def test_reason_in_two_languages() -> None:
    assert CODES[901].text("zh-TW") == "收件人信箱已滿"
    assert CODES[901].text("en") == "the recipient's mailbox is full"
    assert len({code.en for code in CODES.values()}) == len({code.zh_tw for code in CODES.values()}) == 40


def test_site_file_replaces_one_code(tmp_path: Path) -> None:
    (tmp_path / "codes.toml").write_text(ONE, "utf-8")
    codes = load_policies(tmp_path).codes
    assert codes[931].action is Action.RETRY
    assert codes[930] == CODES[930]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ONE, "code 900, 901"),
        (ONE + ONE, "code 931 stands twice"),
        (ONE.replace("931", "940"), "939"),
        (ONE.replace('"retry"', '"bounce"'), "'bounce'"),
        (ONE.replace("action", "acton"), "did you mean `action`"),
        (ONE.replace('name = "expired"\n', ""), "`name`"),
    ],
    ids=["missing codes", "twice", "out of range", "unknown action", "typo", "no name"],
)
def test_bad_table_names_file_and_fault(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "codes.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(TableError) as caught:
        read_codes(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_name_given_twice_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "codes.toml"
    whole = shipped("policies", "codes.toml").read_text("utf-8")
    path.write_text(whole.replace('name = "mailbox-full"', 'name = "unknown"'), "utf-8")
    with pytest.raises(TableError, match="`unknown` is given to two codes"):
        read_codes(path)
