"""Stored replies judged again: idempotent, resumable, beside a working follower, and never by two sets at once."""

import threading
from datetime import timedelta

import pytest

from omicard_relay.mail import ListEntry, ListName, StoreError
from omicard_relay.services import rejudge as module
from omicard_relay.services.follow import Follower
from omicard_relay.services.ingest import Ingester
from omicard_relay.services.rejudge import rejudge
from omicard_relay.services.rulebook import Rulebook, load_release
from omicard_relay.signing import ReturnPathKeys, ReturnPathSigner
from omicard_relay.store import proofs, releases, schema
from omicard_relay.store.replies import Period
from omicard_relay.tables.active import layer_digest
from omicard_relay.tables.settings import Settings
from tests.keeping import NOW, UNKNOWN, a_store, delivery, dump, expired, queued, rows, said
from tests.mails import dsn
from tests.releasing import rule, ship

ZQ = said("550 5.7.1 zq17 letters are over")
SIGNER = ReturnPathSigner(keys=ReturnPathKeys(secrets={"a": b"0123456789abcdef"}), domain="bounces.example")
TOKEN = SIGNER.make("dan@a.example", day=int(NOW.timestamp()) // 86_400, nonce=b"12345")


@pytest.fixture
def store(monkeypatch, tmp_path):
    ship(monkeypatch, tmp_path / "program")
    with a_store(tmp_path) as store:
        yield store


def release(store, *rules):
    """The next release as a set."""
    files = {"rules/own.toml": "\n".join(rules)}
    with store.write() as tx:
        return load_release(
            releases.add_release(
                tx,
                after=releases.newest_number(tx),
                created=NOW,
                author="ann",
                note="",
                kind=releases.ReleaseKind.PUBLISH,
                digest=layer_digest(files),
                shipped_digest="",
                files=files,
            )
        )


def lines(count, first=0):
    return [
        delivery(f"a{n}@a.example", "bounced", ZQ, queue_id=f"4QA{n:05d}", at=n).rstrip()
        for n in range(first, first + count)
    ]


def again(store, rules, period=None, **more):
    return rejudge(
        store, rules, period=period or Period(), dry_run=False, clock=lambda: NOW + timedelta(days=1), **more
    )


@pytest.fixture
def filled(store):
    """What release 1 judged: a refusal and an expiry in the log, and a report that came home."""
    book = Rulebook(release(store))
    queued(store, "ann@a.example", "bob@a.example")
    queued(store, "dan@a.example", queue_id="4QDDDDD1", name="s2", reverse_paths=(TOKEN,))
    taken = [
        delivery("ann@a.example", "bounced", ZQ, at=1),
        delivery("bob@a.example", "deferred", ZQ, at=2),
        expired(at=3),
        delivery("dan@a.example", "sent", "250 ok", queue_id="4QDDDDD1", at=4),
        delivery("eve@a.example", "bounced", UNKNOWN, queue_id="4QEEEEE1", at=5),
    ]
    Follower(Settings(), store, book).take([line.rstrip() for line in taken], None, now=NOW + timedelta(minutes=1))
    ingester = Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW)
    ingester.take(dsn("dan@a.example", words="550 5.7.1 zq17 too"), sender="", recipient=TOKEN)
    return store


def fates(store):
    return rows(store, schema.recipient, "address", "state", "bounce_code", "later_code")


def test_every_road_is_judged_again_and_recipients_follow(filled):
    assert fates(filled) == [
        ("ann@a.example", "returned", 907, None),
        ("bob@a.example", "returned", 907, None),
        ("dan@a.example", "delivered", None, 907),
    ]
    done = again(filled, release(filled, rule("site", 921, "zq17")))
    assert (done.read, done.changed) == (4, 4)  # two refusals, a report; the expiry follows, `unknown` stays
    assert fates(filled) == [
        ("ann@a.example", "returned", 921, None),
        ("bob@a.example", "returned", 921, None),
        ("dan@a.example", "delivered", None, 921),
    ]
    judged = rows(filled, schema.attempt, "address", "bounce_code", "rules_release")
    assert judged == [
        ("ann@a.example", 921, 2),
        ("bob@a.example", 921, 2),
        ("bob@a.example", 921, 2),
        ("dan@a.example", None, None),
        ("eve@a.example", 902, 1),
    ]
    assert rows(filled, schema.rejudgement, "old_release", "new_release") == [(1, 2)] * 4


def test_the_proof_of_an_entry_is_found_after_another_verdict(filled):
    """The entry keeps the code by which it was made; the line and the statement have another one now."""
    digest = rows(filled, schema.bounce_mail, "digest")[0]
    sources = {"ann@a.example": "log 4QAAAAA1", "dan@a.example": f"bounce {digest[:16]}"}
    made = [
        ListEntry(list_name=ListName.KNOWN_BOUNCE, value=value, reason="x", source=source, bounce_code=907, created=NOW)
        for value, source in sources.items()
    ]
    with filled.read() as tx:
        assert [proofs.find_proof(tx, entry).bounce_code for entry in made] == [907, 907]
    again(filled, release(filled, rule("site", 921, "zq17")))
    with filled.read() as tx:
        found = [proofs.find_proof(tx, entry) for entry in made]
    assert [(proof.bounce_code, proof.rule_id) for proof in found] == [(921, "site")] * 2
    assert all("zq17" in proof.reply for proof in found)


def test_again_changes_nothing(filled):
    rules = release(filled, rule("site", 921, "zq17"))
    again(filled, rules)
    kept = dump(filled)
    done = again(filled, rules)
    assert (done.read, done.changed, done.counts) == (4, 0, {})
    assert dump(filled) == kept


def test_a_dry_run_writes_nothing(filled):
    kept_rules = release(filled, rule("site", 921, "zq17"))
    kept = dump(filled)
    done = rejudge(filled, kept_rules, period=Period(), dry_run=True, clock=lambda: NOW)
    assert sum(done.counts.values()) == done.changed == 3
    assert dump(filled) == kept


def test_what_was_stopped_goes_on(store, monkeypatch):
    Follower(Settings(), store, Rulebook(release(store))).take(lines(300), None, now=NOW + timedelta(hours=1))
    rules = release(store, rule("site", 921, "zq17"))
    monkeypatch.setattr(module, "_BATCH", 20)

    real, calls = module.apply_judgements, []

    def stopped(*arguments, **more):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(module, "apply_judgements", stopped)
    with pytest.raises(KeyboardInterrupt):
        again(store, rules)
    assert len(rows(store, schema.rejudgement)) == 60
    assert again(store, rules).changed == 240
    assert len(rows(store, schema.rejudgement)) == 300
    assert set(rows(store, schema.attempt, "bounce_code", "rules_release")) == {(921, 2)}


def test_a_period_bounds_it(store):
    Follower(Settings(), store, Rulebook(release(store))).take(lines(10), None, now=NOW + timedelta(hours=1))
    rules = release(store, rule("site", 921, "zq17"))
    period = Period(since=NOW + timedelta(seconds=3), until=NOW + timedelta(seconds=5))
    assert again(store, rules, period).changed == 2
    assert [code for (code,) in rows_of(store, "bounce_code")] == [907, 907, 907, 921, 921, 907, 907, 907, 907, 907]


def rows_of(store, *columns):
    return [(row,) if len(columns) == 1 else row for row in rows(store, schema.attempt, *columns)]


def test_it_ends_when_another_release_comes_into_force(store, monkeypatch):
    Follower(Settings(), store, Rulebook(release(store))).take(lines(200), None, now=NOW + timedelta(hours=1))
    rules = release(store, rule("site", 921, "zq17"))
    monkeypatch.setattr(module, "_BATCH", 20)
    real, calls = module.apply_judgements, []

    def apply(*arguments, **more):
        calls.append(1)
        return real(*arguments, **more)

    monkeypatch.setattr(module, "apply_judgements", apply)

    def publish_meanwhile(seconds):
        if len(calls) == 3:
            release(store, rule("site", 922, "zq17"))

    monkeypatch.setattr(module.time, "sleep", publish_meanwhile)
    with pytest.raises(StoreError, match=r"Another release .* is kept\. Run `omicard-relay rules rejudge` again"):
        again(store, rules)
    assert len(rows(store, schema.rejudgement)) == 60


def test_a_follower_works_on_beside_it(store):
    """Neither fails, no line is lost, and each row agrees with the release that it names."""
    first = release(store)
    Follower(Settings(), store, Rulebook(first)).take(lines(1500), None, now=NOW + timedelta(hours=1))
    rules = release(store, rule("site", 921, "zq17"))
    follower, faults = Follower(Settings(), store, Rulebook(rules)), []

    def follow():
        try:
            for start in range(1500, 3000, 50):
                follower.take(lines(50, start), None, now=NOW + timedelta(hours=1))
        except Exception as error:
            faults.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    done = again(store, rules)
    thread.join()
    assert faults == []
    assert done.changed == 1500
    assert len(rows(store, schema.attempt)) == 3000
    assert set(rows(store, schema.attempt, "bounce_code", "rules_release")) == {(921, 2)}
    assert len(rows(store, schema.rejudgement)) == 1500


def test_a_failing_forward_stays_one_though_its_mail_does_not_name_our_address(store):
    """Whose mail it answers, the signed reverse-path has told, and the report keeps."""
    book = Rulebook(release(store))
    queued(store, "dan@a.example", queue_id="4QDDDDD1", name="s2", reverse_paths=(TOKEN,))
    ingester = Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW)
    ingester.take(dsn("smith@elsewhere.example"), sender="", recipient=TOKEN)
    assert rows(store, schema.bounce_report, "bounce_code") == [920]
    before = rows(store, schema.bounce_report, "bounce_code", "rule_id")
    again(store, release(store, rule("other", 921, "zq99")))
    assert rows(store, schema.bounce_report, "bounce_code", "rule_id") == before
