"""Reading a log on and on: no line is lost and none comes twice, whatever a rotation does and whenever the reader dies."""

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omicard_relay.services import logreader
from omicard_relay.services.logreader import LogReader


class Follower:
    """Reads as the service does; `kill` is the worst that can happen to it: a new one goes on from the stored place."""

    def __init__(self, path: Path, *, most: int = 1000):
        self.path, self.most = path, most
        self.place, self.got = None, []
        self.reader = LogReader(path, None, most=most)

    def read(self) -> None:
        while lines := self.reader.read_lines():
            self.got += lines
            self.place = self.reader.place
        self.place = self.reader.place or self.place

    def step(self) -> None:
        lines = self.reader.read_lines()
        self.got += lines
        self.place = self.reader.place or self.place

    def kill(self) -> None:
        self.reader.close()
        self.reader = LogReader(self.path, self.place, most=self.most)

    def lose(self) -> None:
        """A batch is read, and then the store fails and the process dies."""
        self.reader.read_lines()
        self.kill()


class Log:
    """A writer with an open file, as rsyslog or postlogd has one."""

    def __init__(self, folder: Path):
        self.path = folder / "mail.log"
        self.number, self.written = 0, []
        self.tick = 1_700_000_000_000_000_000
        self.file = self.path.open("ab", buffering=0)

    def write(self, lines: int = 1) -> None:
        for _ in range(lines):
            self.number += 1
            line = b"line %d " % self.number + b"x" * (self.number % 7)
            self.file.write(line + b"\n")
            self.written.append(line)
        self.touch(self.file)

    def touch(self, file) -> None:
        """Every write has a later time than the one before, however coarse the clock of the file system is."""
        self.tick += 1_000_000_000
        os.utime(file.fileno(), ns=(self.tick, self.tick))

    def shift(self) -> None:
        for number in range(8, 0, -1):
            old = self.path.with_name(f"mail.log.{number}")
            if old.exists():
                old.rename(self.path.with_name(f"mail.log.{number + 1}"))

    def rename(self, late: int = 0) -> None:
        """logrotate's usual way: rename, make a new file, tell the writer, who may write on into the old one until then."""
        self.shift()
        self.path.rename(self.path.with_name("mail.log.1"))
        new = self.path.open("ab", buffering=0)
        self.write(late)
        self.file.close()
        self.file = new

    def copy(self) -> None:
        """logrotate's copytruncate."""
        self.shift()
        shutil.copyfile(self.path, self.path.with_name("mail.log.1"))
        with self.path.with_name("mail.log.1").open("rb") as copy:
            self.touch(copy)
        self.file.truncate(0)


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path)
    yield log
    log.file.close()


@pytest.fixture
def follower(log):
    follower = Follower(log.path)
    yield follower
    follower.reader.close()


def test_lines_come_once_and_in_order(log, follower):
    log.write(3)
    follower.read()
    log.write(2)
    follower.read()
    follower.read()
    assert follower.got == log.written


def test_a_missing_file_is_waited_for(tmp_path):
    follower = Follower(tmp_path / "mail.log")
    follower.read()
    assert follower.place is None
    assert not follower.reader.is_at_end
    log = Log(tmp_path)
    log.write(2)
    follower.read()
    assert follower.got == log.written


def test_a_line_is_given_when_its_end_has_come(log, follower):
    log.file.write(b"half a li")
    follower.read()
    assert follower.got == []
    follower.kill()
    log.file.write(b"ne\nand a hal")
    follower.read()
    assert follower.got == [b"half a line"]
    log.file.write(b"f\n")
    follower.read()
    assert follower.got == [b"half a line", b"and a half"]


def test_a_lone_carriage_return_makes_no_line(log, follower):
    log.file.write(b"one\rtwo\x0bthree\x85\n\n")
    follower.read()
    assert follower.got == [b"one\rtwo\x0bthree\x85", b""]


def test_no_more_lines_than_asked_for_come_at_once(log):
    follower = Follower(log.path, most=3)
    log.write(7)
    sizes = []
    for _ in range(4):
        before = len(follower.got)
        follower.step()
        sizes.append(len(follower.got) - before)
        follower.kill()
    assert sizes == [3, 3, 1, 0]
    assert follower.got == log.written


def test_a_line_beyond_all_bounds_does_not_stop_the_reading(log, follower, monkeypatch):
    monkeypatch.setattr(logreader, "_CHUNK", 100)
    log.file.write(b"y" * 350 + b"\n")
    log.write(2)
    follower.read()
    assert b"".join(follower.got[:-2]) == b"y" * 350
    assert follower.got[-2:] == log.written


def test_the_end_is_known_only_when_all_has_been_given(log):
    follower = Follower(log.path, most=2)
    log.write(3)
    follower.step()
    assert not follower.reader.is_at_end
    follower.step()
    assert follower.reader.is_at_end
    log.write(3)
    follower.step()
    assert not follower.reader.is_at_end


def test_the_end_of_a_file_that_was_renamed_is_not_the_end_of_the_log(log, follower):
    log.write(2)
    follower.step()
    log.rename()
    follower.step()
    assert not follower.reader.is_at_end
    log.write(1)
    follower.step()
    assert follower.reader.is_at_end


@pytest.mark.parametrize("killed", [False, True], ids=["living", "killed"])
@pytest.mark.parametrize("late", [0, 2], ids=["no-late-lines", "late-lines"])
def test_a_rotation_by_rename_loses_nothing(log, follower, killed, late):
    log.write(3)
    follower.read()
    log.write(2)  # not read before the rotation
    log.rename(late=late)
    if killed:
        follower.kill()
    follower.read()
    log.write(2)
    follower.read()
    assert follower.got == log.written


def test_lines_that_come_late_into_the_renamed_file_are_read_before_the_new_ones(log, follower):
    """The reader sees the old file's end, then the writer goes on in it and only then in the new one."""
    log.write(2)
    follower.read()
    log.rename()
    follower.read()
    late = log.path.with_name("mail.log.1").open("ab", buffering=0)
    take, looked = follower.reader._take, []

    def take_and_then(*arguments):
        lines = take(*arguments)
        if not looked:
            looked.append(1)
            late.write(b"late\n")
            log.write(1)
        return lines

    follower.reader._take = take_and_then
    follower.read()
    late.close()
    assert follower.got == [*log.written[:2], b"late", *log.written[2:]]


@pytest.mark.parametrize("killed", [False, True], ids=["living", "killed"])
@pytest.mark.parametrize("more", [0, 1, 99], ids=["empty", "shorter", "longer"])
def test_a_rotation_by_copy_and_truncation_loses_nothing(log, follower, killed, more):
    log.write(10)
    follower.read()
    log.write(3)  # only in the copy when we look again
    log.copy()
    log.write(more)
    if killed:
        follower.kill()
    follower.read()
    log.write(2)
    follower.read()
    assert follower.got == log.written


def test_a_truncation_without_a_copy_goes_on_at_the_new_beginning(log, follower):
    log.write(5)
    follower.read()
    log.file.truncate(0)
    log.write(2)
    follower.read()
    assert follower.got == log.written


def test_a_shorter_file_with_the_same_beginning_is_not_the_one_that_was_read(log, follower):
    """A log that was put back from a backup: going on behind its end would pass over all that comes next."""
    log.write(30)
    follower.read()
    log.file.truncate(sum(len(line) + 1 for line in log.written[:25]))
    follower.kill()
    log.write(1)
    follower.read()
    assert follower.got[-1] == log.written[-1]


@pytest.mark.parametrize("rotate", [Log.rename, Log.copy], ids=["rename", "copytruncate"])
def test_several_rotations_while_nobody_reads_lose_nothing(log, follower, rotate):
    log.write(3)
    follower.read()
    for _ in range(4):
        log.write(3)
        rotate(log)
    log.write(1)
    follower.kill()
    follower.read()
    assert follower.got == log.written


def test_several_rotations_under_a_living_reader_lose_nothing(log, follower):
    log.write(3)
    follower.read()
    for _ in range(3):
        log.write(3)
        log.rename()
    log.write(1)
    follower.read()
    assert follower.got == log.written


def test_where_the_place_is_gone_what_changed_since_is_read(log, follower, caplog):
    """The file that was read last was compressed; the one after it was not yet."""
    log.write(3)
    follower.read()
    read = datetime.fromtimestamp(log.tick / 1e9, UTC)
    follower.place = replace(follower.place, read=read)
    log.write(1)  # lost: only the compressed file has it
    log.rename()
    log.write(2)
    log.rename()
    log.write(2)
    (log.path.with_name("mail.log.2")).rename(log.path.with_name("mail.log.2.gz"))
    follower.kill()
    follower.read()
    assert follower.got == log.written[:3] + log.written[4:]
    assert "event=log-gone" in caplog.text


def test_rotated_files_from_before_the_last_look_are_not_read_again(log, follower):
    log.write(2)
    log.rename()
    log.write(2)
    follower.read()
    follower.place = replace(follower.place, read=datetime.fromtimestamp(log.tick / 1e9, UTC) + timedelta(seconds=1))
    log.file.truncate(0)
    log.write(1)
    follower.kill()
    follower.read()
    assert follower.got == log.written[2:]


def test_a_new_follower_does_not_read_old_rotated_files(log):
    log.write(2)
    log.rename()
    log.write(2)
    follower = Follower(log.path)
    follower.read()
    assert follower.got == log.written[2:]


def test_other_files_beside_the_log_are_no_rotated_ones(log, follower):
    log.write(2)
    follower.read()
    for name in ("mail.log.swp", "mail.log.offset", "mail.log.1.gz", "mail.log~", "mail.logistics", "mail.log.old"):
        log.path.with_name(name).write_bytes(b"foreign\n")
    log.path.with_name("mail.log.2").mkdir()
    log.rename()
    log.write(2)
    follower.read()
    follower.kill()
    follower.read()
    assert follower.got == log.written


@pytest.mark.parametrize("name", ["mail.log-20261124", "mail.log.20261124-083131", "mail.log-2026-11-24T08:31"])
def test_a_rotation_may_put_the_date_behind_the_name(log, follower, name):
    log.write(2)
    follower.read()
    log.write(2)
    log.rename()
    log.path.with_name("mail.log.1").rename(log.path.with_name(name))
    log.write(1)
    follower.kill()
    follower.read()
    assert follower.got == log.written


def test_a_log_whose_name_has_signs_of_a_pattern_is_followed(tmp_path):
    (tmp_path / "[a]").mkdir()
    log = Log(tmp_path / "[a]")
    follower = Follower(log.path)
    log.write(2)
    follower.read()
    log.write(1)
    log.rename()
    log.write(1)
    follower.kill()
    follower.read()
    assert follower.got == log.written


def test_a_file_that_may_not_be_read_is_waited_for(log, follower, monkeypatch, caplog):
    """A rotation makes the new file first, and gives it its owner then."""
    log.write(2)
    follower.read()
    log.rename()
    log.write(2)
    real = Path.open

    def refuse(path, *arguments, **more):
        if path == log.path:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        for _ in range(3):
            follower.read()
    assert follower.got == log.written[:2]
    assert caplog.text.count("event=log-unreadable") == 1
    follower.read()
    assert follower.got == log.written


def test_an_empty_log_that_was_rotated_unread_is_left_behind(log, follower):
    follower.step()
    log.rename()
    log.write(2)
    follower.kill()
    follower.read()
    assert follower.got == log.written


STEPS = st.lists(
    st.sampled_from(["write", "write", "write", "read", "step", "step", "rename", "rename-late", "kill", "lose"]),
    max_size=40,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, most=st.integers(1, 5))
def test_whatever_happens_in_whatever_order_each_line_comes_once(tmp_path_factory, steps, most):
    log = Log(tmp_path_factory.mktemp("log"))
    follower = Follower(log.path, most=most)
    doing = {
        "write": lambda: log.write(2),
        "read": follower.read,
        "step": follower.step,
        "rename": log.rename,
        "rename-late": lambda: log.rename(late=1),
        "kill": follower.kill,
        "lose": follower.lose,
    }
    follower.step()
    for step in steps:
        doing[step]()
    log.write(1)
    follower.read()
    follower.reader.close()
    log.file.close()
    assert follower.got == log.written


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.sampled_from(["write", "write", "read", "copy", "kill", "lose"]), max_size=25),
)
def test_with_copies_and_truncations_each_line_comes_once(tmp_path_factory, steps):
    """A copy is read to its end before the next one is made: what nobody read in two of them is in the rotated files."""
    log = Log(tmp_path_factory.mktemp("log"))
    follower = Follower(log.path)
    doing = {
        "write": lambda: log.write(2),
        "read": follower.read,
        "copy": log.copy,
        "kill": follower.kill,
        "lose": follower.lose,
    }
    log.write(1)
    follower.read()
    for step in steps:
        doing[step]()
    log.write(1)
    follower.read()
    follower.reader.close()
    log.file.close()
    assert follower.got == log.written
