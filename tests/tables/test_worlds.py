"""World files: a few lines are enough, every key has its default, and what is wrong is named with what is allowed."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from omicard_relay.mail import TableError
from omicard_relay.tables import worldtables
from omicard_relay.tables.worlds import load_world, shipped_worlds, world_of

DOCS = Path(__file__).parent.parent.parent / "docs" / "worlds.md"


def read(text):
    return world_of(tomllib.loads(text), Path("w.toml"))


def test_two_lines_are_a_world():
    made = read('[[provider]]\nname = "a"')
    assert (made.name, made.recipients, made.deadline) == ("w", 10_000, 86_400)
    assert [(ip.name, ip.address) for ip in made.ips] == [("ip1", "192.0.2.1"), ("ip2", "192.0.2.2")]
    assert (made.providers[0].mx, made.providers[0].domains) == ("mx1.a.example", ("a.example",))


def test_one_table_may_stand_for_a_list():
    made = read('[campaign]\nrecipients = 5\n[ip]\nname = "x"\n[provider]\nname = "a"\nrate = { mails = 3 }')
    assert (made.recipients, made.ips[0].name, made.providers[0].phases[0].behaviour.rate[0].mails) == (5, "x", 3)


def test_spans_of_time_may_be_texts():
    made = read(
        'deadline = "90m"\n[provider]\nname = "a"\ngreylist = { wait = "2.5m", memory = "35d" }\nlatency = "2s"'
    )
    behaviour = made.providers[0].phases[0].behaviour
    assert made.deadline == 5400
    assert (behaviour.greylist.wait, behaviour.greylist.memory, behaviour.latency) == (150, 35 * 86_400, 2)


def test_true_is_a_behaviour_with_its_defaults_and_false_is_none():
    made = read('[provider]\nname = "a"\ngreylist = true\nrate = true\nflaky = false')
    behaviour = made.providers[0].phases[0].behaviour
    assert (behaviour.greylist.wait, len(behaviour.rate), behaviour.flaky) == (300, 1, None)


def test_changes_are_laid_over_one_after_the_other():
    made = read(
        '[[provider]]\nname = "a"\nunknown = 0.1\ngreylist = true\n[[provider.change]]\nat = "1h"\ngreylist = false\n'
        '[[provider.change]]\nat = "2h"\nrate = { mails = 5 }\nbanned = { ips = ["ip1"] }\n'
        '[[provider.change]]\nat = "3h"\nbanned = false'
    )
    phases = made.providers[0].phases
    assert [phase.at for phase in phases] == [0, 3600, 7200, 10_800]
    assert [phase.behaviour.greylist is None for phase in phases] == [False, True, True, True]
    assert [len(phase.behaviour.rate) for phase in phases] == [0, 0, 1, 1]
    assert [len(phase.behaviour.banned) for phase in phases] == [0, 0, 1, 0]
    assert {phase.behaviour.unknown for phase in phases} == {0.1}


HEAD = '[[provider]]\nname = "a"\n'
BROKEN = [
    ('deadline = "1h"', "there is no provider"),
    ("provider = 3", "`provider`: Expected `array`, got `int` (found 3)"),
    ('deadlien = 5\n[[provider]]\nname = "a"', "has no key `deadlien`; did you mean `deadline`?"),
    ('[[provider]]\nmx = "mx.a.example"', "required field `name`"),
    (HEAD + 'greylist = { wait = "5 x" }', "`provider.0.greylist.wait`: '5 x' is no span of time"),
    (HEAD + "greylist = { wiat = 5 }", "did you mean `wait`? Allowed are: wait, scope, expiry"),
    (HEAD + "greylist = { wait = -1 }", "`provider.0.greylist.wait`: Expected `float` >= 0.0 (found -1)"),
    (HEAD + 'greylist = { scope = "subnet" }', "allowed are 'ip', 'net', 'all'"),
    (HEAD + "greylist = 3", "`provider.0.greylist`: Expected `object | null`, got `int` (found 3)"),
    (HEAD + "unknown = 1.5", "`provider.0.unknown`: Expected `float` <= 1.0 (found 1.5)"),
    (HEAD + 'banned = { ips = ["ip9"] }', "there is no IP 'ip9'; known are ip1, ip2"),
    (HEAD + "banned = { ips = [] }", "Expected `array` of length >= 1"),
    (HEAD + 'block = { counts = ["rates"] }', "Invalid enum value 'rates'"),
    (HEAD + 'texts = { rates = ["450 x"] }', "'rates' is no behaviour; allowed are greylist, rate"),
    (HEAD + 'texts = { rate = ["slow down"] }', "each reply begins with its code"),
    (HEAD + "[[provider.change]]\nunknown = 0.1", "`provider.0.change.0.at`: None is no time"),
    (
        HEAD + '[[provider.change]]\nat = "2h"\n[[provider.change]]\nat = "1h"',
        "`provider.0.change.1.at`: 3600.0 is no time",
    ),
    (HEAD + '[[provider.change]]\nat = "2h"\nshare = 2', "`share` cannot change"),
    (
        HEAD + '[[provider.change]]\nat = "2h"\nrate = { mail = 2 }',
        "[provider a, change 1]: [rate.0] has no key `mail`",
    ),
    (HEAD + HEAD, "the name 'a' stands twice"),
    (HEAD + '[[provider]]\nname = "b"\ndomains = ["a.example"]', "the domain 'a.example' stands at two providers"),
    ('[[provider]]\nname = "a b"', "`provider.0.name`: 'a b' is no name"),
    (HEAD + 'mx = "m x"', "'m x' is no host name"),
    (HEAD + "share = 0", "every share is 0"),
    (HEAD + "[[ip]]\nweight = 0", "every weight is 0"),
    (HEAD + '[[ip]]\naddress = "10.0.0"', "'10.0.0' is no IPv4 address"),
    (HEAD + '[[ip]]\nname = "x"\n[[ip]]\nname = "x"', "the name 'x' stands twice"),
    (HEAD + "[campaign]\nrecipients = 0", "`campaign.0.recipients`: Expected `int` >= 1 (found 0)"),
    (HEAD + "[campaign]\nrecipients = 30000000", "30,000,000 recipients are more than 20,000,000"),
    ("campaign = []\n" + HEAD, "there is no campaign"),
]


@pytest.mark.parametrize(("text", "told"), BROKEN, ids=[told[:40] for _, told in BROKEN])
def test_what_is_wrong_is_named(text, told):
    with pytest.raises(TableError, match=r"w\.toml") as error:
        read(text)
    assert told in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TableError, match="there is no such file"):
        load_world(tmp_path / "none.toml")


def test_a_shipped_world_is_found_by_name():
    assert load_world(Path("plain")).name == "plain"


def test_a_file_goes_before_a_shipped_world(tmp_path, monkeypatch):
    (tmp_path / "plain").write_text('name = "mine"\n[[provider]]\nname = "a"')
    monkeypatch.chdir(tmp_path)
    assert load_world(Path("plain")).name == "mine"


@pytest.mark.parametrize("name", shipped_worlds())
def test_every_shipped_world_is_whole(name):
    made = load_world(Path(name))
    assert made.about
    assert made.recipients <= 20_000 or name == "million"


def test_there_are_worlds_enough():
    assert len(shipped_worlds()) >= 12


def tables():
    return [
        (name, kind)
        for name in dir(worldtables)
        if isinstance(kind := getattr(worldtables, name), type)
        and issubclass(kind, msgspec.Struct)
        and not name.startswith("_")
        and name not in ("World", "Provider", "Phase")
    ]


@pytest.mark.parametrize(("name", "kind"), tables(), ids=[name for name, _ in tables()])
def test_every_key_is_documented(name, kind):
    text = DOCS.read_text()
    missing = [
        key for key in kind.__struct_encode_fields__ if not re.search(rf"^\| `{re.escape(key)}` ", text, re.MULTILINE)
    ]
    assert missing == []
