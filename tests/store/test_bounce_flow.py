"""How much unproven mail was kept lately: only what counts against the bound."""

from datetime import timedelta

from omicard_relay.mail import MailKind, Trust
from omicard_relay.store import bounces
from omicard_relay.store.bounce_flow import OVER_BOUND, unproven_since
from tests.keeping import NOW, a_store


def keep(tx, name, *, trust=Trust.CLAIMED, notes=(), age=0):
    mail = bounces.BounceMail(
        raw=name.encode(),
        size=100,
        kind=MailKind.DSN,
        sender="",
        envelope_recipient="x@y.example",
        message_id=None,
        trust=trust,
        trust_reason="",
        notes=notes,
    )
    bounces.record_mail(tx, mail, now=NOW - timedelta(seconds=age))


def test_only_whole_unproven_and_recent_mails_count(tmp_path):
    with a_store(tmp_path) as store:
        with store.write() as tx:
            assert unproven_since(tx, NOW, is_null=True) == (0, 0)
            keep(tx, "one")
            keep(tx, "two", notes=("a note of the reader",), age=59)
            keep(tx, "old", age=61)
            keep(tx, "proven", trust=Trust.PROVEN)
            keep(tx, "bounded", notes=(OVER_BOUND,))
        with store.read() as tx:
            assert unproven_since(tx, NOW - timedelta(minutes=1), is_null=True) == (2, 200)
