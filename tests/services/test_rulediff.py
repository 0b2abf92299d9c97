"""What another set would find of the stored replies: every row counted once, with samples, and nothing written."""

import pytest

from omicard_relay.services import rulediff
from omicard_relay.services.follow import Follower
from omicard_relay.services.ingest import Ingester
from omicard_relay.services.rulebook import Rulebook, load_rules
from omicard_relay.services.rulediff import compare
from omicard_relay.store import replies, schema
from omicard_relay.tables.settings import Settings
from tests.keeping import NOW, UNKNOWN, a_store, delivery, dump, rows, said
from tests.mails import dsn, vacation
from tests.releasing import rule, ship

ZQ = said("550 5.7.1 zq17 letters are over")


@pytest.fixture
def before(monkeypatch, tmp_path):
    ship(monkeypatch, tmp_path / "program")
    return load_rules({}, "shipped")


@pytest.fixture
def store(before, tmp_path):
    with a_store(tmp_path) as store:
        book = Rulebook(before)
        lines = [delivery(f"a{n}@a.example", "bounced", ZQ, queue_id=f"4QAAAA{n:02d}", at=n) for n in range(12)]
        lines.append(delivery("bob@a.example", "bounced", UNKNOWN, queue_id="4QBBBB01", at=30))
        lines.append(delivery("cat@a.example", "sent", "250 ok", queue_id="4QBBBB02", at=31))
        Follower(Settings(), store, book).take([line.rstrip(b"\n") for line in lines], None, now=NOW)
        ingester = Ingester(store, book, None, 1_000_000, clock=lambda: NOW)
        ingester.take(dsn("dan@a.example", words="550 5.7.1 zq17 too"), sender="", recipient="b@x.example")
        ingester.take(vacation("eve@a.example", "zq17: I am away"), sender="", recipient="b@x.example")
        yield store


def draft(*rules):
    return load_rules({"rules/own.toml": "\n".join(rules)}, "draft")


def told(found):
    return {
        (s.before.bounce_code, s.before.rule_id, s.after.bounce_code, s.after.rule_id): n
        for s, n in found.counts.items()
    }


def test_rows_are_counted_by_code_and_rule_on_both_roads(store, before):
    found = compare(store, before, draft(rule("site", 921, "zq17")))
    assert told(found) == {(907, "base-refused", 921, "site"): 13}
    assert (found.read, found.touched, found.recoded) == (len(rows(store, schema.attempt)) - 1 + 2, 13, 13)


def test_another_action_of_the_same_code_is_a_change(store, before):
    found = compare(store, before, draft(rule("site", 907, "zq17", extra='action = "alert"')))
    assert (found.touched, found.recoded, found.new_actions) == (13, 0, 13)
    ((shift, _),) = found.counts.items()
    assert shift.after.action == "alert" != shift.before.action


def test_the_same_set_changes_nothing(store, before):
    found = compare(store, before, before)
    assert (found.touched, found.counts, found.samples) == (0, {}, {})
    assert found.read == 15


def test_nothing_is_written(store, before):
    kept = dump(store)
    compare(store, before, draft(rule("site", 921, "zq17")))
    assert dump(store) == kept


def test_samples_are_different_texts_the_newest_first(store, before):
    found = compare(store, before, draft(rule("site", 921, "zq17")), samples=2)
    ((_, samples),) = found.samples.items()
    assert [(one.kind, one.recipient) for one in samples] == [
        ("attempt", "a11@a.example"),
        ("bounce_report", "dan@a.example"),
    ]
    assert "zq17" in samples[0].text
    assert all(
        not kept for kept in compare(store, before, draft(rule("site", 921, "zq17")), samples=0).samples.values()
    )


def test_a_limit_takes_the_newest_of_each_kind(store, before):
    found = compare(store, before, draft(rule("site", 921, "zq17")), limit=4)
    assert (found.read, found.touched) == (4 + 2, 3 + 1)


def test_equal_replies_are_judged_once(store, before, monkeypatch):
    asked = []
    real = type(before.judge).judge
    monkeypatch.setattr(type(before.judge), "judge", lambda self, evidence: asked.append(1) or real(self, evidence))
    compare(store, before, before)
    assert len(asked) == 2 * 4  # zq17 and unknown in the log, the report, the automatic reply


@pytest.mark.parametrize("remembered", [1, 2])
def test_the_memory_is_bounded_and_changes_no_figure(store, before, monkeypatch, remembered):
    after = draft(rule("site", 921, "zq17"))
    whole = compare(store, before, after)
    monkeypatch.setattr(rulediff, "_REMEMBERED", remembered)
    monkeypatch.setattr(replies, "PAGE", 3)
    assert compare(store, before, after) == whole


def test_progress_adds_up(store, before):
    steps = []
    found = compare(store, before, before, on_progress=steps.append)
    assert sum(steps) == found.read
