"""`steer export` and `steer import`: what steering learned, from site to site, without personal data."""

from datetime import UTC, datetime
from pathlib import Path

import click

from omicard_relay.cli.context import open_configured_store, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.cli.moments import who
from omicard_relay.mail import RelayError, one_line

__all__ = ["export_command", "import_command"]

register(
    {
        "counts-written": (
            "counts of {levels} providers and families written to {path}; no address and no domain of a person is in it",
            "已將 {levels} 個業者與類別的計數寫入 {path}；不含任何信箱或個人網域",
        ),
        "counts-there": (
            "{path}: is there already; name another file, or add --force",
            "{path}：檔案已存在；請指定其他檔名，或加上 --force",
        ),
        "counts-not-written": ("{path}: cannot be written ({error})", "{path}：無法寫入（{error}）"),
        "counts-taken": (
            "counts of {levels} providers and families taken; each steering service adds them within moments",
            "已匯入 {levels} 個業者與類別的計數；各重送服務將於片刻後採用",
        ),
        "counts-known": (
            "these very counts were imported before; nothing was changed",
            "相同的計數先前已匯入；未作任何變更",
        ),
    }
)


@click.command("export", short_help="Write what was learned to a file, without personal data.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the file.")
@click.pass_context
def export_command(ctx: click.Context, file: Path, force: bool) -> None:
    """Write the counts of what steering learned to FILE (`-`: standard output), as JSON."""
    from omicard_relay.services.steer_counts import counts_of

    content, levels = counts_of(open_configured_store(settings_of(ctx)))
    if str(file) == "-":
        click.echo(content.decode(), nl=False)
        return
    path = one_line(str(file))
    try:
        with file.open("wb" if force else "xb") as out:
            out.write(content)
    except FileExistsError:
        raise RelayError(say("counts-there", path=path)) from None
    except OSError as error:
        raise RelayError(say("counts-not-written", path=path, error=error.strerror)) from None
    click.echo(say("counts-written", levels=levels, path=path))


@click.command("import", short_help="Add what another site has learned.")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def import_command(ctx: click.Context, file: Path) -> None:
    """Add the counts in FILE, which `steer export` wrote, to what steering knows here."""
    from omicard_relay.services.steer_counts import take_counts

    is_new, levels = take_counts(open_configured_store(settings_of(ctx)), file, who=who(), now=datetime.now(UTC))
    click.echo(say("counts-taken", levels=levels) if is_new else say("counts-known"))
