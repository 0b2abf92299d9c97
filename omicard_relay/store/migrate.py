"""Alembic, run by ourselves: its configuration is this module, so that the wheel needs no ini file.

A new migration is a file in migrations/versions/ and a new SCHEMA_VERSION in schema.py.
"""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util.exc import CommandError

from omicard_relay.mail import StoreError
from omicard_relay.store.engine import Store

__all__ = ["head", "upgrade"]


def upgrade(store: Store, *, on_step: Callable[[str, int, int], None] = lambda name, number, count: None) -> None:
    """Bring the database to the newest version in one transaction; a new one gets its tables. Raises StoreError.

    `on_step` is told each migration's name, its number from 1 on, and how many there are, before it begins.
    """
    config = _config()
    try:
        with store.write() as tx:
            steps = _steps(config, MigrationContext.configure(tx).get_current_revision())
            begun = 0

            def begin_next(**_: object) -> None:
                nonlocal begun
                if begun < len(steps):
                    begun += 1
                    on_step(steps[begun - 1], begun, len(steps))

            begin_next()
            config.attributes |= {"connection": tx, "on_version_apply": begin_next}
            command.upgrade(config, "head")
    except CommandError as error:  # a version that this program does not have
        raise StoreError(
            f"{store.shown}: cannot be upgraded ({error}); a newer program made it, so use that one."
        ) from None


def head() -> str:
    """The newest migration's name."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _steps(config: Config, current: str | None) -> list[str]:
    """The migrations that follow the current one, in their order; none where that is not known, which `upgrade` tells."""
    script = ScriptDirectory.from_config(config)
    try:
        following = list(script.iterate_revisions("head", current or "base"))
    except RevisionError:
        return []
    return [step.revision for step in reversed(following) if step.revision != current]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config
