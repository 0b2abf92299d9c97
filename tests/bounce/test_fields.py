"""Groups of status fields and their typed values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce.fields import field_groups, plain_address, split_recipients, typed


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("rfc822;ann@example.com", "ann@example.com"),
        ("RFC822; <ann@example.com>", "ann@example.com"),
        ("ann@example.com", "ann@example.com"),
        ("rfc822; ann@example.com (Ann)", "ann@example.com"),
        ("rfc822; ann+2Blist@example.com", "ann+list@example.com"),
        ("rfc822; b+3Dx+40y@example.com", "b+3Dx+40y@example.com"),
        ("rfc822; ann+40example.com", "ann@example.com"),
        ("rfc822; ann+40@example.com", "ann+40@example.com"),
        ("rfc822; ann+news@example.com", "ann+news@example.com"),
        (r"utf-8; \x{738B}@example.com", "王@example.com"),
        (r"utf-8; \x{D800}\x{FFFFFF}@example.com", "\ufffd\ufffd@example.com"),
        ("x-local; ann", "ann"),
        ("", ""),
    ],
)
def test_addresses(value: str, address: str) -> None:
    assert plain_address(value) == address


@given(st.text(max_size=400))
def test_any_address_text_never_raises(value: str) -> None:
    assert len(plain_address(value)) <= 320


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("smtp; 550 no", ("smtp", "550 no")),
        ("X-Postfix; connect to x", ("x-postfix", "connect to x")),
        ("550 5.1.1 gone; for good", ("", "550 5.1.1 gone; for good")),
        ("550 no", ("", "550 no")),
    ],
)
def test_types(value: str, found: tuple[str, str]) -> None:
    assert typed(value) == found


def test_folded_diagnostic_is_joined() -> None:
    (group,) = field_groups("Final-Recipient: rfc822; a@b.example\nDiagnostic-Code: smtp; 550 one\n\ttwo\n three\n")
    assert group["diagnostic-code"] == "smtp; 550 one two three"


def test_lines_that_were_not_folded_belong_to_the_diagnostic() -> None:
    (group,) = field_groups("Diagnostic-Code: smtp; 550-one\n550 two\nReason: full\nStatus: 5.2.2\n")
    assert group["diagnostic-code"] == "smtp; 550-one 550 two Reason: full"
    assert group["status"] == "5.2.2"


def test_encoded_diagnostic_is_decoded() -> None:
    (group,) = field_groups("Diagnostic-Code: smtp; =?utf-8?B?5L+h566x5bey5ru/?=\n")
    assert group["diagnostic-code"] == "smtp; 信箱已滿"


def test_message_and_recipients_apart() -> None:
    message, recipients = split_recipients(
        field_groups(
            "Reporting-MTA: dns; r\n\nFinal-Recipient: rfc822; a@b.example\n\nFinal-Recipient: rfc822; c@d.example\n"
        )
    )
    assert message["reporting-mta"] == "dns; r"
    assert [group["final-recipient"] for group in recipients] == ["rfc822; a@b.example", "rfc822; c@d.example"]


def test_one_group_for_both() -> None:
    message, recipients = split_recipients(
        field_groups("Reporting-MTA: dns; r\nFinal-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 5.0.0\n")
    )
    assert (message["reporting-mta"], len(recipients)) == ("dns; r", 1)


def test_lost_blank_line_between_recipients() -> None:
    _, recipients = split_recipients(
        field_groups(
            "Final-Recipient: rfc822; a@b.example\nStatus: 5.0.0\nFinal-Recipient: rfc822; c@d.example\nStatus: 4.0.0\n"
        )
    )
    assert [group["status"] for group in recipients] == ["5.0.0", "4.0.0"]


def test_blank_line_inside_a_recipient() -> None:
    _, recipients = split_recipients(
        field_groups(
            "Final-Recipient: rfc822; a@b.example\nAction: failed\n\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 no\n"
        )
    )
    assert [group.get("diagnostic-code") for group in recipients] == ["smtp; 550 no"]


@given(st.text(max_size=600))
def test_any_text_never_raises(text: str) -> None:
    split_recipients(field_groups(text))
