"""`[keep]`: evidence outlives every window in which failures are counted, and every token of the return path."""

import pytest

from omicard_relay.mail import TableError
from omicard_relay.tables.keeping import check_evidence_days, least_evidence_days
from omicard_relay.tables.settings import Settings, load_settings
from omicard_relay.tables.suppress import SuppressRule, load_suppress


def rules(**days):
    return {
        int(code[1:]): SuppressRule(code=int(code[1:]), after=1, days=number, for_days=9, source="s")
        for code, number in days.items()
    }


@pytest.mark.parametrize(
    ("windows", "least"),
    [({}, 31), ({"_901": 14}, 31), ({"_901": 14, "_912": 180}, 181)],
    ids=["none", "short", "long"],
)
def test_the_least_is_one_day_more_than_anything_looks_back(windows, least):
    assert least_evidence_days(Settings(), rules(**windows)) == least
    check_evidence_days(Settings(), rules(**windows), days=least)
    check_evidence_days(Settings(), rules(**windows), days=0)
    with pytest.raises(TableError, match=rf"{least - 1} days are too few.*write {least} or more"):
        check_evidence_days(Settings(), rules(**windows), days=least - 1)


def test_the_message_names_the_codes_and_the_setting():
    with pytest.raises(
        TableError, match=r"`--older-than`: 100 days are too few, suppress\.toml counts failures with 912 for"
    ):
        check_evidence_days(Settings(), rules(_901=14, _912=180), days=100, name="--older-than")


def test_the_shipped_tables_fit_the_default():
    check_evidence_days(Settings(), load_suppress(), days=Settings().keep.evidence_days)


def test_a_file_with_too_few_days_for_the_return_path_is_refused(tmp_path):
    path = tmp_path / "relay.toml"
    path.write_text("[return_path]\nmax_age_days = 30\n[keep]\nevidence_days = 30\n")
    with pytest.raises(TableError, match=r"relay\.toml: `keep\.evidence_days`: 30 is not more than"):
        load_settings(path)
    path.write_text("[return_path]\nmax_age_days = 30\n[keep]\nevidence_days = 31\nmail_days = 0\n")
    assert load_settings(path).keep.mail_days == 0
