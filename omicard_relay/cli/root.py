"""The root command: options that hold for all, and the list of groups, each loaded only when it is called.

Loading late keeps `bounce ingest` light: Postfix starts it once for every bounce.
"""

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from omicard_relay import __version__
from omicard_relay.cli.language import choose_language, say
from omicard_relay.mail.clean import printable
from omicard_relay.mail.errors import RelayError

__all__ = ["main", "root"]

#: Command -> the module of this package that holds a click command of that name (dashes as underscores) under `command`.
COMMANDS = {
    "bounce": "bounce",
    "classify": "classify",
    "db": "db",
    "dkim": "dkim",
    "eval": "evaluate",
    "explain": "explain",
    "lists": "lists",
    "log": "log",
    "postfix": "postfix",
    "relay": "relay",
    "report": "report",
    "rules": "rules",
    "serve": "serve",
    "simulate": "simulate",
    "steer": "steer",
    "suppress": "suppress",
}


class _LateGroup(click.Group):
    """A group whose commands are modules, imported at call."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"omicard_relay.cli.{COMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="omicard-relay")
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file (else $OMICARD_RELAY_CONFIG).")
@click.option("--lang", type=click.Choice(["en", "zh-TW"]), help="Language of texts (else $LANG).")
@click.pass_context
def root(ctx: click.Context, config: Path | None, lang: str | None) -> None:
    """OMICARD Relay: clean lists, read replies, steer Postfix."""
    named = os.environ.get("OMICARD_RELAY_CONFIG")
    ctx.obj = config or (Path(named) if named else None)
    choose_language(lang)


#: The commands of `bounce`, which is loaded only when it is called.
_BOUNCES = frozenset({"import", "ingest", "parse"})
#: EX_TEMPFAIL of sysexits.h: Postfix's pipe(8) keeps the mail and tries again.
_TRY_AGAIN = 75


def main(arguments: list[str] | None = None) -> Any:
    """Run one command line. Exit 0 done, 1 a clear failure, 2 usage; for `bounce ingest`, which Postfix calls, 0 or 75."""
    words = sys.argv[1:] if arguments is None else arguments
    if _is_pipe(words):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: os._exit(_TRY_AGAIN))
    try:
        _run(words)
    except BaseException as error:
        # Whatever it is, a wrong option and a missing configuration among them: any other status would lose the mail.
        if _is_pipe(words) and not (isinstance(error, SystemExit) and error.code in (0, None)):
            os._exit(_TRY_AGAIN)
        raise


def _run(words: list[str]) -> None:
    try:
        root.main(args=words, prog_name="omicard-relay", standalone_mode=True)
    except RelayError as error:
        click.echo(say("error", message=printable(str(error))), err=True)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of a pipe (head, less) went away: nothing to say, and nobody to say it to.
        sys.stderr.close()
        sys.exit(0)
    except UnicodeEncodeError:
        # A name that no store can hold; what can be made readable, such as a reason, has been.
        click.echo(say("error", message=say("not-utf-8")), err=True)
        sys.exit(2)
    except OSError as error:
        # A full disk under the output, for example; our own files have errors of their own.
        click.echo(say("error", message=printable(str(error))), err=True)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  what is left in the buffer would fail once more at the end
        sys.exit(1)


def _is_pipe(words: list[str]) -> bool:
    """Whether Postfix is the caller: `bounce ingest`, whatever options stand before, between and behind, even wrong ones."""
    groups = [number for number, word in enumerate(words) if word in COMMANDS]
    if not groups or words[groups[0]] != "bounce":
        return False
    # A file may be called `ingest`, too: the first of the group's own commands is the one that is called.
    return next((word for word in words[groups[0] + 1 :] if word in _BOUNCES), None) == "ingest"
