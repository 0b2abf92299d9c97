"""The migrations make exactly the tables that the code speaks of, and docs/store.md shows each of them."""

import re
import sqlite3
import zlib

import pytest
import sqlalchemy as sa
from alembic import command, context
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from omicard_relay.mail import StoreError
from omicard_relay.store import mails, migrate, open_store, schema
from omicard_relay.store.engine import database_version
from tests.keeping import NOW, ROOT, a_store, content_of

DOCUMENT = ROOT / "docs" / "store.md"


def test_the_schema_knows_the_newest_migration():
    assert migrate.head() == schema.SCHEMA_VERSION


def differences(store):
    with store.read() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True, "compare_server_default": True})
        return compare_metadata(context, schema.metadata)


def test_the_migrations_make_the_tables_of_the_schema(tmp_path):
    with a_store(tmp_path) as store:
        assert differences(store) == []
        with store.read() as tx:
            made = set(sa.inspect(tx).get_table_names())
        assert made == {*schema.metadata.tables, "alembic_version"}


def test_a_difference_would_be_seen(tmp_path):
    with a_store(tmp_path) as store:
        with store.write() as tx:
            tx.exec_driver_sql("DROP INDEX ix_attempt_time")
            tx.exec_driver_sql("ALTER TABLE recipient ADD COLUMN extra TEXT")
        assert {difference[0] for difference in differences(store)} == {"add_index", "remove_column"}


def test_an_upgrade_of_the_newest_version_changes_nothing(tmp_path):
    with a_store(tmp_path) as store:
        migrate.upgrade(store)
        assert database_version(store) == schema.SCHEMA_VERSION


def test_each_migration_is_told_before_it_begins(tmp_path):
    with a_store(tmp_path) as store:
        config = migrate._config()
        with store.write() as tx:
            config.attributes["connection"] = tx
            command.downgrade(config, "0004")
        told, at = [], []

        def begins(name, number, count):
            told.append((name, number, count))
            at.append(context.get_context().get_current_revision() if number > 1 else "0004")

        migrate.upgrade(store, on_step=begins)
        wanted = [f"{number:04d}" for number in range(5, int(schema.SCHEMA_VERSION) + 1)]
        assert told == [(name, number, len(wanted)) for number, name in enumerate(wanted, start=1)]
        assert at == ["0004", *wanted[:-1]]
        told.clear()
        migrate.upgrade(store, on_step=begins)
        assert told == []


def test_every_migration_can_be_taken_back(tmp_path):
    with a_store(tmp_path) as store:
        config = migrate._config()
        with store.write() as tx:
            config.attributes["connection"] = tx
            command.downgrade(config, "base")
        with store.read() as tx:
            assert sa.inspect(tx).get_table_names() == ["alembic_version"]
        migrate.upgrade(store)
        assert differences(store) == []


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path, monkeypatch):
    """All of it is one transaction, also on SQLite."""
    store = open_store(f"sqlite:///{tmp_path / 'relay.db'}", any_version=True)
    real = command.upgrade

    def stops_half_way(config, target):
        real(config, target)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(command, "upgrade", stops_half_way)
    with pytest.raises(StoreError, match="full"):
        migrate.upgrade(store)
    assert database_version(store) is None
    store.close()


def test_a_newer_database_is_not_upgraded(tmp_path):
    with a_store(tmp_path) as store:
        with store.write() as tx:
            tx.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(StoreError, match="a newer program made it"):
            migrate.upgrade(store)


#: One row of each table that a migration changes, as the first version had it.
OLD_ROWS = {
    "submission": {"id": "s1", "received": "2026-11-24 08:00:00", "way": "direct", "reverse_path": "n@shop.example"},
    "recipient": {
        "id": 1,
        "submission_id": "s1",
        "address": "ann@a.example",
        "address_key": "ann@a.example",
        "state": "returned",
        "state_since": "2026-11-24 08:00:00",
        "attempts": 1,
    },
    "attempt": {
        "id": 7,
        "line_digest": "d",
        "time": "2026-11-24 08:00:00",
        "queue_id": "4QAAAAA1",
        "address": "ann@a.example",
        "address_key": "ann@a.example",
        "recipient_id": 1,
        "number": 1,
        "outcome": "bounced",
        "is_attempt": 1,
        "is_hop": 0,
        "program": "smtp",
        "reply": "550 no such user",
        "bounce_code": 902,
        "rule_id": "generic",
    },
    "bounce_mail": {
        "digest": "m",
        "received": "2026-11-24 08:00:00",
        "last_seen": "2026-11-24 08:00:00",
        "times_seen": 1,
        "kind": "dsn",
        "size": 1,
        "sender": "",
        "envelope_recipient": "b@x.example",
        "trust": "claimed",
        "trust_reason": "",
        "notes": "",
        "raw": zlib.compress(b"a mail\r\n"),
    },
    "bounce_report": {
        "id": 9,
        "mail_digest": "m",
        "number": 0,
        "time": "2026-11-24 08:00:00",
        "road": "dsn",
        "address": "ann@a.example",
        "address_key": "ann@a.example",
        "original_address": "",
        "is_echo": 0,
        "trust": "claimed",
        "reply": "550 no such user",
        "bounce_code": 902,
    },
}


JUDGED = ("attempt", "bounce_report")


def _old(name, columns):
    """A table without the types of today."""
    return sa.table(name, *map(sa.column, columns))


def test_a_filled_store_of_the_first_version_keeps_every_row(tmp_path):
    url = f"sqlite:///{tmp_path / 'relay.db'}"
    store = open_store(url, any_version=True)
    config = migrate._config()
    with store.write() as tx:
        config.attributes["connection"] = tx
        command.upgrade(config, "0001")
        for table, row in OLD_ROWS.items():
            tx.execute(_old(table, row).insert(), row)
    with pytest.raises(StoreError, match=r"at version 0001, this program needs .*`omicard-relay db upgrade`"):
        open_store(url)
    migrate.upgrade(store)
    assert database_version(store) == schema.SCHEMA_VERSION
    assert differences(store) == []
    with store.read() as tx:
        for table, row in OLD_ROWS.items():
            row = {name: value for name, value in row.items() if name != "raw"}  # see below
            kept = (
                tx.execute(sa.select(_old(table, [*row, "rules_release"] if table in JUDGED else row))).mappings().one()
            )
            assert {name: kept[name] for name in row} == row
            if table in JUDGED:
                assert kept["rules_release"] is None
        assert content_of(tx, OLD_ROWS["bounce_mail"]["digest"]) == b"a mail\r\n"
    store.close()


CONTENTS = {"m1": b"a mail\r\n", "m2": b"a mail\n", "m3": b"another", "m4": None}


def test_contents_of_version_4_stand_once_and_come_back(tmp_path):
    """m4 is damaged: it is moved as it is. What an upgrade moved, a downgrade brings back, reports and all."""
    store = open_store(f"sqlite:///{tmp_path / 'relay.db'}", any_version=True)
    config = migrate._config()
    packed = {name: zlib.compress(raw) if raw else b"no zlib" for name, raw in CONTENTS.items()}
    with store.write() as tx:
        config.attributes["connection"] = tx
        command.upgrade(config, "0004")
        for name, raw in packed.items():
            mail = {**OLD_ROWS["bounce_mail"], "digest": name, "raw": raw, "hand_on_tries": 2}
            tx.execute(_old("bounce_mail", mail).insert(), mail)
            report = {**OLD_ROWS["bounce_report"], "id": int(name[1:]), "mail_digest": name}
            tx.execute(_old("bounce_report", report).insert(), report)
    migrate.upgrade(store)
    assert differences(store) == []
    with store.read() as tx:
        assert {name: content_of(tx, name) for name in ("m1", "m2", "m3")} == {
            "m1": b"a mail\r\n",
            "m2": b"a mail\r\n",
            "m3": b"another",
        }
        assert tx.execute(sa.select(sa.func.count()).select_from(schema.mail_content)).scalar() == 3
    with store.write() as tx:
        mails.delete_contents(tx, ["m3"], now=NOW)
    with store.write() as tx:
        config.attributes["connection"] = tx
        command.downgrade(config, "0004")
    with store.read() as tx:
        kept = tx.execute(sa.select(_old("bounce_mail", ("digest", "raw", "hand_on_tries"))).order_by("digest")).all()
        assert (
            tx.execute(sa.text("SELECT count(*) FROM bounce_report JOIN bounce_mail ON mail_digest = digest")).scalar()
            == 4
        )
        assert tx.execute(sa.text("PRAGMA foreign_key_check")).all() == []
    assert kept == [
        ("m1", packed["m1"], 2),
        ("m2", packed["m1"], 2),
        ("m3", zlib.compress(b""), 2),
        ("m4", b"no zlib", 2),
    ]
    migrate.upgrade(store)
    assert differences(store) == []
    store.close()


def columns_in(document: str, table: str) -> set[str]:
    """The first column of the Markdown table below the heading of this name."""
    section = re.search(rf"^## `{table}`$(.*?)(?=^## |\Z)", document, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^\| `(\w+)` \|", section.group(1), re.MULTILINE)) if section else set()


def columns_drawn(document: str, table: str) -> set[str]:
    """The columns of this table in the Mermaid picture."""
    box = re.search(rf"^    {table} \{{\n(.*?)^    \}}$", document, re.MULTILINE | re.DOTALL)
    return {line.split()[1] for line in box.group(1).splitlines()} if box else set()


def test_the_readers_of_the_document_see_what_is_missing():
    text = "    a {\n        int id PK\n    }\n## `a`\n\n| `id` | x |\n\n## `b`\n| `other` | y |\n"
    assert columns_in(text, "a") == columns_drawn(text, "a") == {"id"}
    assert columns_in(text, "c") == columns_drawn(text, "b") == set()


@pytest.mark.parametrize("table", schema.metadata.sorted_tables, ids=lambda table: table.name)
def test_every_table_and_column_stands_in_the_document_and_its_picture(table):
    document = DOCUMENT.read_text(encoding="utf-8")
    assert columns_in(document, table.name) == set(table.columns.keys())
    assert columns_drawn(document, table.name) == set(table.columns.keys())


def test_every_reference_is_drawn():
    document = DOCUMENT.read_text(encoding="utf-8")
    drawn = set(re.findall(r"^    (\w+) \|\|--o[{|] (\w+) :", document, re.MULTILINE))
    wanted = {
        (key.column.table.name, table.name) for table in schema.metadata.tables.values() for key in table.foreign_keys
    }
    assert drawn == wanted
