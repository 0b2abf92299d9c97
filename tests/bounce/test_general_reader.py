"""Reports in wordings that no form describes: recipient, original recipient and the words that decide."""

from collections.abc import Callable
from dataclasses import replace
from html import escape

import pytest

from omicard_relay.bounce import MailReader
from omicard_relay.mail import MailKind
from omicard_relay.services.judging import judge_of
from omicard_relay.tables import load_policies
from tests.bounce.reports import CASES, RETURNED, Case

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


def _lines(case: Case) -> list[str]:
    return case.body.split("\n")


def _html(case: Case, body: str) -> Case:
    return replace(case, html=True, body=body)


#: The same report as another program would have sent it. What is HTML already stays as it is in the first four.
DRESSES: dict[str, Callable[[Case], Case]] = {
    "html-breaks": lambda case: _html(case, "<br>\n".join(escape(line) for line in _lines(case))),
    "html-blocks": lambda case: _html(case, "".join(f'<div class="x">{escape(line)}</div>' for line in _lines(case))),
    "html-layout-table": lambda case: _html(
        case,
        "<table>" + "".join(f"<tr><td><span>{escape(line)}</span></td></tr>" for line in _lines(case)) + "</table>",
    ),
    "indented": lambda case: replace(case, body="\n".join("    " + line for line in _lines(case))),
    "no-blank-lines": lambda case: replace(case, body="\n".join(line for line in _lines(case) if line.strip())),
    "double-spaced": lambda case: replace(case, body=case.body.replace("\n", "\n\n")),
    "base64": lambda case: replace(case, encoding="base64"),
    "with-footer": lambda case: replace(
        case,
        body=case.body
        + "\n\nIf you need help, contact postmaster@harbour.example or visit https://harbour.example/help?u=x@harbour.example.\n",
    ),
    "with-greeting": lambda case: replace(
        case,
        body="Dear customer news@shop.example,\n\nthis is an automatic message of the mail server at harbour.example.\n\n"
        + case.body,
    ),
    "copy-below-a-rule": lambda case: replace(case, body=f"{case.body}\n\n----- Original message -----\n\n{COPY}"),
    "copy-below": lambda case: replace(case, body=f"{case.body}\n\n{COPY}"),
    "copy-announced": lambda case: replace(case, body=f"{case.body}\n\nYour message follows:\n\n{COPY}"),
}
COPY = RETURNED.format(to='"Ruth" <ruth.hall@harbour.example>', number=3)
PLAIN_UTF8 = [case for case in CASES if not case.html and case.charset == "utf-8"]


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("case", PLAIN_UTF8, ids=[case.name for case in PLAIN_UTF8])
def test_report_dressed_otherwise_says_the_same(case: Case, dress: str) -> None:
    found = READ(DRESSES[dress](case).raw())
    assert [evidence.recipient for evidence in found.evidence] == list(case.recipients)
    for evidence, words in zip(found.evidence, case.words, strict=False):
        assert evidence.reply is not None
        assert words in evidence.reply.innermost
    for evidence, original in zip(found.evidence, case.originals, strict=False):
        assert evidence.original_recipient == original
