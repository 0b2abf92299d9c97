"""`steer recompute`, `steer export`, `steer import`: what people and programs are told, and the exit status."""

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner

from omicard_relay.cli.root import root
from omicard_relay.mail import Outcome, RelayError
from omicard_relay.services.steer_fold import Folder
from omicard_relay.services.steer_setup import Setup
from omicard_relay.steering.values import SourceIp
from omicard_relay.store import schema
from omicard_relay.tables.providers import load_providers
from omicard_relay.tables.retry import load_retry
from tests.attempting import add_line
from tests.keeping import NOW, a_store, configured, rows

SETUP = Setup(load_retry(), load_providers(), (SourceIp(name="ip1"),), 7)


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path / "data") as store:
        yield store


@pytest.fixture
def run(tmp_path, store):
    config = configured(tmp_path)

    def run(*arguments, lang="en"):
        return CliRunner().invoke(root, ["--config", str(config), "--lang", lang, "steer", *arguments])

    return run


def failure(done):
    """What `main` prints before it exits 1."""
    assert isinstance(done.exception, RelayError)
    return str(done.exception)


def learn(store, *hosts, count=3):
    """Mails at these servers, each greylisted and then taken; gives the folder that learned them."""
    folder = Folder(store, "out", SETUP, "observe", frozenset({"out"}))
    folder.open(NOW, learn_days=30)
    for number in range(count):
        for host in hosts:
            who = {"queue_id": f"4Q{number}", "address": f"u{number}@{host}", "host": f"mx1.{host}"}
            add_line(store, at=number, **who)
            folder.advance(NOW + timedelta(seconds=number))
            add_line(store, Outcome.SENT, at=number + 400, text="250 Ok", **who)
    folder.advance(NOW + timedelta(seconds=900))
    folder.snapshot(NOW + timedelta(seconds=901))
    return folder


def test_what_comes_out_the_same_is_said_with_its_number(run, store):
    learn(store, "a.example")
    done = run("recompute")
    assert (done.exit_code, done.stdout) == (
        0,
        "3 decisions in 4 steps came out the same; 1 whole states compared\n",
    )
    assert "重新計算後完全相同" in run("recompute", lang="zh-TW").stdout


def test_a_changed_attempt_exits_1_and_is_named(run, store, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    learn(store, "a.example")
    with store.write() as tx:
        tx.execute(schema.attempt.update().where(schema.attempt.c.id == 1).values(bounce_code=901))
    done = run("recompute")
    assert done.exit_code == 1
    assert "What came out another" in done.stdout
    assert "evidence" in done.stdout
    assert "differences in 3 decisions" in done.stderr
    found = [json.loads(line) for line in run("recompute", "--jsonl").stdout.splitlines()]
    assert (found[0]["event"], found[0]["node"], found[0]["what"]) == ("difference", "out", "evidence")
    assert found[-1]["event"] == "summary"
    assert found[-1]["differing"] == len(found) - 1


def test_a_moment_that_nothing_came_after_compares_nothing(run, store):
    learn(store, "a.example")
    (summary,) = [json.loads(line) for line in run("recompute", "--since", "2099-01-01", "--jsonl").stdout.splitlines()]
    assert (summary["steps"], summary["decisions"]) == (0, 0)


# ------------------------------------------------------------------ counts

BIG, OWN = "google.com", "annlee.example"


def test_counts_go_from_site_to_site_without_people(run, store, tmp_path):
    learn(store, BIG, OWN, count=30)
    file = tmp_path / "counts.json"
    done = run("export", str(file))
    assert (done.exit_code, "no domain of a person" in done.stdout) == (0, True)
    text = file.read_text()
    assert "annlee" not in text
    assert "@" not in text
    with a_store(tmp_path / "other") as other:
        config = tmp_path / "other.toml"
        config.write_text('data_dir = "other"\n')
        taken = CliRunner().invoke(root, ["--config", str(config), "--lang", "en", "steer", "import", str(file)])
        assert (taken.exit_code, "taken" in taken.stdout) == (0, True)
        again = CliRunner().invoke(root, ["--config", str(config), "--lang", "en", "steer", "import", str(file)])
        assert again.stdout == "these very counts were imported before; nothing was changed\n"
        assert len(rows(other, schema.steering_counts)) == 1
        folder = Folder(other, "new", SETUP, "observe", frozenset({"new"}))
        assert folder.open(NOW, learn_days=30) == "cold"
        assert set(folder.steer.state.cells) == set(json.loads(text)["cells"])
        assert folder.steer.state.cells


def test_a_file_that_is_there_is_not_replaced_unless_asked(run, store, tmp_path):
    learn(store, BIG)
    file = tmp_path / "counts.json"
    file.write_text("mine")
    done = run("export", str(file))
    assert (file.read_text(), "add --force" in failure(done)) == ("mine", True)
    assert run("export", "--force", str(file)).exit_code == 0
    assert json.loads(file.read_text())["format"] == 1


def test_export_writes_to_standard_output(run, store):
    learn(store, BIG)
    assert json.loads(run("export", "-").stdout)["format"] == 1


def test_nothing_learned_is_said(run):
    done = run("export", "-")
    assert "steering has learned nothing yet" in failure(done)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"not json", "no counts that `steer export` wrote", id="no-json"),
        pytest.param(b'{"cells": {"*": {"1": {"2": [1]}}}}', "no counts that `steer export` wrote", id="odd"),
        pytest.param(b'{"cells": {}, "format": 9}', "of format 9", id="a-newer-format"),
        pytest.param(b"\xff\xfe\x00", "no counts that `steer export` wrote", id="octets"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused(run, tmp_path, content, words):
    file = tmp_path / "counts.json"
    file.write_bytes(content)
    done = run("import", str(file))
    assert words in failure(done)


def test_a_file_that_is_not_there_is_said(run, tmp_path):
    done = run("import", str(tmp_path / "none.json"))
    assert "cannot be read" in failure(done)
