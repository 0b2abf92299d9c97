"""Every form's own examples, read by the whole reader and judged by the shipped rules: kind, recipients, words, codes."""

import pytest

from omicard_relay.mail import MailKind
from omicard_relay.services.judging import judge_of
from omicard_relay.tables.formats import Form, FormExample
from omicard_relay.tables.policies import load_policies
from tests.mailreading import read_mail

POLICIES = load_policies()
CASES = [
    pytest.param(form, example, id=f"{form.id}-{number}")
    for form in POLICIES.forms
    for number, example in enumerate(form.example, 1)
]


@pytest.mark.parametrize(("form", "example"), CASES)
def test_example(form: Form, example: FormExample) -> None:
    found = read_mail(example.mail.lstrip("\n").encode(example.charset))
    assert found.kind is form.kind
    if form.kind is not MailKind.DSN:
        assert f"form {form.id}" in found.notes
        return
    assert tuple(item.recipient for item in found.evidence) == example.recipients
    assert f"form {form.id}" in found.notes
    assert {item.dsn_action for item in found.evidence} == {example.action}
    if example.originals:
        assert tuple(item.original_recipient for item in found.evidence) == example.originals
    for item, words in zip(found.evidence, example.words, strict=bool(example.words)):
        assert item.reply is not None
        assert " ".join(words.split()) in item.reply.innermost
    verdicts = [judge_of(POLICIES).judge(item) for item in found.evidence]
    if example.codes:
        assert tuple(verdict.bounce_code for verdict in verdicts if verdict) == example.codes
