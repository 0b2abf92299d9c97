"""policies/providers.toml: names of providers by the end of MX names."""

import pytest

from omicard_relay.mail import TableError
from omicard_relay.tables.providers import load_providers

ROW = '[[provider]]\nname = "{name}"\nmx = [{mx}]\nsource = "ours"\n'


@pytest.fixture
def load(tmp_path):
    def load(*rows):
        (tmp_path / "providers.toml").write_text("".join(ROW.format(name=name, mx=mx) for name, mx in rows))
        return load_providers(tmp_path)

    return load


HOSTS = {
    "gmail-smtp-in.l.google.com": "google",
    "MTA5.AM0.YAHOODNS.NET.": "yahoo",
    "outlook-com.olc.protection.outlook.com": "outlook",
    "contoso-com.mail.protection.outlook.com": "exchange-online",
    "mx.example.org": "",
    "google.com.evil.example": "",
    "notgoogle.com": "",
    "": "",
    "com": "",
    "." * 300: "",
    "a." * 500 + "google.com": "google",
}


@pytest.mark.parametrize(("host", "name"), HOSTS.items())
def test_the_longest_suffix_names_the_provider(host, name):
    assert load_providers().named(host) == name


def test_a_site_adds_its_own_and_may_rename(load):
    book = load(("mine", '"mx.mine.example"'), ("other-google", '"google.com"'))
    assert book.named("a.mx.mine.example") == "mine"
    assert book.named("x.google.com") == "other-google"
    assert book.named("x.yahoodns.net") == "yahoo"


def test_every_family_is_of_a_provider():
    book = load_providers()
    assert set(book.families) <= set(book.suffixes.values())


BAD = {
    "a suffix twice": ((("a", '"x.example"'), ("b", '"x.example"')), r"`provider\.1\.mx`: x\.example stands twice"),
    "a name with a dot": ((("a.b", '"x.example"'),), "name"),
    "a suffix in capitals": ((("a", '"X.example"'),), "mx"),
    "no suffix": ((("a", ""),), "mx"),
}


@pytest.mark.parametrize(("rows", "says"), BAD.values(), ids=BAD)
def test_a_bad_file_stops_the_start_with_a_sentence(load, rows, says):
    with pytest.raises(TableError, match=says):
        load(*rows)
