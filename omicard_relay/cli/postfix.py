"""`omicard-relay postfix show|install|check|remove`: attach to a Postfix that is there, and let go of it again.

Not here: what the snippets are (tables/snippets.py, `postfix/`), what is done with them (services/attach.py).
Known limits: Postfix is reloaded only with --reload, and the systemd units are copied by hand (docs/attaching.md).
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from omicard_relay.cli import postfix_texts  # noqa: F401 (registers the texts)
from omicard_relay.cli.context import print_jsonl, print_table, settings_of
from omicard_relay.cli.language import current_language, say
from omicard_relay.mail import one_line, printable
from omicard_relay.services.attach import Applied, install, remove
from omicard_relay.services.attachcheck import Finding, State, check
from omicard_relay.services.attachrecord import Change, Target, our_folder, read_record
from omicard_relay.services.postconf import Postconf, PostfixError, open_postconf
from omicard_relay.tables.snippets import (
    BOUNCE_SNIPPETS,
    SNIPPET_NAMES,
    STEERING_SNIPPET,
    Deployment,
    Snippet,
    filled_snippet,
    with_required,
)
from omicard_relay.tables.toml import shipped

__all__ = ["command"]

_USER = "omicard-relay"
#: Characters of a value that are shown where it is not compared; `show` has the whole.
_LONGEST = 160

_folder_option = click.option(
    "--config-dir",
    type=click.Path(path_type=Path),
    default=Path("/etc/postfix"),
    show_default=True,
    help="Postfix's configuration folder.",
)
_with_option = click.option(
    "--with",
    "names",
    multiple=True,
    type=click.Choice(SNIPPET_NAMES),
    metavar="NAME",
    help="A snippet; may be given again.",
)
_dry_option = click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
_reload_option = click.option("--reload", "reload_after", is_flag=True, help="Reload Postfix afterwards.")
_user_option = click.option(
    "--user", help=f"The user that the bounce pipe runs as (else the installed one, or {_USER})."
)


@click.group(name="postfix")
def command() -> None:
    """Attach to an existing Postfix: as content filter, and for its bounces."""


@command.command(name="show")
@_folder_option
@_with_option
@_user_option
@click.pass_context
def _show(ctx: click.Context, config_dir: Path, names: tuple[str, ...], user: str | None) -> None:
    """Print the snippets, filled in, to paste."""
    settings = settings_of(ctx)
    deployment = _deployment(ctx, config_dir, user or _USER)
    for name in names or SNIPPET_NAMES:
        if not names and name in BOUNCE_SNIPPETS and not settings.return_path.domain:
            click.echo(f"### {name}: {say('postfix.no-domain')}\n")
            continue
        if not names and name == STEERING_SNIPPET and not settings.steer.ip:
            click.echo(f"### {name}: {say('postfix.no-ip')}\n")
            continue
        _print_snippet(filled_snippet(name, settings, deployment), deployment)
    click.echo(f"### {say('postfix.units', path=shipped('postfix', 'systemd'))}")


@command.command(name="install")
@_folder_option
@_with_option
@_user_option
@click.option("--replace", "replace_foreign", is_flag=True, help="Put our value where somebody else's stands.")
@_dry_option
@_reload_option
@click.pass_context
def _install(
    ctx: click.Context,
    config_dir: Path,
    names: tuple[str, ...],
    user: str | None,
    replace_foreign: bool,
    dry_run: bool,
    reload_after: bool,
) -> None:
    """Bring snippets in. Without --with: bring what is installed up to date."""
    postconf = open_postconf(config_dir)
    record = read_record(postconf.folder)
    names = names or record.snippets
    if not names:
        raise click.UsageError(say("postfix.name-one", names=", ".join(SNIPPET_NAMES)))
    settings = settings_of(ctx)
    deployment = _deployment(ctx, postconf.folder, user or record.user or _USER)
    snippets = with_required(names, settings, deployment)
    applied = install(
        postconf, snippets, deployment, now=datetime.now(UTC), replace_foreign=replace_foreign, dry_run=dry_run
    )
    if not applied.changes:
        click.echo(say("postfix.nothing", folder=postconf.folder))
        return
    _print_applied(applied, dry_run=dry_run)
    if dry_run:
        return
    chosen = "".join(f" --with {name}" for name in dict.fromkeys(change.snippet for change in applied.changes))
    click.echo(say("postfix.undo", folder=postconf.folder, chosen=chosen, backup=applied.backup))
    _reload(postconf, reload_after)


@command.command(name="remove")
@_folder_option
@_with_option
@_dry_option
@_reload_option
@click.pass_context
def _remove(ctx: click.Context, config_dir: Path, names: tuple[str, ...], dry_run: bool, reload_after: bool) -> None:
    """Take snippets out, and put back what stood before. Without --with: all of them."""
    postconf = open_postconf(config_dir)
    record = read_record(postconf.folder)
    if not set(names or record.snippets) & set(record.snippets):
        click.echo(say("postfix.not-installed", folder=postconf.folder))
        return
    applied = remove(postconf, names, now=datetime.now(UTC), dry_run=dry_run)
    _print_applied(applied, dry_run=dry_run)
    if dry_run:
        return
    click.echo(say("postfix.removed", backup=applied.backup))
    _reload(postconf, reload_after)
    if any(change.snippet == "content-filter" and change.target is Target.MASTER for change in applied.changes):
        # cleanup(8) wrote the filter into each mail that it queued.
        click.echo(say("postfix.requeue", folder=postconf.folder))


@command.command(name="check")
@_folder_option
@_with_option
@_user_option
@click.option("--jsonl", is_flag=True, help="One JSON object a line.")
@click.pass_context
def _check(ctx: click.Context, config_dir: Path, names: tuple[str, ...], user: str | None, jsonl: bool) -> None:
    """Compare what stands there with what should. Without --with: what is installed. Exit 1 when something is wrong."""
    postconf = open_postconf(config_dir)
    record = read_record(postconf.folder)
    names = names or record.snippets
    if not names:
        raise PostfixError(say("postfix.check-what", folder=postconf.folder, names=", ".join(SNIPPET_NAMES)))
    settings = settings_of(ctx)
    snippets = with_required(names, settings, _deployment(ctx, postconf.folder, user or record.user or _USER))
    findings = check(postconf, snippets, settings)
    bad = [finding for finding in findings if finding.state not in (State.OK, State.NOTE)]
    if jsonl:
        print_jsonl(
            {"snippet": f.snippet, "about": f.about, "state": f.state.value, "found": f.found, "wanted": f.wanted}
            for f in findings
        )
    else:
        print_table(
            [say("postfix.column-state"), say("postfix.column-about"), say("postfix.column-detail")],
            (
                (
                    say(f"postfix.state-{f.state.value}"),
                    f"{f.snippet}: {f.about}" if f.snippet else say(f"postfix.fact-{f.about}"),
                    _detail(f),
                )
                for f in findings
            ),
        )
        click.echo(say("postfix.check-bad", number=len(bad)) if bad else say("postfix.check-good"))
        if any(finding.state in (State.MISSING, State.DIFFERS) for finding in bad):
            click.echo(say("postfix.check-values"))
    if bad:
        sys.exit(1)


def _deployment(ctx: click.Context, folder: Path, user: str) -> Deployment:
    """How Postfix starts us: the very program that runs now, with the same configuration file."""
    program = Path(sys.executable).with_name("omicard-relay")
    start = (str(program),) if program.is_file() else (sys.executable, "-m", "omicard_relay")
    config: Path | None = ctx.find_root().obj
    options = () if config is None else ("--config", str(config.absolute()))
    return Deployment(folder=our_folder(folder.absolute()), user=user, command=(*start, *options))


def _print_snippet(snippet: Snippet, deployment: Deployment) -> None:
    summary = snippet.summary_zh_tw if current_language() == "zh-TW" else snippet.summary
    click.echo(f"### {snippet.name}: {summary}")
    click.echo(f"## main.cf\n{snippet.main_text}")
    for parameter in snippet.parameters:
        if parameter.join != "set":
            click.echo(f"# {say(f'postfix.join-{parameter.join.value}', name=parameter.name)}")
    click.echo(f"## master.cf\n{snippet.master_text}")
    for option in snippet.options:
        click.echo(f"# {say('postfix.option', command=option.commands[0], words=option.words)}")
    if snippet.our_table:
        click.echo(f"# {say('postfix.table', path=snippet.our_table)}")
    for file in snippet.files:
        path = deployment.folder / file.name
        if file.executable:
            click.echo(
                f"## {say('postfix.copy')}\ninstall -D -m 755 {shipped('postfix', snippet.name, file.name)} {path}\n"
            )
        else:
            click.echo(f"## {path}\n{file.text}")


def _print_applied(applied: Applied, *, dry_run: bool) -> None:
    click.echo(say("postfix.would" if dry_run else "postfix.did"))
    for change in applied.changes:
        click.echo(f"  {_shown(change)}")
    for change in applied.left:
        key = "postfix.left-file" if change.target is Target.FILE else "postfix.left"
        click.echo(f"  {say(key, target=change.target.value, name=printable(change.name))}")
    for line in applied.warnings:
        click.echo(say("postfix.warning", line=line))


def _shown(change: Change) -> str:
    """One change: what it was, what it is. Digests of files say nothing to people."""
    values = {"target": change.target.value, "name": printable(change.name)}
    if change.target is Target.FILE:
        return say("postfix.file-gone" if change.after is None else "postfix.file-new", **values)
    before, after = change.before, change.after
    if change.target is Target.MASTER:
        before, after = _apart(before or "", after or "")
    shown = one_line(before or "", _LONGEST) or say("postfix.not-set")
    if change.after is None:
        return say("postfix.change-gone", before=shown, **values)
    return say("postfix.change", before=shown, after=one_line(after or "", _LONGEST), **values)


def _detail(finding: Finding) -> str:
    found, wanted = finding.found, finding.wanted
    if finding.about.startswith("/"):
        # Digests of files say nothing to people.
        return ""
    if finding.about.startswith("master.cf ") and found:
        found, wanted = _apart(found, wanted)
    match finding.state:
        case State.OK:
            return one_line(found or wanted, 60)
        case State.MISSING:
            return say("postfix.detail-missing", wanted=one_line(wanted, _LONGEST))
        case State.WRONG if finding.about.startswith(("listening-", "pipe-")):
            # What was tried, and how it went.
            return one_line(f"{wanted}: {found}")
        case _:
            return say("postfix.detail-differs", found=one_line(found) or "-", wanted=one_line(wanted))


def _apart(one: str, other: str) -> tuple[str, str]:
    """Two master.cf entries, of each only the words that the other lacks; whole where one is empty, or where they are equal."""
    if not one or not other or one == other:
        return one, other
    words, others = one.split(), other.split()
    return (
        " ".join(word for word in words if word not in others) or "…",
        " ".join(word for word in others if word not in words) or "…",
    )


def _reload(postconf: Postconf, now: bool) -> None:
    if now:
        postconf.reload()
        click.echo(say("postfix.reloaded"))
    else:
        click.echo(say("postfix.reload-next", folder=postconf.folder))
