"""`covers`: of which mail an entry of a list speaks."""

import pytest

from omicard_relay.mail import covers

MAIL = {"sender_domain": "Shop.example", "campaign": "spring", "kind": "marketing"}


@pytest.mark.parametrize(
    ("scope", "more", "wanted"),
    [
        ("all", {}, True),
        ("sender:shop.example", {}, True),
        ("sender:other.example", {}, False),
        ("campaign:spring", {}, True),
        ("campaign:Spring", {}, False),
        ("campaign:spring", {"campaign": None}, False),
        ("kind:marketing", {}, True),
        ("kind:transactional", {}, False),
        ("kind:marketing", {"kind": None}, False),
        ("kind:marketing", {"kind": "transactional", "campaign": "marketing"}, False),
        ("kind:", {"kind": None}, False),
        ("anything", {}, False),
        ("", {}, False),
    ],
)
def test_a_scope_covers_its_mail_and_no_other(scope, more, wanted):
    assert covers(scope, **{**MAIL, **more}) is wanted
