"""`rules`: how the rules are looked at, written, checked, released and shared; each subcommand is loaded when it is called.

A rule change goes this way: `add` or an editor writes into the site's own folder, `check` and `test` judge it, `diff`
shows what it would change, `publish` puts it in force. `import` and `export` carry rules from site to site.
"""

import importlib

import click

__all__ = ["command"]

#: Subcommand -> the module of this package that holds it under `<subcommand>_command`.
SUBCOMMANDS = {
    "add": "rules_add",
    "check": "rules_check",
    "checkout": "rules_history",
    "diff": "rules_release",
    "export": "rules_pack",
    "history": "rules_history",
    "import": "rules_pack",
    "keygen": "rules_pack",
    "list": "rules_show",
    "packs": "rules_pack",
    "publish": "rules_release",
    "rejudge": "rules_rejudge",
    "remove": "rules_add",
    "rollback": "rules_history",
    "show": "rules_show",
    "suggest": "rules_suggest",
    "test": "rules_check",
}


class _LateGroup(click.Group):
    """A group whose commands stand in modules, imported at call."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUBCOMMANDS:
            return None
        module = importlib.import_module(f"omicard_relay.cli.{SUBCOMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command


@click.group("rules", cls=_LateGroup, short_help="Look at, write, check, release and share the rules.")
def command() -> None:
    """Look at, write, check, release and share the rules that judge replies."""
