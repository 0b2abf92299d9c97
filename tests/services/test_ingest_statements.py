"""What a bounce mail costs the store, in statements: each takes as long as reading a third of the mail, so they are counted."""

import pytest
from sqlalchemy import event

from omicard_relay.services.ingest import Ingester
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.signing import ReturnPathKeys, ReturnPathSigner
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.suppress import load_suppress
from tests.keeping import NOW, a_store, hand_over, submit
from tests.mails import dsn

SIGNER = ReturnPathSigner(keys=ReturnPathKeys(secrets={"a": b"0123456789abcdef"}), domain="bounces.example")
PATH = SIGNER.make("ann@a.example", day=int(NOW.timestamp()) // 86_400, nonce=b"12345")
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


@pytest.fixture(scope="module")
def book():
    return Rulebook.of(load_policies(), load_suppress())


@pytest.mark.parametrize(("path", "mail", "most"), CASES.values(), ids=CASES)
def test_a_bounce_takes_few_statements_and_one_that_comes_again_three(counting, book, path, mail, most):
    store, run = counting
    ingester = Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW)
    for wanted in (most, 3):
        run.clear()
        ingester.take(mail, sender="", recipient=path)
        assert 3 <= len(run) <= wanted, run
