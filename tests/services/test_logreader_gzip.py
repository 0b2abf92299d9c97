"""Rotated logs that gzip has compressed before they were read to their end: they are read all the same."""

import gzip
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.services.test_logreader import Follower, Log


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


def compress(log, number, *, cut=0):
    """As gzip(1): the new file has the old one's time, and the old one goes; `cut` octets are missing at its end."""
    plain = log.path.with_name(f"mail.log.{number}")
    packed = log.path.with_name(f"mail.log.{number}.gz")
    octets = gzip.compress(plain.read_bytes())
    packed.write_bytes(octets[: len(octets) - cut])
    status = plain.stat()
    os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
    plain.unlink()


def test_a_compressed_log_is_read_on_from_the_place(log, follower):
    log.write(3)
    follower.read()
    log.write(2)
    log.rename()
    log.write(2)
    compress(log, 1)
    follower.kill()
    follower.read()
    assert follower.got == log.written


def test_a_kill_in_the_middle_of_a_compressed_log_loses_nothing(log):
    follower = Follower(log.path, most=2)
    log.write(3)
    follower.step()
    log.write(6)
    log.rename()
    log.write(3)
    compress(log, 1)
    for _ in range(4):
        follower.kill()
        follower.step()
    follower.read()
    assert follower.got == log.written
    follower.reader.close()


def test_several_compressed_logs_are_read_in_their_order(log, follower):
    log.write(3)
    follower.read()
    for _ in range(3):
        log.write(2)
        log.rename()
    log.write(1)
    compress(log, 3)
    compress(log, 2)
    follower.kill()
    follower.read()
    assert follower.got == log.written


def test_a_living_reader_reads_its_own_file_on_after_the_compression(log, follower):
    log.write(3)
    follower.read()
    log.write(2)
    log.rename()
    compress(log, 1)
    log.write(2)
    log.rename()
    compress(log, 1)
    log.write(1)
    follower.read()
    assert follower.got == log.written


def test_the_plain_file_is_read_as_long_as_gzip_is_at_work(log, follower):
    log.write(3)
    follower.read()
    log.write(2)
    log.rename()
    log.write(1)
    log.path.with_name("mail.log.1.gz").write_bytes(gzip.compress(b"half a fi")[:15])
    follower.kill()
    follower.read()
    assert follower.got == log.written


def test_a_log_that_was_empty_at_the_last_look_and_is_compressed_now_is_read(log, follower):
    follower.step()
    follower.place = replace(follower.place, read=datetime.fromtimestamp(log.tick / 1e9, UTC))
    log.write(2)
    log.rename()
    log.write(1)
    compress(log, 1)
    follower.kill()
    follower.read()
    assert follower.got == log.written


@pytest.mark.parametrize("cut", [8, 20, 30])
def test_a_broken_compressed_log_is_named_and_holds_up_nothing(log, follower, cut, caplog):
    log.write(3)
    follower.read()
    follower.place = replace(follower.place, read=datetime.fromtimestamp(log.tick / 1e9, UTC))
    log.write(400)
    log.rename()
    log.write(2)
    log.rename()
    log.write(1)
    compress(log, 2, cut=cut)
    follower.kill()
    follower.read()
    assert follower.got[-3:] == log.written[-3:]
    assert "event=log-broken" in caplog.text


def test_other_compressed_files_beside_the_log_are_left_alone(log, follower, caplog):
    log.write(2)
    follower.read()
    log.path.with_name("mail.log.old.gz").write_bytes(gzip.compress(b"foreign\n"))
    log.path.with_name("other.log.1.gz").write_bytes(gzip.compress(b"foreign\n"))
    log.write(1)
    follower.kill()
    follower.read()
    assert follower.got == log.written
    assert caplog.text == ""
