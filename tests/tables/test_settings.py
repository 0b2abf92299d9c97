"""The configuration: every mistake is told with file, key, what was found and what is allowed, and every key is documented."""

import re
from pathlib import Path

import msgspec
import pytest

from omicard_relay.mail import TableError
from omicard_relay.tables import settings as module
from omicard_relay.tables.settings import Settings, load_settings
from tests.keeping import ROOT

DOCUMENT = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "relay.toml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path)

    return load


def test_no_file_is_the_default():
    assert load_settings(None) == Settings()
    assert Settings().store_url == "sqlite:////var/lib/omicard-relay/relay.db"


def test_an_empty_file_is_the_default_but_for_its_folder(load, tmp_path):
    assert msgspec.structs.replace(load(""), follow=Settings().follow) == msgspec.structs.replace(Settings())
    assert load("").follow.files == ("/var/log/mail.log",)


def test_relative_paths_count_from_the_files_own_folder(load, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    found = load(
        'data_dir = "d"\npolicies_dir = "p"\n[relay]\ntls_certificate = "c"\ntls_key = "/k"\nauth_file = "a"\n'
        '[follow]\nfiles = ["l/mail.log", "/var/log/x", "-"]\n[[dkim]]\ndomain = "x"\nselector = "s"\nkey_file = "dk"\n'
    )
    assert found.data_dir == str(tmp_path / "d")
    assert found.policies_dir == str(tmp_path / "p")
    assert (found.relay.tls_certificate, found.relay.tls_key) == (str(tmp_path / "c"), "/k")
    assert found.relay.auth_file == str(tmp_path / "a")
    assert found.follow.files == (str(tmp_path / "l/mail.log"), "/var/log/x", "-")
    assert found.dkim[0].key_file == str(tmp_path / "dk")
    assert found.data_path("ingest.sock") == tmp_path / "d" / "ingest.sock"
    assert found.data_path("/run/x.sock") == Path("/run/x.sock")
    assert found.store_url == f"sqlite:///{tmp_path}/d/relay.db"


def test_a_url_of_the_store_is_taken_as_it_is(load):
    assert load('[store]\nurl = "sqlite:////x/y.db"\n').store_url == "sqlite:////x/y.db"


BAD = {
    "an IP with a service's name": (
        '[[steer.ip]]\nname = "smtp"\naddress = "192.0.2.1"\n',
        r"`steer\.ip\.0\.name`: 'smtp' is no",
    ),
    "an IP with a dash": ('[[steer.ip]]\nname = "a-1"\naddress = "192.0.2.1"\n', r"`steer\.ip\.0\.name`: 'a-1' is no"),
    "an IP without an address": (
        '[[steer.ip]]\nname = "a"\naddress = "mx"\n',
        r"`steer\.ip\.0\.address`: 'mx' does not",
    ),
    "an IP twice": (
        '[[steer.ip]]\nname = "a"\naddress = "2001:db8::1"\n[[steer.ip]]\nname = "b"\naddress = "2001:db8:0::1"\n',
        r"`steer\.ip\.1`: 2001:db8::1 is `steer\.ip\.0` already",
    ),
    "an IP's name in EHLO": (
        '[[steer.ip]]\nname = "a"\naddress = "192.0.2.1"\nhelo = "a b"\n',
        r"`steer\.ip\.0\.helo`: 'a b' is no host name",
    ),
    "a weight of nothing": (
        '[[steer.ip]]\nname = "a"\naddress = "192.0.2.1"\nweight = 0.0\n',
        r"`steer\.ip\.0\.weight`: .*> 0",
    ),
    "an unknown table": ("[scrubb]\n", r"the file has no key `scrubb`; did you mean `scrub`\? Allowed are: data_dir, "),
    "an unknown key": (
        "[relay]\nprot = 1\n",
        r"\[relay\] has no key `prot`; did you mean `port`\? Allowed are: host, port",
    ),
    "an unknown key, like none": ("[store]\nzzz = 1\n", r"\[store\] has no key `zzz`\. Allowed are: url, busy_seconds"),
    "an unknown key in a list": (
        '[[dkim]]\ndomain = "a"\nselector = "b"\nkey_flie = "c"\n',
        r"\[dkim\.0\] has no key `key_flie`; did you mean `key_file`\?",
    ),
    "a key that is missing": ('[[dkim]]\ndomain = "a"\n', r"`dkim\.0`: Object missing required field `selector`"),
    "a wrong choice": (
        '[scrub]\nsyntax = "maybe"\n',
        r"`scrub\.syntax`: .*\(found 'maybe'\); allowed are 'discard', 'reject', 'off'\.",
    ),
    "a wrong choice in a list": (
        '[scrub]\norder = ["syntax", "spam"]\n',
        r"`scrub\.order\.1`: .*\(found 'spam'\); allowed are 'syntax', 'duplicate', 'unsubscribed'",
    ),
    "a wrong choice under a name with a dash": (
        '[scrub]\nknown-bounce = "on"\n',
        r"`scrub\.known-bounce`: .*\(found 'on'\); allowed are 'discard'",
    ),
    "a wrong type": ('[relay]\nport = "x"\n', r"`relay\.port`: Expected `int`, got `str` \(found 'x'\)"),
    "a text for a list": ('[follow]\nfiles = "x"\n', r"`follow\.files`: Expected `array`, got `str` \(found 'x'\)"),
    "a list for a table": ("relay = [1]\n", r"`relay`: Expected `object`, got `array` \(found a list\)"),
    "too small": ("[relay]\nport = 0\n", r"`relay\.port`: Expected `int` >= 1 \(found 0\)"),
    "too big": ("[relay]\nport = 65536\n", r"`relay\.port`: Expected `int` <= 65535 \(found 65536\)"),
    "too long": ('[return_path]\ndelimiter = "++"\n', r"`return_path\.delimiter`: Expected `str` of length <= 1"),
    "a local part that leaves no room": (
        f'[return_path]\nlocal_part = "{"x" * 25}"\n',
        r"`return_path\.local_part` is longer than 24 octets",
    ),
    "no network": ('[relay]\nnetworks = ["::1", "10.0.0.1/8"]\n', r"`relay\.networks\.1`: .*write a network such as"),
    "half of a certificate": ('[relay]\ntls_key = "x"\n', r"`relay\.tls_certificate` and `relay\.tls_key` go together"),
    "answers into the return path": (
        '[return_path]\ndomain = "Bounces.example"\n[answers]\nforward = "care@bounces.EXAMPLE."\n',
        r"`answers\.forward`: .* would come back here",
    ),
    "an address with brackets": ('[answers]\nforward = "Care <care@a.example>"\n', r"is no plain address"),
    "two addresses": ('[answers]\nforward = "care@a.example,b@a.example"\n', r"is no plain address"),
    "an unknown kind": ('[answers]\nkinds = ["vacation"]\n', r"`answers\.kinds.*allowed are 'dsn'"),
    "TLS demanded without one": ("[relay]\ntls_required = true\n", r"`relay\.tls_required` needs"),
    "no TOML": ("x =\n", r"is not valid TOML: .*line 1"),
    "a table twice": ("[relay]\n[relay]\n", r"is not valid TOML: .*line 2"),
    "nested too deep": ("x = " + "[" * 100_000 + "\n", "nested too deep|is not valid TOML"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_told_with_its_place_and_what_is_allowed(load, tmp_path, case):
    text, words = BAD[case]
    with pytest.raises(TableError) as caught:
        load(text)
    assert str(caught.value).startswith(f"{tmp_path}/relay.toml: ")
    assert re.search(words, str(caught.value)), str(caught.value)


# --- the document -----------------------------------------------------------------------------------------------------


def shown(value):
    """A default as TOML writes it, which has no word for none."""
    if value is None:
        return "(not set)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(shown, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def keys():
    """Every key of the structures, with its default; None where it must be set."""
    tables = {"": Settings, "dkim": module.DkimKeySettings, "steer.ip": module.SteerIpSettings}
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            tables[field.name] = field.type
    for table, struct in tables.items():
        for field in msgspec.structs.fields(struct):
            if field.encode_name not in tables and f"{table}.{field.encode_name}" not in tables:
                yield (table, field.encode_name), None if field.required else shown(field.default)


def documented(text):
    """Every key of the document's tables, with its default, if its meaning is told."""
    table, found = None, {}
    for line in text.splitlines():
        if line.startswith("## "):
            name = re.match(r"## `\[+([\w.]+)\]+`", line)
            table = name.group(1) if name else ""
        elif (row := re.fullmatch(r"\| `([\w-]+)` \| (.*?) \| (.{5,}) \|", line)) and table is not None:
            found[table, row.group(1)] = None if row.group(2) == "(must be set)" else row.group(2).strip("`")
    return found


def test_the_document_has_every_key_with_its_default_and_no_other():
    assert documented(DOCUMENT) == dict(keys())


def test_a_key_without_meaning_or_with_another_default_would_be_found():
    row = next(line for line in DOCUMENT.splitlines() if line.startswith("| `busy_seconds`"))
    assert documented(DOCUMENT.replace(row, "| `busy_seconds` | `10` | x |")) != dict(keys())
    assert documented(DOCUMENT.replace(row, row.replace("10", "11"))) != dict(keys())
    assert documented(DOCUMENT + "\n| `more` | `1` | something else entirely |") != dict(keys())


def test_the_documents_example_is_taken(load):
    (example,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    found = load(example)
    assert found.return_path.domain == "bounces.example.com"
    assert found.dkim[0].selector == "s1"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param('[relay]\nhostname = "bad host\\r\\nX-Evil: 1"\n', "relay.hostname", id="hostname"),
        pytest.param('[campaign]\nheader = "X Y:"\n', "campaign.header", id="header"),
    ],
)
def test_what_would_stand_on_the_wire_is_checked(tmp_path, text, sentence):
    path = tmp_path / "relay.toml"
    path.write_text(text)
    with pytest.raises(TableError, match=sentence):
        load_settings(path)


def test_a_byte_order_mark_is_no_error(tmp_path):
    path = tmp_path / "relay.toml"
    path.write_bytes(b"\xef\xbb\xbf[relay]\nport = 2525\n")
    assert load_settings(path).relay.port == 2525
