"""`rules export`, `import`, `keygen` and `packs`: rules carried from site to site as one signed file.

An imported pack lies between the shipped rules and the site's own. It is taken only from a key that is trusted, never in an
older version than the one that is there, and only when all its examples and everybody else's come out right.
"""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click

from omicard_relay.classify.check import Flip
from omicard_relay.cli.context import print_jsonl, print_table, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.cli.rules_findings import flip_line, print_findings, working
from omicard_relay.mail import RelayError, one_line, printable
from omicard_relay.services.keyfiles import make_pack_key, read_pack_key
from omicard_relay.services.packkeys import public_pem, read_public_key, trust, trusted_keys
from omicard_relay.services.rulefiles import site_lock, write_whole
from omicard_relay.services.rulepacks import (
    PackChange,
    collect_files,
    export_findings,
    install,
    installed_packs,
    prepare_import,
    read_pack,
    remove_pack,
)
from omicard_relay.signing.rule_pack import fingerprint, pack_name, seal_pack
from omicard_relay.tables.active import released_number, site_folder
from omicard_relay.tables.settings import Settings

__all__ = ["export_command", "import_command", "keygen_command", "packs_command"]

register(
    {
        "pack-key-made": (
            "The private key is in {file}; keep it to yourself. Its fingerprint is {fingerprint}. The public key, to hand out:",
            "私鑰存於 {file}，請妥善保管。指紋為 {fingerprint}。以下是可公開的公鑰：",
        ),
        "pack-bad-name": (
            "`{name}` cannot name a pack; use lower-case letters, digits and dashes, 64 at most",
            "`{name}` 不能作為規則包名稱；請用小寫字母、數字與連字號，最多 64 字",
        ),
        "pack-nothing": (
            "the site has no rules of its own to export; `rules add` writes one, --all takes the shipped ones, too",
            "沒有自訂規則可匯出；可用 `rules add` 新增，或以 --all 一併匯出內建規則",
        ),
        "pack-not-fit": ("the rules are not fit to be exported:", "規則尚不適合匯出："),
        "pack-exported": (
            "pack {name}, version {version}, {files} files, is written to {path}; signed by {fingerprint}",
            "規則包 {name} 第 {version} 版（{files} 個檔案）已寫入 {path}；簽署金鑰 {fingerprint}",
        ),
        "pack-same": (
            "pack {name} is installed in this version {version} already; nothing was changed",
            "規則包 {name} 第 {version} 版已安裝，未變更",
        ),
        "pack-checking": ("judging the examples of all rules", "正在判讀所有規則的範例"),
        "pack-refused": (
            "pack {name} is refused, and the old set stays. The reasons:",
            "規則包 {name} 遭拒，維持原有規則。原因：",
        ),
        "pack-would": (
            "pack {name}, version {version}, {rules} rules, would be taken in; nothing was changed",
            "將匯入規則包 {name} 第 {version} 版（{rules} 條規則）；未變更",
        ),
        "pack-imported": (
            "pack {name}, version {version}, {rules} rules, is in the working copy now (before: {before})",
            "規則包 {name} 第 {version} 版（{rules} 條規則）已納入工作副本（先前：{before}）",
        ),
        "pack-before-none": ("none", "無"),
        "pack-before": ("version {version}", "第 {version} 版"),
        "pack-changes": (
            "{count} examples of other rules are judged otherwise with it, none of them wrongly:",
            "有 {count} 則其他規則的範例判讀改變，皆仍符合預期：",
        ),
        "pack-trusted": ("the key {fingerprint} is trusted from now on: {path}", "自此信任金鑰 {fingerprint}：{path}"),
        "pack-publish": (
            "Next: `omicard-relay rules diff`, then `omicard-relay rules publish`. "
            "To undo: omicard-relay rules packs remove {name}",
            "接著請執行 `omicard-relay rules diff`，再 `omicard-relay rules publish`。"
            "復原：omicard-relay rules packs remove {name}",
        ),
        "pack-in-force": (
            "There is no release yet: commands read the working copy itself. To undo: omicard-relay rules packs remove {name}",
            "尚無發行版：指令直接讀取工作副本。復原：omicard-relay rules packs remove {name}",
        ),
        "pack-name": ("pack", "規則包"),
        "pack-version": ("version", "版本"),
        "pack-created": ("made", "製作時間"),
        "pack-signer": ("signed by", "簽署金鑰"),
        "pack-trust": ("trusted", "受信任"),
        "pack-state": ("files", "檔案"),
        "pack-intact": ("as signed", "未更動"),
        "pack-changed": ("CHANGED by hand", "遭人更動"),
        "pack-yes": ("yes", "是"),
        "pack-no": ("no", "否"),
        "pack-none": ("no pack is imported", "尚未匯入任何規則包"),
        "pack-absent": (
            "there is no imported pack `{name}`; `omicard-relay rules packs` shows which there are",
            "沒有已匯入的規則包 `{name}`；可用 `omicard-relay rules packs` 查看",
        ),
        "pack-removed": (
            "pack {name} is out of the working copy; to undo, import its file again",
            "規則包 {name} 已自工作副本移除；復原請重新匯入其檔案",
        ),
    }
)  # fmt: skip

_file = click.Path(path_type=Path, dir_okay=False)


@click.command("keygen")
@click.argument("file", type=_file)
def keygen_command(file: Path) -> None:
    """Make a key (Ed25519) that signs packs: the private one into FILE, the public one to standard output."""
    key = make_pack_key(file).public_key().public_bytes_raw()
    click.echo(say("pack-key-made", file=printable(str(file)), fingerprint=fingerprint(key)), err=True)
    click.echo(public_pem(key), nl=False)


@click.command("export")
@click.argument("file", type=_file)
@click.option("--name", required=True, help="The pack's name: lower-case letters, digits, dashes.")
@click.option(
    "--version", type=click.IntRange(1, 2**53 - 1), required=True, help="A later version has a higher number."
)
@click.option("--key", "key_file", type=_file, required=True, help="The private key (`rules keygen`).")
@click.option(
    "--site", "everything", flag_value=False, default=False, type=bool, help="The site's own rules (default)."
)
@click.option(
    "--all", "everything", flag_value=True, type=bool, help="All rules of the working copy: shipped, packs, site."
)
@click.pass_context
def export_command(ctx: click.Context, file: Path, name: str, version: int, key_file: Path, everything: bool) -> None:
    """Write rules of the working copy into one signed file that other sites can import."""
    if not pack_name(name):
        raise RelayError(say("pack-bad-name", name=one_line(name, 80)))
    key = read_pack_key(key_file)
    folder = site_folder(settings_of(ctx))
    files = collect_files(folder, everything=everything)
    if not any(one.startswith("rules/") for one in files):
        raise RelayError(say("pack-nothing"))
    with working(say("pack-checking")):
        faults = export_findings(folder, everything=everything)
    if faults:
        click.echo(say("error", message=say("pack-not-fit")), err=True)
        print_findings(faults, err=True)
        ctx.exit(1)
    octets = seal_pack(name=name, version=version, created=datetime.now(UTC), files=files, key=key)
    write_whole(file, octets.decode("utf-8"))
    signer = fingerprint(key.public_key().public_bytes_raw())
    path = printable(str(file))
    click.echo(say("pack-exported", name=name, version=version, files=len(files), path=path, fingerprint=signer))


@click.command("import")
@click.argument("file", type=_file)
@click.option("--key", "key_files", type=_file, multiple=True, help="A public key (PEM) that this import trusts.")
@click.option("--trust", "remember", is_flag=True, help="Trust the key that signed from now on; needs --key.")
@click.option("--dry-run", is_flag=True, help="Check and show, change nothing.")
@click.pass_context
def import_command(ctx: click.Context, file: Path, key_files: tuple[Path, ...], remember: bool, dry_run: bool) -> None:
    """Take a signed pack into the working copy; refused whole when its signature, version or an example is wrong."""
    if remember and not key_files:
        raise click.UsageError("--trust needs --key: the key that came by another way than the pack.")
    settings = settings_of(ctx)
    folder = site_folder(settings)
    keys = {read_public_key(path): path for path in key_files}
    pack = read_pack(file)
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(site_lock(folder))
        with working(say("pack-checking")):
            change = prepare_import(folder, pack, keys)
        if change.refusals or change.breaks:
            _refuse(change)
            ctx.exit(1)
        if not dry_run and not change.is_same:
            install(folder, pack)
        if not dry_run and remember:
            path = trust(folder, pack.public_key)
            click.echo(say("pack-trusted", fingerprint=fingerprint(pack.public_key), path=printable(str(path))))
    print_findings(change.findings, err=True)
    _tell(settings, change, dry_run=dry_run)


@click.group("packs", invoke_without_command=True)
@click.option("--jsonl", is_flag=True, help="One JSON object a pack, for programs.")
@click.pass_context
def packs_command(ctx: click.Context, jsonl: bool) -> None:
    """The imported packs: version, who signed, whether the files are as they were signed."""
    if ctx.invoked_subcommand is not None:
        return
    folder = site_folder(settings_of(ctx))
    packs = installed_packs(folder)
    trusted = trusted_keys(folder)
    if jsonl:
        print_jsonl(
            {
                "name": pack.name,
                "version": pack.version,
                "created": pack.created,
                "digest": pack.digest,
                "signed_by": fingerprint(pack.key),
                "trusted": pack.key in trusted,
                "intact": pack.intact,
            }
            for pack in packs
        )
        return
    if not packs:
        click.echo(say("pack-none"), err=True)
        return
    columns = [say(f"pack-{one}") for one in ("name", "version", "created", "signer", "trust", "state")]
    print_table(
        columns,
        (
            (
                pack.name,
                pack.version,
                pack.created,
                fingerprint(pack.key),
                say("pack-yes") if pack.key in trusted else say("pack-no"),
                say("pack-intact") if pack.intact else say("pack-changed"),
            )
            for pack in packs
        ),
        whole=(0,),
    )


@packs_command.command("remove")
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Take an imported pack out of the working copy."""
    folder = site_folder(settings_of(ctx))
    done = False
    if pack_name(name) and folder.is_dir():
        with site_lock(folder):
            done = remove_pack(folder, name)
    if not done:
        raise RelayError(say("pack-absent", name=one_line(name, 80)))
    click.echo(say("pack-removed", name=name))


def _refuse(change: PackChange) -> None:
    click.echo(say("error", message=say("pack-refused", name=change.pack.name)), err=True)
    print_findings(change.refusals, err=True)
    _print_flips(change.breaks)


def _print_flips(flips: tuple[Flip, ...]) -> None:
    for flip in flips:
        click.echo(f"  {flip_line(flip)}", err=True)


def _tell(settings: Settings, change: PackChange, *, dry_run: bool) -> None:
    pack = change.pack
    if change.is_same:
        click.echo(say("pack-same", name=pack.name, version=pack.version))
        return
    if change.flips:
        click.echo(say("pack-changes", count=len(change.flips)), err=True)
        _print_flips(change.flips)
    if dry_run:
        click.echo(say("pack-would", name=pack.name, version=pack.version, rules=change.rules))
        return
    before = say("pack-before-none")
    if change.installed is not None:
        before = say("pack-before", version=change.installed.version)
    click.echo(say("pack-imported", name=pack.name, version=pack.version, rules=change.rules, before=before))
    key = "pack-publish" if released_number(settings) is not None else "pack-in-force"
    click.echo(say(key, name=pack.name))
