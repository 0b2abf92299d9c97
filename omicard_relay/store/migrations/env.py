"""Alembic's entry: runs the migrations on the connection that store/migrate.py hands over."""

from alembic import context

from omicard_relay.store.schema import metadata

given = context.config.attributes
context.configure(
    connection=given["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
    on_version_apply=given.get("on_version_apply"),
)
context.run_migrations()
