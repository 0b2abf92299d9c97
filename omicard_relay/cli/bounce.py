"""`bounce`: reading bounce mails (`parse`) and taking them in (`ingest`, `import`); each loaded only when it is called.

Postfix starts `bounce ingest` once for every bounce: nothing that only `parse` needs may be imported for it.
"""

import importlib

import click

__all__ = ["command"]

#: Subcommand -> the module that holds it under `command`.
COMMANDS = {"import": "bounce_import", "ingest": "bounce_ingest", "parse": "bounce_parse"}


class _LateGroup(click.Group):
    """A group whose subcommands are modules, imported at call."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"omicard_relay.cli.{COMMANDS[cmd_name]}").command
        return found


@click.group("bounce", cls=_LateGroup)
def command() -> None:
    """Read bounce mails, take one in from Postfix, or many from a folder."""
