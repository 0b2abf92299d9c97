"""`bounce import` as an operator runs it: figures, rows, exit status; stopped or killed at any moment it goes on."""

import json
import os
import signal
import socket
import sqlite3
import subprocess

import pytest

from omicard_relay.store import answers, schema
from tests.keeping import a_store, call, configured, environment, program, rows, wait_for
from tests.mails import dsn

LINE = b"From MAILER-DAEMON  Tue Nov 24 08:00:00 2026\n"
PERSON = b"From: Ann <ann@a.example>\nTo: b@bounces.example\nSubject: Re: our offer\n\nPlease send two.\n"


@pytest.fixture
def config(tmp_path):
    return configured(tmp_path, '[store]\nbusy_seconds = 1\n[return_path]\ndomain = "bounces.example"\n')


@pytest.fixture
def mbox(tmp_path):
    def mbox(count, extra=b""):
        mails = (dsn(f"u{n}@a.example", number=n).replace(b"\r\n", b"\n") for n in range(count))
        path = tmp_path / "mbox"
        path.write_bytes(b"".join(LINE + mail + b"\n" for mail in mails) + extra)
        return path

    return mbox


def stored(config):
    with a_store(config.parent / "data") as store:
        return rows(store, schema.bounce_mail, "times_seen")


def test_it_tells_what_came_and_what_was_known(config, mbox):
    path = str(mbox(3, LINE + PERSON))
    done = call(config, "--lang", "en", "bounce", "import", path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [line.split("│")[0].split() for line in done.stdout.decode().splitlines()[2:]] == [["dsn"], ["not-a-bounce"]]
    assert b"nothing new" in call(config, "--lang", "en", "bounce", "import", path).stdout
    again = call(config, "--lang", "zh-TW", "bounce", "import", "--again", path)
    assert "資料庫中已有" in again.stdout.decode()
    assert stored(config) == [1] * 4


def test_rows_for_programs(config, mbox):
    path = mbox(1, LINE + PERSON)
    done = call(config, "bounce", "import", "--jsonl", "--recipient", "b+x@bounces.example", str(path))
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["kind"], row["new"], row["recipient"], row["error"]) for row in found] == [
        ("dsn", True, "b+x@bounces.example", None),
        ("not-a-bounce", True, "b+x@bounces.example", None),
    ]
    assert found[0]["mail"] == f"{path}@0"


def test_a_persons_mail_is_handed_on_unless_told_otherwise(config, mbox):
    path = str(mbox(0, LINE + PERSON))
    box = config.parent / "data" / "answers" / "new"
    call(config, "bounce", "import", "--no-hand-on", path)
    assert not box.exists()
    with a_store(config.parent / "data") as store, store.read() as tx:
        assert answers.count_waiting(tx) == 0
    other = config.parent / "other"
    other.write_bytes(LINE + PERSON.replace(b"two", b"three"))
    call(config, "bounce", "import", str(other))
    assert len(list(box.iterdir())) == 1


def test_a_bad_mail_and_a_wrong_path_are_told_and_the_rest_goes_on(config, mbox, tmp_path):
    box = tmp_path / "box" / "new"
    box.mkdir(parents=True)
    os.mkfifo(box / "1.pipe")
    (box / "2.good").write_bytes(PERSON)
    done = call(config, "--lang", "en", "bounce", "import", str(tmp_path / "none"), str(box.parent), str(mbox(1)))
    assert done.returncode == 1
    words = done.stderr.decode()
    assert f"error: {tmp_path}/none: there is no such file or folder; check the path." in words
    assert "1.pipe: cannot be imported: is no file" in words
    assert len(stored(config)) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("imaps://b@mail.example/INBOX",), "--password-file FILE"),
        (("--format", "mbox", "imaps://b@mail.example/INBOX"), "not for IMAP"),
        ((), "Missing argument"),
        (("imaps://mail.example/INBOX",), "user or host is missing"),
        (("imaps://b@mail.example:x/INBOX",), "is no address such as"),
    ],
    ids=["no password", "a format for IMAP", "nothing named", "no user", "no port"],
)
def test_wrong_usage_is_told(config, arguments, says):
    done = call(config, "--lang", "en", "bounce", "import", *arguments)
    assert done.returncode == 2
    assert says in done.stderr.decode()


def test_a_password_in_the_url_is_refused_and_not_repeated(config, tmp_path):
    (tmp_path / "password").write_text("x\n")
    done = call(
        config, "bounce", "import", "--password-file", str(tmp_path / "password"), "imaps://b:secret@mail.example/INBOX"
    )
    assert done.returncode == 2
    assert b"secret" not in done.stderr
    assert b"--password-file" in done.stderr
    assert not (config.parent / "data").exists()


@pytest.mark.parametrize(
    ("lang", "says"),
    [
        ("en", "error: {}: there is no such file or folder; check the path.\n"),
        ("zh-TW", "錯誤：{}：沒有這個檔案或資料夾；請確認路徑。\n"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--jsonl"]], ids=["for people", "for programs"])
def test_a_wrong_path_alone_is_an_error_and_no_count_of_mails(config, tmp_path, lang, says, more):
    path = tmp_path / "none"
    done = call(config, "--lang", lang, "bounce", "import", *more, str(path))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == says.format(path)


def test_what_is_wrong_with_a_mail_is_told_in_the_readers_language(config, tmp_path):
    (tmp_path / "box" / "new").mkdir(parents=True)
    os.mkfifo(tmp_path / "box" / "new" / "1.pipe")
    done = call(config, "--lang", "zh-TW", "bounce", "import", str(tmp_path / "box"))
    assert done.returncode == 1
    assert "1.pipe：無法匯入：不是檔案" in done.stderr.decode()


def test_a_server_that_is_away_is_told_in_the_readers_language(config, tmp_path):
    (tmp_path / "password").write_text("x\n")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"imap://b@127.0.0.1:{closed.getsockname()[1]}/INBOX"
        named = ["--password-file", str(tmp_path / "password"), url]
        told = {lang: call(config, "--lang", lang, "bounce", "import", *named) for lang in ("en", "zh-TW")}
    assert {done.returncode for done in told.values()} == {1}
    assert f"error: {url}: cannot be reached (" in told["en"].stderr.decode()
    assert f"錯誤：{url}：無法連線（" in told["zh-TW"].stderr.decode()


def test_a_password_file_that_is_not_there_is_told(config, tmp_path):
    done = call(
        config,
        "--lang",
        "en",
        "bounce",
        "import",
        "--password-file",
        str(tmp_path / "x"),
        "imaps://b@mail.example/INBOX",
    )
    assert done.returncode == 1
    assert f"{tmp_path}/x: cannot be read (No such file or directory)" in done.stderr.decode()


def test_a_locked_store_stops_it_and_it_goes_on_later(config, mbox):
    path = str(mbox(3))
    call(config, "db", "upgrade")
    lock = sqlite3.connect(config.parent / "data" / "relay.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    done = call(config, "--lang", "en", "bounce", "import", path)
    lock.execute("ROLLBACK")
    lock.close()
    assert done.returncode == 1
    assert b"locked" in done.stderr
    assert b"goes on where it was" in done.stderr
    assert call(config, "bounce", "import", path).returncode == 0
    assert stored(config) == [1] * 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_stopped_in_the_middle_it_goes_on_and_doubles_nothing(config, mbox, number):
    path = str(mbox(6000))
    call(config, "db", "upgrade")
    running = subprocess.Popen(
        program(config, "--lang", "en", "bounce", "import", path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    wait_for(lambda: len(stored(config)) > 60)
    running.send_signal(number)
    _, words = running.communicate(timeout=30)
    assert running.returncode != 0
    assert len(stored(config)) < 6000
    if number == signal.SIGINT:
        assert b"start it again" in words
    assert call(config, "bounce", "import", path).returncode == 0
    assert stored(config) == [1] * 6000
