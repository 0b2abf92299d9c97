"""provider_of: the table, else the registered domain of the host, else that of the recipient."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.steering import provider_of
from omicard_relay.tables.providers import load_providers

BOOK = load_providers()
CASES = {
    "a provider of the table": ("alt1.gmail-smtp-in.l.google.com", "customer.example", "google"),
    "a server of its own": ("mx1.mail.company.co.uk", "company.co.uk", "company.co.uk"),
    "capitals and the root's dot": ("MX.Company.COM.", "x.example", "company.com"),
    "no host": ("", "mail.company.com.tw", "company.com.tw"),
    "an address instead of a name": ("192.0.2.1", "company.com", "company.com"),
    "an address in brackets": ("[192.0.2.1]", "company.com", "company.com"),
    "a name without dot": ("localhost", "company.com", "company.com"),
    "a hoster's customers stay apart": ("mx.one.github.io", "one.example", "one.github.io"),
    "a public suffix itself": ("", "co.uk", "co.uk"),
    "nothing at all": ("", "", ""),
}


@pytest.mark.parametrize(("host", "domain", "provider"), CASES.values(), ids=CASES)
def test_provider_of(host, domain, provider):
    assert provider_of(host, domain, BOOK) == provider


@given(st.text(max_size=400), st.text(max_size=400))
def test_whatever_a_name_is_somebody_is_named(host, domain):
    assert isinstance(provider_of(host, domain, BOOK), str)
