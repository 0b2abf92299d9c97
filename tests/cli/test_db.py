"""`db`: the tables are made, brought up to date, and never mixed up with somebody else's."""

import sqlite3

import pytest

from omicard_relay.store.schema import SCHEMA_VERSION, metadata
from tests.keeping import a_store, call, configured


@pytest.fixture
def config(tmp_path):
    return configured(tmp_path, "[store]\nbusy_seconds = 1\n")


def run(config, *arguments):
    done = call(config, "db", *arguments)
    assert b"Traceback" not in done.stderr
    return done.returncode, (done.stdout + done.stderr).decode()


def test_a_new_database_is_made_once(config):
    assert run(config, "upgrade") == (0, f"database: version none -> {SCHEMA_VERSION}\n")
    assert run(config, "upgrade") == (0, f"database: at version {SCHEMA_VERSION} already, nothing to do\n")
    assert run(config, "version") == (0, f"database: version {SCHEMA_VERSION}, this program needs {SCHEMA_VERSION}\n")


def test_without_a_database_there_is_no_version(config):
    status, told = run(config, "version")
    assert status == 1
    assert "there is no database; run `omicard-relay db upgrade` to make one" in told
    assert not (config.parent / "data").exists()


def change(config, statement):
    path = config.parent / "data" / "relay.db"
    path.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("command", ["upgrade", "version"])
def test_a_foreign_database_is_left_alone(config, command):
    change(config, "CREATE TABLE users (x)")
    status, told = run(config, command)
    assert status == 1
    assert "holds tables that are not ours" in told


def test_a_newer_database_is_not_touched(config):
    with a_store(config.parent / "data"):
        pass
    change(config, "UPDATE alembic_version SET version_num = '9999'")
    status, told = run(config, "upgrade")
    assert status == 1
    assert "a newer program made it" in told
    assert run(config, "version") == (0, f"database: version 9999, this program needs {SCHEMA_VERSION}\n")


def test_other_commands_say_how_to_bring_an_older_one_up_to_date(config):
    with a_store(config.parent / "data"):
        pass
    change(config, "UPDATE alembic_version SET version_num = '0000'")
    done = call(config, "report")
    assert done.returncode == 1
    assert b"stop the services, back it up, and run `omicard-relay db upgrade`" in done.stderr


def test_a_locked_database_is_told_so(config):
    with a_store(config.parent / "data"):
        pass
    for table in (*metadata.tables, "alembic_version"):
        change(config, f"DROP TABLE {table}")
    other = sqlite3.connect(config.parent / "data" / "relay.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    status, told = run(config, "upgrade")
    other.close()
    assert status == 1
    assert "is locked by another program" in told
