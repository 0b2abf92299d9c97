"""Alembic, run by ourselves: its configuration is this module, so that the wheel needs no ini file.

A new migration is a file in migrations/versions/ and a new SCHEMA_VERSION in schema.py.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from omicard_relay.mail import StoreError
from omicard_relay.store.engine import Store

__all__ = ["head", "upgrade"]


def upgrade(store: Store) -> None:
    """Bring the database to the newest version; a new one gets its tables. Raises StoreError."""
    config = _config()
    try:
        with store.write() as tx:
            config.attributes["connection"] = tx
            command.upgrade(config, "head")
    except CommandError as error:  # a version that this program does not have
        raise StoreError(
            f"{store.shown}: cannot be upgraded ({error}); a newer program made it, so use that one."
        ) from None


def head() -> str:
    """The newest migration's name."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config
