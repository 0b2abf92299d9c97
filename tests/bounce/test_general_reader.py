"""Reports in wordings that no form describes: recipient, original recipient and the words that decide."""

import pytest

from omicard_relay.bounce import MailReader
from omicard_relay.mail import MailKind
from omicard_relay.services.judging import judge_of
from omicard_relay.tables import load_policies
from tests.bounce.reports import CASES, Case

#: Without the forms, so that the general reader itself is asked.
READ = MailReader().read
JUDGE = judge_of(load_policies())


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_report_in_unknown_words(case: Case, ends: bytes) -> None:
    found = READ(case.raw().replace(b"\n", ends))
    assert found.kind is MailKind.DSN
    assert [evidence.recipient for evidence in found.evidence] == list(case.recipients)
    assert {evidence.dsn_action for evidence in found.evidence} == {case.action}
    for evidence, words in zip(found.evidence, case.words, strict=False):
        assert evidence.reply is not None
        assert words in evidence.reply.innermost
    for evidence, original in zip(found.evidence, case.originals, strict=False):
        assert evidence.original_recipient == original
    if case.code is not None:
        verdict = JUDGE.judge(found.evidence[0])
        assert verdict is not None
        assert verdict.bounce_code == case.code


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_report_cut_anywhere_names_nobody_else(case: Case) -> None:
    raw = case.raw()
    ours = {"bounce@news.shop.example", "news@shop.example", "mailer-daemon@mx1.harbour.example", "help@shop.example"}
    for end in range(0, len(raw), 97):
        named = {evidence.recipient.lower() for evidence in READ(raw[:end]).evidence}
        assert not named & ours
