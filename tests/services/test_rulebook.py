"""Running services follow the releases: one set for each batch, no line lost, and nothing that is broken gets in."""

import asyncio
import logging
import threading
from datetime import timedelta

import msgspec
import pytest

from omicard_relay.mail import StoreError
from omicard_relay.services import rulebook as module
from omicard_relay.services.follow_service import serve_follow
from omicard_relay.services.rulebook import (
    Rulebook,
    newest_release,
    note_upgrade,
    open_noted,
    open_rulebook,
    watch_releases,
)
from omicard_relay.store import releases, schema
from omicard_relay.store.releases import ReleaseKind
from omicard_relay.tables.active import layer_digest, load_active, release_folder, released_number
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.settings import FollowSettings, Settings
from omicard_relay.tables.suppress import load_suppress
from tests.keeping import NOW, a_store, delivery, dump, queued, rows, said, wait_for
from tests.releasing import SHIPPED_RULES, rule, ship, write_rules

ZQ = said("550 5.7.1 zq17 letters are over")


@pytest.fixture
def program(monkeypatch, tmp_path):
    return lambda rules=SHIPPED_RULES: ship(monkeypatch, tmp_path / "program", rules)


@pytest.fixture
def settings(program, tmp_path):
    program()
    return Settings(data_dir=str(tmp_path / "data"), follow=FollowSettings(files=(str(tmp_path / "mail.log"),)))


@pytest.fixture
def store(settings, tmp_path):
    with a_store(tmp_path / "data", busy_seconds=1) as store:
        yield store


def release(store, *rules, files=None, kind=ReleaseKind.PUBLISH):
    """The next release, as another machine writes it: into the store alone."""
    files = files if files is not None else {"rules/own.toml": "\n".join(rules)}
    with store.write() as tx:
        return releases.add_release(
            tx,
            after=releases.newest_number(tx),
            created=NOW,
            author="ann",
            note="",
            kind=kind,
            digest=layer_digest(files),
            shipped_digest=module.shipped_digest(),
            files=files,
        )


def code(rulebook):
    return rulebook.current.judge.judge_text("550 5.7.1 zq17 letters are over").bounce_code


def look(watch, seconds=0.0):
    watch.look(seconds)
    return watch._rulebook.current.release


def counter(store):
    return dict(rows(store, schema.counter))


# ------------------------------------------------------------------ at the start


def test_before_the_first_release_the_working_folder_is_in_force(settings, store, tmp_path):
    write_rules(tmp_path / "data" / "policies", rule("site", 921, "zq17"))
    book = open_rulebook(settings, store)
    assert (book.current.release, code(book)) == (None, 921)


def test_after_it_the_newest_release_is_brought_here(settings, store, tmp_path):
    write_rules(tmp_path / "data" / "policies", rule("site", 921, "zq17"))
    release(store, rule("site", 922, "zq17"))
    release(store, rule("site", 923, "zq17"))
    book = open_rulebook(settings, store)
    assert (book.current.release, code(book)) == (2, 923)
    assert released_number(settings) == 2
    assert load_active(settings).rules_by_id["site"].bounce_code == 923


def test_suppression_belongs_to_the_set(settings, store):
    text = '[[suppress]]\ncode = 902\nafter = 7\ndays = 9\nfor_days = 11\nsource = "ours"\n'
    release(store, files={"suppress.toml": text})
    assert open_rulebook(settings, store).current.suppress[902].after == 7


def test_a_release_that_does_not_load_leaves_the_start_to_an_older_one(settings, store, caplog):
    release(store, rule("site", 921, "zq17"))
    release(store, "this is no TOML")
    book = open_rulebook(settings, store)
    assert (code(book), book.current.release) == (921, 1)
    assert "event=rules-failed number=2" in caplog.text
    assert "release 2/rules/own.toml: is not valid TOML" in caplog.text
    assert released_number(settings) is None


def test_without_any_release_that_loads_the_shipped_rules_judge(settings, store):
    release(store, "this is no TOML")
    assert open_rulebook(settings, store).current.release is None
    assert open_noted(settings, store).current.release is None


def test_a_damaged_release_in_the_store_is_passed_over_and_named(settings, store, caplog):
    release(store, rule("site", 921, "zq17"))
    release(store, rule("site", 922, "zq17"))
    with store.write() as tx:
        tx.execute(schema.rule_release.update().where(schema.rule_release.c.number == 2).values(files=b"zq"))
    assert code(open_rulebook(settings, store)) == 921
    assert "Release 2 in the store is damaged" in caplog.text


def test_a_disk_that_takes_no_copy_does_not_stop_the_start(settings, store, monkeypatch, caplog):
    release(store, rule("site", 921, "zq17"))
    monkeypatch.setattr(module, "copy_here", _full)
    assert code(open_rulebook(settings, store)) == 921
    assert "event=rules-not-copied number=1" in caplog.text


def _full(settings, release):
    raise OSError(28, "No space left on device")


# ------------------------------------------------------------------ while it runs


@pytest.fixture
def watch(settings, store):
    release(store, rule("site", 921, "zq17"))
    return module._Watch(open_rulebook(settings, store), settings, store)


def test_a_new_release_is_taken_up_and_copied(settings, store, watch, caplog):
    caplog.set_level(logging.INFO)
    added = release(store, rule("site", 922, "zq17"))
    assert look(watch) == 2
    assert code(watch._rulebook) == 922
    assert released_number(settings) == 2
    assert f"event=rules-switched from=1 to=2 digest={added.digest[:16]}" in caplog.text
    before = watch._rulebook.current
    look(watch)
    assert watch._rulebook.current is before


def test_what_a_batch_holds_does_not_change_under_it(store, watch):
    held = watch._rulebook.current
    release(store, rule("site", 922, "zq17"))
    look(watch)
    assert held.judge.judge_text("550 zq17").bounce_code == 921
    assert (held.release, watch._rulebook.current.release) == (1, 2)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("no toml", id="no-toml"),
        pytest.param(rule("site", 999, "zq17"), id="no-such-code"),
        pytest.param('[[rule]]\nid = "x"\n', id="half-a-rule"),
        pytest.param(
            '[[rule]]\nbounce_code = 901\nid = "x"\nstrength = "text"\nnew_key = 1\nexamples = ["x"]', id="newer"
        ),
    ],
)
def test_a_set_that_does_not_load_is_refused_once_and_the_old_one_stays(settings, store, watch, caplog, text):
    release(store, text)
    for second in (0.0, 1.0, 59.0):
        assert look(watch, second) == 1
    assert code(watch._rulebook) == 921
    assert caplog.text.count("event=rules-refused number=2 in_force=1") == 1
    assert counter(store) == {"rules.refused": 1}
    assert released_number(settings) == 1
    look(watch, 61.0)
    assert counter(store) == {"rules.refused": 2}
    release(store, rule("site", 924, "zq17"))
    assert look(watch, 62.0) == 3


def test_a_fault_of_our_own_while_loading_changes_nothing(store, watch, monkeypatch, caplog):
    monkeypatch.setattr(module, "load_suppress", lambda folder: 1 // 0)
    release(store, rule("site", 922, "zq17"))
    assert look(watch) == 1
    assert "ZeroDivisionError" in caplog.text


def test_a_store_that_is_down_is_told_once_and_changes_nothing(store, watch, monkeypatch, caplog):
    real, down = store.read, True

    def read():
        if down:
            raise StoreError("the database is gone")
        return real()

    monkeypatch.setattr(store, "read", read)
    for _ in range(5):
        assert look(watch) == 1
    assert caplog.text.count("event=rules-store-failed") == 1
    down = False
    release(store, rule("site", 922, "zq17"))
    assert look(watch) == 2


def test_a_copy_that_is_lost_while_it_runs_comes_back(settings, watch):
    folder = release_folder(settings, 1)
    (folder / "rules" / "own.toml").unlink()
    (folder / "rules").rmdir()
    folder.rmdir()
    look(watch)
    assert load_active(settings).rules_by_id["site"].bounce_code == 921
    (folder.parent / "current").write_text("77")
    look(watch)
    assert released_number(settings) == 1


def test_a_disk_that_takes_no_copy_is_told_once(store, watch, monkeypatch, caplog):
    monkeypatch.setattr(module, "copy_here", _full)
    release(store, rule("site", 922, "zq17"))
    for _ in range(3):
        assert look(watch) == 2
    assert code(watch._rulebook) == 922
    assert caplog.text.count("event=rules-not-copied") == 1


def test_the_watch_ends_when_it_is_told_to(settings, store):
    async def run():
        stop = asyncio.Event()
        watching = asyncio.create_task(watch_releases(open_rulebook(settings, store), settings, store, stop))
        await asyncio.sleep(0)
        stop.set()
        await asyncio.wait_for(watching, 10)

    asyncio.run(run())


# ------------------------------------------------------------------ another program


def test_an_upgrade_of_the_program_is_a_release_with_the_same_files(settings, store, program):
    first = release(store, rule("site", 921, "zq17"))
    note_upgrade(store)
    assert newest_release(store).number == 1
    program(SHIPPED_RULES + rule("base-new", 930, "zq18"))
    note_upgrade(store)
    note_upgrade(store)
    newest = newest_release(store)
    assert (newest.number, newest.kind, newest.files, newest.digest) == (2, "upgrade", first.files, first.digest)
    assert newest.shipped_digest == module.shipped_digest() != first.shipped_digest
    assert newest.note.startswith("omicard-relay ")


def test_before_the_first_release_an_upgrade_is_not_written(settings, store, program):
    program(SHIPPED_RULES + rule("base-new", 930, "zq18"))
    note_upgrade(store)
    assert newest_release(store) is None


def test_of_services_that_start_together_one_writes_it(settings, store, program):
    release(store)
    program(SHIPPED_RULES + rule("base-new", 930, "zq18"))
    together = threading.Barrier(6)

    def start():
        together.wait()
        note_upgrade(store)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(store, schema.rule_release, "number", "kind") == [(1, "publish"), (2, "upgrade")]


# ------------------------------------------------------------------ a service under load

_RELEASES, _LINES = 20, 6000
_CODES = [901, 902, 903, 905, 908, 910, 912, 917, 918, 920, 921, 922, 923, 924, 925, 930, 932, 934, 936, 937]


def test_releases_under_a_working_follower_lose_no_line_and_mix_nothing(settings, store, tmp_path, monkeypatch):
    """20 releases, each with another code for the same words, while the follower works through thousands of lines."""
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    queued(store, "ann@a.example")
    settings = msgspec.structs.replace(settings, follow=FollowSettings(files=settings.follow.files, batch_size=50))
    first = release(store, rule("site", _CODES[0], "zq17"))
    code_of = {first.number: _CODES[0]}
    log = tmp_path / "mail.log"
    log.write_bytes(b"")
    book = open_rulebook(settings, store)
    stop, loop = asyncio.Event(), asyncio.new_event_loop()

    async def run():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch_releases(book, settings, store, stop))
            tasks.create_task(serve_follow(settings, store, book, stop))

    service = threading.Thread(target=lambda: loop.run_until_complete(run()))
    service.start()
    try:
        written = 0
        for turn in range(_RELEASES):
            if turn:
                added = release(store, rule("site", _CODES[turn], "zq17"))
                code_of[added.number] = _CODES[turn]
            upto = (turn + 1) * _LINES // _RELEASES
            with log.open("ab") as file:
                for number in range(written, upto):
                    file.write(
                        delivery(f"a{number}@a.example", "deferred", ZQ, queue_id=f"4Q{number:07d}", at=number // 10)
                    )
            written = upto
            # The next release comes in the middle of the work on this portion, once this one is in force.
            wait_for(lambda wanted=added.number if turn else 1: book.current.release == wanted, 60)
        wait_for(lambda: len(rows(store, schema.attempt, "id")) == _LINES, 90)
    finally:
        loop.call_soon_threadsafe(stop.set)
        service.join(30)
        loop.close()
    found = rows(store, schema.attempt, "address", "bounce_code", "rules_release")
    assert sorted(address for address, _, _ in found) == sorted(f"a{n}@a.example" for n in range(_LINES))
    assert [(c, r) for _, c, r in found if code_of[r] != c] == []
    used = {r for _, _, r in found}
    assert len(used) > _RELEASES // 2, "too few releases had lines to judge: this proves little"


def test_a_batch_that_is_taken_again_keeps_its_first_verdict(settings, store):
    """A line is known by its digest: a kill before the place moved brings it again, under another release perhaps."""
    from omicard_relay.services.follow import Follower

    book = Rulebook.of(load_policies(), load_suppress(), release=1)
    follower = Follower(settings, store, book)
    line = [delivery("ann@a.example", "bounced", ZQ).rstrip()]
    follower.take(line, None, now=NOW + timedelta(minutes=1))
    before = dump(store)
    book.current = Rulebook.of(load_policies(), load_suppress(), release=2).current
    follower.take(line, None, now=NOW + timedelta(minutes=1))
    assert dump(store) == before
