"""The migrations make exactly the tables that the code speaks of, and docs/store.md shows each of them."""

import re
import sqlite3

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from omicard_relay.mail import StoreError
from omicard_relay.store import migrate, open_store, schema
from omicard_relay.store.engine import database_version
from tests.keeping import ROOT, a_store

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
