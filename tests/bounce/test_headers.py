"""Header blocks, parameters and dates."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce import headers
from omicard_relay.bounce.headers import FIELD_LIMIT, parse_date, parse_head, parse_parameters, part_head


def test_fields_in_order_unfolded() -> None:
    head = parse_head(
        b"From: a@b.example\r\nX-List: one,\r\n  two\r\nSUBJECT : =?utf-8?q?h=C3=A9?=\r\nX-List: three\r\n"
    )
    assert [name for name, _ in head.fields] == ["from", "x-list", "subject", "x-list"]
    assert head.get("subject") == "hé"
    assert head.get("x-list") == "one, two"
    assert head.all("x-list") == ("one, two", "three")
    assert head.get("absent") == ""


def test_line_that_is_no_field_goes_on_with_the_one_before() -> None:
    assert parse_head(b"Subject: a\nno field here\n").get("subject") == "a no field here"


def test_content_type() -> None:
    head = parse_head(b'Content-Type: Multipart/REPORT; Report-Type="delivery-status";\n boundary="a;b"\n')
    assert head.content_type == "multipart/report"
    assert head.parameters == {"report-type": "delivery-status", "boundary": "a;b"}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("x; a=1; b = 2", {"a": "1", "b": "2"}),
        (r'x; a="q\"q"', {"a": 'q"q'}),
        ("x; name*0=ab; name*1=cd", {"name": "abcd"}),
        ("x; name*=utf-8''%E4%BF%A1", {"name": "信"}),
        ('x; a="never closed', {"a": "never closed"}),
        ("x", {}),
    ],
    ids=["bare", "quoted", "continued", "extended", "open-quote", "none"],
)
def test_parameters(value: str, found: dict[str, str]) -> None:
    assert parse_parameters(value) == found


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("Tue,  3 Mar 2026 09:15:42 +0800 (CST)", datetime(2026, 3, 3, 1, 15, 42, tzinfo=UTC)),
        ("3 Mar 2026 09:15:42 -0000", datetime(2026, 3, 3, 9, 15, 42, tzinfo=UTC)),
        ("Tue, 3 Mar 2026 09:15 GMT", datetime(2026, 3, 3, 9, 15, tzinfo=UTC)),
        ("", None),
        ("yesterday", None),
        ("99 Foo 99999 99:99:99 +9999", None),
        ("31 Dec 9999 23:59:59 -1200", None),
    ],
)
def test_dates(value: str, moment: datetime | None) -> None:
    assert parse_date(value) == moment


@given(st.text(max_size=80))
def test_any_date_text_never_raises(value: str) -> None:
    parse_date(value)


@given(st.binary(max_size=500))
def test_any_block_never_raises(raw: bytes) -> None:
    assert parse_head(raw).parameters is not None


def test_fields_are_limited() -> None:
    assert len(parse_head(b"A: b\n" * (FIELD_LIMIT + 50)).fields) == FIELD_LIMIT


PARAMETER = st.from_regex(r"; ?[A-Za-z*]{1,4}[ ]?=(?:\"[a-z; =]{0,4}\"|[a-z\"]{0,4})", fullmatch=True)


@given(st.lists(PARAMETER, max_size=4).map("".join))
def test_usual_parameters_are_read_as_any_others(tail: str) -> None:
    value = f"text/plain{tail}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(headers, "_USUAL_PARAMETERS", headers.re.compile("never"))
        slowly = parse_parameters(value)
    assert parse_parameters(value) == slowly


@given(st.text("ab \t\r\n\x0b\xa0\u3000é", max_size=20))
def test_white_space_of_a_value_is_folded(value: str) -> None:
    assert parse_head(f"X: {value}".encode()).get("x") == " ".join(value.split())


def test_the_head_of_a_part_is_shared_unless_it_has_a_boundary_or_is_long() -> None:
    usual = b"Content-Type: text/plain; charset=us-ascii\n"
    assert part_head(usual) is part_head(bytes(bytearray(usual)))
    for own in (b"Content-Type: multipart/mixed; boundary=x\n", usual + b"X: " + b"y" * 500):
        assert part_head(own) is not part_head(own)
        assert part_head(own).content_type in ("multipart/mixed", "text/plain")
