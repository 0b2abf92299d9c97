"""`relay password USER`: the line for `relay.auth_file`; the password is asked for, or read from standard input."""

import sys

import click

from omicard_relay.cli.language import register, say
from omicard_relay.services.relay.logins import make_line

__all__ = ["command"]

register(
    {
        "relay-password-ask": ("Password of {user}", "{user} 的密碼"),
        "relay-password-again": ("Once more", "再輸入一次"),
        "relay-password-next": (
            "Add this line to the file that `relay.auth_file` names, then restart the relay:",
            "請將這一行加入 `relay.auth_file` 所指定的檔案，然後重新啟動 relay：",
        ),
    }
)


@click.group()
def command() -> None:
    """The relay's own affairs."""


@command.command()
@click.argument("user")
def password(user: str) -> None:
    """Print the line of `relay.auth_file` that lets USER log in."""
    if sys.stdin.isatty():
        secret = click.prompt(
            say("relay-password-ask", user=user),
            hide_input=True,
            confirmation_prompt=say("relay-password-again"),
            err=True,
        )
    else:
        secret = sys.stdin.readline().rstrip("\r\n")
    line = make_line(user, secret)
    click.echo(say("relay-password-next"), err=True)
    click.echo(line)
