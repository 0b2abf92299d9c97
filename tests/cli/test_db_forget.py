"""`db forget` and `db purge` as they are typed: what they say, their exit status, and that they ask."""

import pytest

from omicard_relay.store.schema import forgetting, list_entry
from tests.forgetting import add_attempt, add_entry, add_mail
from tests.keeping import NOW, a_store, call, configured, rows

ANN = "ann@a.example"


@pytest.fixture
def config(tmp_path):
    path = configured(tmp_path)
    (tmp_path / "data").mkdir()
    with a_store(tmp_path / "data") as store:
        who = add_mail(store, "s1", ANN)[ANN]
        add_attempt(store, "l1", ANN, who, text=f"550 <{ANN}> unknown")
        add_entry(store, ANN, list_name="known-bounce", reason=f"902 by generic-x: <{ANN}> unknown", bounce_code=902)
    return path


def run(config, *arguments):
    done = call(config, *arguments)
    assert b"Traceback" not in done.stderr
    return done.returncode, (done.stdout + done.stderr).decode()


def test_it_tells_what_went_and_what_stays_and_is_known_by_the_digest(config):
    status, told = run(config, "db", "forget", ANN.upper(), "--yes")
    assert status == 0
    assert "1 rows of recipient" in told
    assert "forget.key" in told
    assert "backups" in told
    assert ANN not in told
    with a_store(config.parent / "data") as store:
        (value,) = rows(store, list_entry, "value")
        assert rows(store, forgetting, "value") == [value]
    assert value in told
    assert (config.parent / "data" / "forget.key").stat().st_mode & 0o777 == 0o600
    status, told = run(config, "suppress", "why", ANN)
    assert (status, value in told, "902 by generic-x" in told) == (0, True, True)
    status, told = run(config, "lists", "export", "known-bounce")
    assert value in told
    (config.parent / "list.csv").write_text(told.split("\n1 entries")[0])
    assert run(config, "lists", "import", "known-bounce", str(config.parent / "list.csv"))[0] == 0
    assert run(config, "suppress", "remove", ANN)[0] == 0
    assert run(config, "suppress", "why", ANN)[0] == 1


def test_a_second_time_it_says_so_and_of_a_stranger_it_knows_nothing(config):
    assert run(config, "db", "forget", ANN, "--yes")[0] == 0
    status, told = run(config, "db", "forget", ANN, "--yes")
    assert (status, "was forgotten on" in told) == (0, True)
    status, told = run(config, "db", "forget", "x@a.example", "--yes")
    assert (status, "nothing is known of this address" in told) == (1, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((ANN,), "--yes"),
        (("@a.example", "--yes"), "is no address"),
        (("a.example", "--yes"), "is no address"),
    ],
    ids=["nobody to ask", "a domain", "a bare domain"],
)
def test_it_changes_nothing_where_it_is_not_sure(config, words, said):
    status, told = run(config, "db", "forget", *words)
    assert (status, said in told) == (1, True)
    with a_store(config.parent / "data") as store:
        assert rows(store, list_entry, "value") == [ANN]


def test_a_dry_run_only_tells(config):
    status, told = run(config, "db", "forget", ANN, "--dry-run")
    assert (status, "nothing was changed" in told) == (0, True)
    assert not (config.parent / "data" / "forget.key").exists()


def test_purging_tells_counts_and_the_size_of_the_file(config):
    with a_store(config.parent / "data") as store:
        add_attempt(store, "old", "x@b.example", None, time=NOW.replace(year=2015))
    status, told = run(config, "db", "purge", "--dry-run")
    assert (status, "1 rows of attempt would be deleted" in told) == (0, True)
    status, told = run(config, "db", "purge", "--vacuum")
    assert (status, "1 rows of attempt deleted" in told) == (0, True)
    assert "octets, 0 of them free" in told
    status, told = run(config, "--lang", "zh-TW", "db", "purge")
    assert (status, "沒有達到期限的資料" in told) == (0, True)


def test_evidence_is_not_purged_too_early(config):
    status, told = run(config, "db", "purge", "--older-than", "5")
    assert (status, "`--older-than`: 5 days are too few" in told) == (1, True)
    assert run(config, "db", "purge", "--older-than", "5", "--mails-only")[0] == 0
