"""What a bounce mail costs the store, in statements: each takes as long as reading a third of the mail, so they are counted."""

import pytest
from sqlalchemy import event

from omicard_relay.bounce import MailReader
from omicard_relay.mail import MailKind
from omicard_relay.services.ingest import Ingester
from omicard_relay.store.schema import bounce_mail, bounce_report
from tests.ingesting import SIGNER, token
from tests.keeping import NOW, a_store, hand_over, submit
from tests.mails import dsn

PATH = token("ann@a.example")
FORGED = PATH[:10] + ("a" if PATH[10] != "a" else "b") + PATH[11:]
MAIL = dsn("ann@a.example")

#: With the BEGIN, and one or two more than there were when this was written.
CASES = {
    "proven, and onto the list": (PATH, MAIL, 17),
    "proven, and too few for the list": (
        PATH,
        dsn("ann@a.example", words="552 5.2.2 mailbox full", status="5.2.2"),
        13,
    ),
    "without a token": ("b@bounces.example", MAIL, 7),
    "with a forged token": (FORGED, MAIL, 8),
}


@pytest.fixture
def counting(tmp_path):
    """A store, and the statements that were run in it."""
    with a_store(tmp_path) as store:
        hand_over(store, submit(store, "ann@a.example", reverse_paths=(PATH,)), "4QAAAAA1")
        run: list[str] = []
        event.listen(store._engine, "before_cursor_execute", lambda _1, _2, statement, *_: run.append(statement))
        yield store, run


@pytest.mark.parametrize(("path", "mail", "most"), CASES.values(), ids=CASES)
def test_a_bounce_takes_few_statements_and_one_that_comes_again_three(counting, book, path, mail, most):
    store, run = counting
    ingester = Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW)
    for wanted in (most, 3):
        run.clear()
        ingester.take(mail, sender="", recipient=path)
        assert 3 <= len(run) <= wanted, run


def test_a_mail_that_comes_again_is_not_read_again_unless_it_was_purged(counting, book, monkeypatch):
    store, _ = counting
    read: list[bytes] = []
    read_mail = MailReader.read
    monkeypatch.setattr(MailReader, "read", lambda self, raw: read.append(raw) or read_mail(self, raw))
    ingester = Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW)
    assert [ingester.take(MAIL, sender="", recipient=PATH) for _ in range(3)] == [MailKind.DSN] * 3
    assert len(read) == 1
    with store.write() as tx:
        for table in (bounce_report, bounce_mail):
            tx.execute(table.delete())
    assert ingester.take(MAIL, sender="", recipient=PATH) is MailKind.DSN
    assert len(read) == 2
