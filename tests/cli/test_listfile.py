"""A list as a file: what goes in comes out, and one bad row stops nothing."""

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.cli.listfile import BadRow, Row, check_scope, check_value, read_rows, write_rows
from omicard_relay.mail import ListEntry, ListName, RelayError
from tests.keeping import NOW


def read(text):
    return list(read_rows(io.StringIO(text)))


def values(text):
    return [row.value for row in read(text) if isinstance(row, Row)]


def bad(text):
    return [(row.line, row.why) for row in read(text) if isinstance(row, BadRow)]


@pytest.mark.parametrize(
    "text",
    [
        "ann@a.example\nbob@a.example\n",
        "\ufeffann@a.example\r\nbob@a.example",
        "# these have asked\nann@a.example\n\n  bob@a.example  \n#cat@a.example\n",
        "address\nann@a.example\nbob@a.example\n",
        "Reason, Email \nx,ann@a.example\ny,bob@a.example\n",
        "value,other\n ann@a.example ,1\nbob@a.example\n",
    ],
)
def test_a_plain_list_and_csv_are_read(text):
    assert values(text) == ["ann@a.example", "bob@a.example"]
    assert bad(text) == []


def test_an_address_may_hold_a_number_sign():
    assert values("ann#1@a.example\n") == ["ann#1@a.example"]


def test_the_columns_of_csv_are_read():
    text = (
        "address,reason,scope,code,expires,whatever\n"
        'ann@a.example,"asked, twice",campaign:spring,902,2027-01-31,x\n'
        "bob@a.example,,,,2027-01-31T10:00:00+08:00,\n"
    )
    assert read(text) == [
        Row(
            line=2,
            value="ann@a.example",
            reason="asked, twice",
            scope="campaign:spring",
            bounce_code=902,
            expires=datetime(2027, 1, 31, tzinfo=UTC),
        ),
        Row(line=3, value="bob@a.example", expires=datetime(2027, 1, 31, 2, tzinfo=UTC)),
    ]


HEAD = "address,scope,code,expires\n"
ROWS = {
    "no address": (",all,902,", "no address"),
    "no domain": ("ann,all,,", "neither an address nor a domain"),
    "empty label": ("ann@a..example,,,", "neither an address nor a domain"),
    "white space": ('"an n@a.example",,,', "white space or control characters"),
    "a control character": ("ann\x1b[2J@a.example,,,", "white space or control characters"),
    "an overriding direction": ("ann\u202e@a.example,,,", "white space or control characters"),
    "too long": ("l" * 320 + "@a.example,,,", "longer than an address can be"),
    "a scope that is none": ("ann@a.example,everybody,,", "is no scope"),
    "an empty scope": ("ann@a.example,sender:,,", "is no scope"),
    "a code out of range": ("ann@a.example,,940,", "is no code from 900 to 939"),
    "a code of other digits": ("ann@a.example,,９０２,", "is no code from 900 to 939"),
    "a code that only looks like digits": ("ann@a.example,,9²,", "is no code"),
    "no date": ("ann@a.example,,,soon", "is no date such as 2027-01-31"),
    "a date beyond all time": ("ann@a.example,,,9999-12-31T23:59:59-14:00", "is no date"),
    "a field beyond all bounds": ('"' + "x" * 200_000 + '",,,', "field larger than"),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_bad_row_is_named_with_its_line_and_the_rest_goes_on(case):
    row, why = ROWS[case]
    text = f"{HEAD}first@a.example,,,\n{row}\nlast@a.example,,,\n"
    ((line, told),) = bad(text)
    assert line == 3
    assert why in told
    assert "\x1b" not in told
    assert values(text) == ["first@a.example", "last@a.example"]


def test_a_row_of_several_lines_does_not_shift_the_numbers():
    text = 'address,reason\nann@a.example,"one\ntwo"\nbad,x\n'
    assert bad(text)[0][0] == 4
    assert read(text)[0].reason == "one two"


def test_an_empty_file_has_no_rows():
    assert read("") == []


@pytest.mark.parametrize("text", ["ann@a.example", "@a.example", "a.example", "用戶@例子.example", "ann@a.example."])
def test_addresses_and_domains_are_values(text):
    assert check_value(text) is None


@pytest.mark.parametrize(
    "text", ["", "ann", "@", "ann@", "@example", "a b@c.example", "ann@a.example\udcff", ".", "a@.b"]
)
def test_other_things_are_not(text):
    assert check_value(text)


@pytest.mark.parametrize(
    ("text", "is_scope"),
    [
        ("all", True),
        ("sender:a.example", True),
        ("campaign:春季", True),
        ("", False),
        ("ALL", False),
        ("sender:", False),
        ("recipient:x", False),
        ("campaign:\x1b", False),
    ],
)
def test_scopes(text, is_scope):
    assert (check_scope(text) is None) is is_scope


def test_what_is_written_is_read_back():
    entries = [
        ListEntry(
            list_name=ListName.KNOWN_BOUNCE,
            value=f"{name}@a.example",
            reason='she said, "no"',
            source="log 4Q",
            scope="sender:a.example",
            bounce_code=code,
            created=NOW,
            expires=expires,
        )
        for name, code, expires in (("ann", 902, NOW), ("bob", None, None))
    ]
    file = io.StringIO()
    assert write_rows(iter(entries), file) == 2
    assert read(file.getvalue()) == [
        Row(
            line=number,
            value=e.value,
            reason=e.reason,
            scope=e.scope,
            bounce_code=e.bounce_code,
            expires=e.expires,
        )
        for number, e in enumerate(entries, start=2)
    ]


@given(st.text(max_size=200), st.sampled_from(["", HEAD, "email\n"]))
def test_any_text_is_read_without_failing(text, head):
    try:
        rows = read(head + text)
    except RelayError:  # several columns, none of them known
        rows = []
    for row in rows:
        assert isinstance(row, Row | BadRow)


def test_a_quote_that_is_never_closed_spoils_its_own_line_alone():
    rows = "".join(f"u{number}@a.example,fine\n" for number in range(2000))
    text = f'address,reason\n"bad@x.example,oops\n{rows}'
    assert [line for line, _ in bad(text)] == [2]
    assert len([row for row in read(text) if isinstance(row, Row)]) == 2000


@pytest.mark.parametrize(
    "text", ["mail,why\nann@a.example,wish\n", "ann@a.example;bob@a.example\n", "user\treason\nx@a.example\ty\n"]
)
def test_columns_without_a_known_name_are_no_list(text):
    with pytest.raises(RelayError, match="put a header such as `address,reason` in front"):
        read(text)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_what_spreadsheets_put_between_columns_is_known(delimiter):
    (row,) = read(f"email{delimiter}reason\nann@a.example{delimiter}asked\n")
    assert (row.value, row.reason) == ("ann@a.example", "asked")


@pytest.mark.parametrize(
    "text", ["q1@z.example,", "mailto:q@z.example", '"q@z.example"', "<a@b.example>x", "a@b@c.example", "q@z_.exa;mple"]
)
def test_what_is_around_an_address_is_no_address(text):
    assert check_value(text) is not None


def test_a_row_that_is_not_utf8_is_named():
    assert bad("address\nann@a.example\n\udca4\udca4@x.example\n") == [(3, "is not UTF-8; save the file as UTF-8")]
