"""The exceptions table: what is put is found, by Postfix too; what runs out goes; a kill at any point leaves it whole."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.services import exceptions_table
from omicard_relay.services.exceptions_table import Entry, ExceptionsError, ExceptionsTable, table_file

KEYS = [f"k{number}@a.test" for number in range(6)]


def entry(key: str, value: str = "ip2:", expires: float = 100.0) -> Entry:
    return Entry(key=key, value=value, expires=expires)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "exceptions"


def test_what_is_put_is_found_again(path: Path) -> None:
    with ExceptionsTable(path) as table:
        assert table.apply([entry("Ann@A.test", "retry:4.3.2 [938] resting"), entry("b.test", "ip1-s3:", 7.5)]) == 2
        assert table.find("ann@a.TEST") == entry("ann@a.test", "retry:4.3.2 [938] resting")
        assert table.find("b.test") == entry("b.test", "ip1-s3:", 7.5)
        assert table.find("c.test") is None
        assert len(table) == 2
    with ExceptionsTable(path) as table:
        assert [one.key for one in table.entries()] == ["ann@a.test", "b.test"]


def test_a_batch_writes_over_drops_and_counts_keys_once(path: Path) -> None:
    with ExceptionsTable(path) as table:
        table.apply([entry("a@a.test"), entry("b@a.test")])
        assert table.apply([entry("a@a.test", "ip1:", 9)], ["a@a.test", "B@a.test", "never@a.test"]) == 2
        assert table.entries() == [entry("a@a.test", "ip1:", 9)]


def test_entries_of_a_domain_are_its_own_and_its_addresses(path: Path) -> None:
    with ExceptionsTable(path) as table:
        table.apply([entry(key) for key in ("a@a.test", "a.test", "a@b.a.test", "x@aa.test", "z@a.test")])
        assert [one.key for one in table.entries("A.test")] == ["a.test", "a@a.test", "z@a.test"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("", "ip1:", id="no-key"),
        pytest.param("*", "ip1:", id="all-mail"),
        pytest.param("a" * 501, "ip1:", id="a-key-too-long"),
        pytest.param("\x01expires", "ip1:", id="our-own-name"),
        pytest.param("a\nb@a.test", "ip1:", id="a-line-break-in-the-key"),
        pytest.param("a@a.test", "error:5.1.1 a\nb", id="a-line-break-in-the-value"),
        pytest.param("a@a.test", "", id="no-value"),
        pytest.param("a@a.test", "x" * 2000, id="a-value-too-long"),
    ],
)
def test_what_the_table_cannot_hold_is_left_out_and_counted(path: Path, key: str, value: str) -> None:
    with ExceptionsTable(path) as table:
        assert table.apply([entry(key, value), entry("b@a.test")], [key]) == 1
        assert table.refused == 1
        assert [one.key for one in table.entries()] == ["b@a.test"]
        assert table.find(key) is None


def test_the_longest_key_and_value_fit(path: Path) -> None:
    with ExceptionsTable(path) as table:
        assert table.apply([entry("a" * 500, "x" * 1900)]) == 1
        assert table.expire(1000.0) == 1


# --- expiry -----------------------------------------------------------------------------------------------------------


def test_what_has_run_out_goes_to_the_moment(path: Path) -> None:
    with ExceptionsTable(path) as table:
        table.apply(
            [entry("a@a.test", expires=103.5), entry("b@a.test", expires=103.501), entry("c@a.test", expires=999)]
        )
        assert table.expire(103.499) == 0
        assert table.expire(103.5) == 1
        assert table.expire(103.5) == 0
        assert [one.key for one in table.entries()] == ["b@a.test", "c@a.test"]
        assert table.expire(998.999) == 1
        assert table.expire(999.0) == 1
        assert len(table) == 0


def test_an_entry_that_was_written_anew_stays_as_long_as_the_new_one_says(path: Path) -> None:
    with ExceptionsTable(path) as table:
        table.apply([entry("a@a.test", expires=50)])
        table.apply([entry("a@a.test", expires=500)])
        assert table.expire(400.0) == 0
        table.apply([entry("a@a.test", expires=450)])
        assert table.expire(450.0) == 1


@pytest.mark.parametrize("expires", [-5.0, 1e30, 0.0])
def test_an_odd_expiry_is_kept_within_bounds(path: Path, expires: float) -> None:
    with ExceptionsTable(path) as table:
        table.apply([entry("a@a.test", expires=expires)])
        assert table.expire(1e9) == (expires < 1)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.integers(0, 60)),
        st.tuples(st.just("drop"), st.sampled_from(KEYS), st.just(0)),
        st.tuples(st.just("expire"), st.just(""), st.integers(0, 60)),
        st.tuples(st.just("clear"), st.just(""), st.just(0)),
    ),
    max_size=25,
)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_it_is_a_dictionary_with_expiries(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    model: dict[str, float] = {}
    with ExceptionsTable(tmp_path_factory.mktemp("t") / "e") as table:
        for what, key, moment in steps:
            if what == "put":
                table.apply([entry(key, expires=moment)])
                model[key] = moment
            elif what == "drop":
                assert table.apply([], [key]) == (key in model)
                model.pop(key, None)
            elif what == "expire":
                gone = [key for key, expires in model.items() if expires <= moment]
                assert table.expire(moment) == len(gone)
                for name in gone:
                    del model[name]
            else:
                assert table.clear() == len(model)
                model.clear()
            assert {one.key: one.expires for one in table.entries()} == model
            assert len(table) == len(model)


def foreign(path: Path, work: str) -> None:
    """Another program writes to the file, with LMDB but without our expiries."""
    environment = lmdb.open(str(table_file(path)), subdir=False, lock=False, map_size=1 << 26)
    with environment.begin(write=True) as tx:
        for word in work.split():
            tx.put(word[1:].encode(), b"ip9:") if word[0] == "+" else tx.delete(word[1:].encode())
    environment.close()


def test_an_entry_without_a_known_expiry_goes_at_the_next_run(path: Path) -> None:
    with ExceptionsTable(path) as table:
        table.apply([entry("a@a.test", expires=500)])
    foreign(path, "+x@a.test")
    with ExceptionsTable(path) as table:
        assert table.find("x@a.test") == entry("x@a.test", "ip9:", 0.0)
        assert table.expire(10.0) == 1
        assert [one.key for one in table.entries()] == ["a@a.test"]


def test_a_thorough_run_finds_it_also_in_the_place_of_one_of_ours(path: Path) -> None:
    with ExceptionsTable(path) as table:
        table.apply([entry("a@a.test", expires=500)])
    foreign(path, "-a@a.test +x@a.test")
    with ExceptionsTable(path) as table:
        assert table.expire(10.0, thorough=True) == 1
        assert table.entries() == []
        assert table.expire(10.0) == 0


def test_a_large_batch_grows_the_map(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exceptions_table, "_MAP_SIZE", 1 << 18)
    with ExceptionsTable(path) as table:
        assert table.apply(entry(f"user{number}@a.test", "x" * 100) for number in range(10_000)) == 10_000
        assert len(table) == 10_000
        assert table.expire(1000.0) == 10_000
        assert table.expire(1000.0) == 0


# --- the file ---------------------------------------------------------------------------------------------------------


def test_a_file_that_was_moved_away_is_made_anew(path: Path) -> None:
    with ExceptionsTable(path) as table:
        table.apply([entry("a@a.test")])
        table_file(path).rename(path.with_name("old.lmdb"))
        table.apply([entry("b@a.test")])
        assert [one.key for one in table.entries()] == ["b@a.test"]
        assert table_file(path).exists()


def test_another_process_may_grow_it(path: Path) -> None:
    with ExceptionsTable(path) as table:
        table.apply([entry("a@a.test")])
        many = (
            "import sys; from pathlib import Path; from omicard_relay.services.exceptions_table import *\n"
            "t = ExceptionsTable(Path(sys.argv[1]))\n"
            "t.apply(Entry(key=f'user{n}@b.test', value='x' * 1500, expires=5) for n in range(60_000))\n"
        )
        subprocess.run([sys.executable, "-c", many, str(path)], check=True)
        assert len(table) == 60_001
        assert table.apply([entry("b@a.test")]) == 1
        assert table.expire(5.0) == 60_000


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExceptionsError, match="cannot be opened"):
        ExceptionsTable(tmp_path / "none" / "exceptions")
    with pytest.raises(ExceptionsError, match="cannot be opened"):
        ExceptionsTable(tmp_path / "none", read_only=True)


def test_what_is_no_table_is_told_and_left_as_it_is(path: Path) -> None:
    table_file(path).write_bytes(b"something else" * 1000)
    with pytest.raises(ExceptionsError, match="is no table of ours"):
        ExceptionsTable(path)
    assert table_file(path).read_bytes().startswith(b"something else")


def test_a_closed_table_says_so(path: Path) -> None:
    table = ExceptionsTable(path)
    table.close()
    with pytest.raises(ExceptionsError, match="is closed"):
        table.apply([entry("a@a.test")])


def test_read_only_reads_and_writes_nothing(path: Path) -> None:
    with ExceptionsTable(path) as table:
        table.apply([entry("a@a.test")])
    with ExceptionsTable(path, read_only=True) as table:
        assert [one.key for one in table.entries()] == ["a@a.test"]
        with pytest.raises(ExceptionsError, match="cannot be"):
            table.apply([entry("b@a.test")])


# --- locks ------------------------------------------------------------------------------------------------------------

HOLDER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(fd, int(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


def holder(path: Path, how: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(table_file(path)), str(how)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("how", [fcntl.LOCK_SH, fcntl.LOCK_EX], ids=["a-reader", "a-writer"])
def test_a_write_waits_for_whoever_holds_the_lock(path: Path, how: int) -> None:
    with ExceptionsTable(path) as table:
        other = holder(path, how)
        done = threading.Event()
        thread = threading.Thread(target=lambda: (table.apply([entry("a@a.test")]), done.set()))
        thread.start()
        assert not done.wait(0.1)
        other.communicate("")
        thread.join(10)
        assert done.is_set()


def test_readers_share_the_lock_and_a_writer_that_stays_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exceptions_table, "_LOCK_SECONDS", 0.1)
    with ExceptionsTable(path) as table:
        other = holder(path, fcntl.LOCK_SH)
        assert table.find("a@a.test") is None
        with pytest.raises(ExceptionsError, match="another program has held its lock"):
            table.apply([entry("a@a.test")])
        other.communicate("")
        assert table.apply([entry("a@a.test")]) == 1


def test_the_lock_is_held_from_start_to_end_of_a_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process must not get the lock while the transaction is open, which it asks for from inside of one."""
    asked: list[int] = []
    probe = (
        "import fcntl, os, sys\nfd = os.open(sys.argv[1], os.O_RDWR)\n"
        "try: fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)\nexcept OSError: sys.exit(7)\n"
    )

    def asking(*arguments: object) -> int:
        asked.append(subprocess.run([sys.executable, "-c", probe, str(table_file(path))], check=False).returncode)
        return 0

    with ExceptionsTable(path) as table:
        monkeypatch.setattr(exceptions_table.pages, "put", asking)
        table.apply([entry("a@a.test")])
    assert asked == [7]


# --- kills ------------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from omicard_relay.services.exceptions_table import Entry, ExceptionsTable

table = ExceptionsTable(Path(sys.argv[1]))
print("ready", flush=True)
for round in range(100_000):
    table.apply(
        [Entry(key=f"u{n}@a.test", value=f"ip{round % 7}:", expires=round) for n in range(500)],
        [f"d{n}@a.test" for n in range(round % 50)],
    )
    if round % 5 == 0:
        table.apply([Entry(key=f"d{n}@a.test", value="x:", expires=round - 3) for n in range(50)])
        table.expire(round - 2)
"""


def test_kill_9_at_any_point_leaves_keys_and_expiries_in_step(path: Path) -> None:
    for number in range(12):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdout.close()
        begun = time.monotonic()
        while time.monotonic() - begun < 0.02 + number * 0.013:
            os.sched_yield()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        with ExceptionsTable(path) as table:
            entries = {one.key: one for one in table.entries()}
            batch = {one.value for key, one in entries.items() if key.startswith("u")}
            assert len(batch) <= 1, "half a batch was seen"
            assert len([key for key in entries if key.startswith("u")]) in (0, 500)
            # Nothing is there whose expiry nobody knows, and all of it goes when its time has come.
            assert all(table.find(key) == one for key, one in entries.items())
            assert table.expire(0.5, thorough=True) == sum(one.expires <= 0.5 for one in entries.values())
            assert table.expire(1e9) == len(entries) - sum(one.expires <= 0.5 for one in entries.values())
            assert len(table) == 0


# --- Postfix ----------------------------------------------------------------------------------------------------------

postmap = shutil.which("postmap", path=os.environ.get("PATH", "") + ":/usr/sbin")
needs_lmdb = pytest.mark.skipif(
    postmap is None or not Path("/usr/lib/postfix/postfix-lmdb.so").exists(),
    reason="needs Postfix with its LMDB tables",
)


@needs_lmdb
def test_postfix_finds_what_was_put_and_nothing_else(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "main.cf").write_text(
        f"compatibility_level = 3.6\nshlib_directory = /usr/lib/postfix\nmeta_directory = {folder}\n"
    )
    (folder / "master.cf").write_text("")
    shutil.copy("/etc/postfix/dynamicmaps.cf", folder)
    shutil.copytree("/etc/postfix/dynamicmaps.cf.d", folder / "dynamicmaps.cf.d", dirs_exist_ok=True)

    def asked(key: str) -> str | None:
        done = subprocess.run(
            [str(postmap), "-c", str(folder), "-q", key, f"lmdb:{path}"], capture_output=True, text=True, check=False
        )
        assert not done.stderr
        return done.stdout if done.returncode == 0 else None

    with ExceptionsTable(path) as table:
        assert asked("Ann@a.test") is None
        table.apply([entry("Ann@a.test", "retry:4.3.2 [938] resting until 21:40", 50), entry("a.test", "ip2-s3:")])
        assert asked("ANN@a.test") == "retry:4.3.2 [938] resting until 21:40\n"
        assert asked("a.test") == "ip2-s3:\n"
        table.expire(50)
        assert asked("ann@a.test") is None
        assert asked("a.test") == "ip2-s3:\n"
