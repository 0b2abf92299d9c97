"""TOML to typed values: what cannot be read, or does not fit, is told with the way to it."""

import enum
from typing import Annotated, Literal

import msgspec
import pytest

from omicard_relay.mail import TableError
from omicard_relay.tables.toml import convert, read_toml, shipped


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    colour: Colour = Colour.RED
    number: Annotated[int, msgspec.Meta(ge=1)] = 1
    level: Literal[1, 2] = 1


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    one: Inner = msgspec.field(default_factory=Inner)
    maybe: Inner | None = None
    many: tuple[Inner, ...] = ()
    named: dict[str, Inner] = {}
    deep: dict[str, tuple[Inner, ...]] = {}
    short: Literal["a", "b"] | None = None
    other: Inner = msgspec.field(default_factory=Inner, name="other-name")


def test_good_tables_become_values(tmp_path):
    raw = {"one": {"colour": "blue"}, "many": [{"number": 2}], "named": {"x": {}}, "other-name": {"level": 2}}
    found = convert(raw, Outer, tmp_path)
    assert (found.one.colour, found.many[0].number, found.other.level) == (Colour.BLUE, 2, 2)


WRONG = {
    "enum": ({"one": {"colour": "green"}}, "`one.colour`: ", "(found 'green'); allowed are 'red', 'blue'."),
    "literal": ({"short": "c"}, "`short`: ", "(found 'c'); allowed are 'a', 'b'."),
    "literal of numbers": ({"one": {"level": 3}}, "`one.level`: ", "(found 3); allowed are 1, 2."),
    "in an optional": ({"maybe": {"colour": "x"}}, "`maybe.colour`: ", "allowed are 'red', 'blue'."),
    "in a list": ({"many": [{}, {"colour": "x"}]}, "`many.1.colour`: ", "allowed are 'red', 'blue'."),
    "under a name with a dash": ({"other-name": {"colour": "x"}}, "`other-name.colour`: ", "allowed are 'red'"),
    "bound": ({"many": [{"number": 0}]}, "`many.0.number`: Expected `int` >= 1 ", "(found 0)."),
    "unknown": (
        {"one": {"color": 1}},
        "[one] has no key `color`; did you mean `colour`?",
        "Allowed are: colour, number",
    ),
    "unknown in an optional": ({"maybe": {"x": 1}}, "[maybe] has no key `x`.", "Allowed are: colour, number, level."),
    "unknown in a list": ({"many": [{"x": 1}]}, "[many.0] has no key `x`.", "Allowed are: colour"),
    "unknown at the top": ({"on": 1}, "the file has no key `on`; did you mean `one`?", "Allowed are: one, maybe"),
    "a table for a number": ({"one": {"number": {}}}, "`one.number`: Expected `int`, got `object`", "(found a table)"),
    "no table": (3, "`(top level)`: Expected `object`, got `int`", ""),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_told_with_the_way_to_it(tmp_path, case):
    raw, begin, end = WRONG[case]
    with pytest.raises(TableError) as caught:
        convert(raw, Outer, tmp_path / "f.toml")
    told = str(caught.value)
    assert told.startswith(f"{tmp_path}/f.toml: {begin}")
    assert end in told


@pytest.mark.parametrize("raw", [{"named": {"x": {"colour": "y"}}}, {"deep": {"x": [{"colour": "y"}]}}])
def test_a_mistake_under_a_free_name_is_told(tmp_path, raw):
    with pytest.raises(TableError, match=r"(named|deep).*allowed are 'red', 'blue'"):
        convert(raw, Outer, tmp_path)


UNREADABLE = {
    "missing": (lambda p: None, "there is no such file; name an existing one"),
    "a folder": (lambda p: p.mkdir(), "cannot be read"),
    "not UTF-8": (lambda p: p.write_bytes(b"a = '\xff'"), "is not UTF-8 at byte 5"),
    "not TOML": (lambda p: p.write_text("a = 1\nb = "), r"is not valid TOML: .*"),
    "nested": (lambda p: p.write_text("a = " + "[" * 100_000), "is nested too deep"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_cannot_be_read_is_told(tmp_path, case):
    prepare, words = UNREADABLE[case]
    path = tmp_path / "f.toml"
    prepare(path)
    with pytest.raises(TableError, match=rf"f\.toml: {words}"):
        read_toml(path)


def test_shipped_data_is_found():
    assert shipped("policies", "codes.toml").is_file()
    assert shipped("policies", "suppress.toml").is_file()
