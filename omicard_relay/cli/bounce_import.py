"""`bounce import PATH…`: mails of a maildir, an mbox, plain files or an IMAP mailbox into the store.

Killed or stopped at any moment it goes on where it was when it is started again; `--again` reads all anew, and what the store
has is then only looked at. A mail or a source that cannot be read gives one line on standard error, the rest goes on, and
the exit status is 1 in the end.
"""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from omicard_relay.cli.context import open_configured_store, print_jsonl, print_table, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.mail import RelayError, StoreError, one_line, printable
from omicard_relay.services.importfaults import Fault, MailFault, SourceError

if TYPE_CHECKING:
    from omicard_relay.services.importing import Imported, Importer
    from omicard_relay.services.mailfolders import MailSource
    from omicard_relay.store import Store
    from omicard_relay.tables.settings import Settings

__all__ = ["command"]

#: Seconds of work after which a terminal is shown how far it is, and between two tellings.
_PROGRESS_AFTER, _PROGRESS_EVERY = 1.0, 0.2
_PASSWORD_VARIABLE = "OMICARD_RELAY_IMAP_PASSWORD"  # noqa: S105  the name of it, not itself

Row = dict[str, str | bool | None]

_CHINESE: dict[Fault | MailFault, str] = {
    Fault.NOT_THERE: "{name}：沒有這個檔案或資料夾；請確認路徑。",
    Fault.CLOSED: "{name}：無法讀取（{why}）；請檢查權限，或改以可讀取的使用者執行。",
    Fault.IS_A_FILE: "{name}：是檔案，而 maildir 是資料夾；請勿加 --format。",
    Fault.IS_A_FOLDER: "{name}：是資料夾，而 mbox 是檔案；請勿加 --format。",
    Fault.NO_MAILS: "{name}：其中沒有 maildir，也沒有 .eml 檔案；`--recursive` 會搜尋子資料夾，`--format files` 則取所有檔案。",
    Fault.NO_URL: "{name}：不是 imaps://user@mail.example.com/INBOX 形式的位址。",
    Fault.URL_CUT_SHORT: "{name}：缺少使用者或主機；請寫成 imaps://user@mail.example.com/INBOX。",
    Fault.URL_TELLS_TOO_MUCH: "密碼不可寫在 URL 中；請用 --password-file 或 $OMICARD_RELAY_IMAP_PASSWORD。",
    Fault.NO_LIBRARY: "IMAP 所需的程式庫尚未安裝；請以本程式的 pip 執行 `pip install 'omicard-relay[imap]'`。",
    Fault.NO_TLS: "{name}：伺服器不支援 STARTTLS，而密碼不可明文傳送；請改用 imaps://。",
    Fault.NOT_REACHED: "{name}：無法連線（{why}）；請檢查主機、連接埠與網路。",
    Fault.NOT_LET_IN: "{name}：伺服器拒絕此使用者或密碼（{why}）。",
    Fault.NOT_OPENED: "{name}：伺服器無法開啟此信箱（{why}）；請檢查主機之後的信箱名稱。",
    Fault.BROKEN_OFF: "{name}：{why}；請重新執行，將由中斷處繼續。",
    MailFault.NO_FILE: "不是檔案",
    MailFault.NO_MAIL: "其中沒有任何郵件",
    MailFault.NO_CONTENT: "伺服器未提供其內容",
}

register(
    {
        **{f"import-{fault.name}": (fault.value, chinese) for fault, chinese in _CHINESE.items()},
        "import-unreadable": ("{name}: cannot be imported: {why}", "{name}：無法匯入：{why}"),
        "import-progress": (
            "{source}: {percent:3.0f} %, {mails} mails, {rate:.0f}/s",
            "{source}：{percent:3.0f} %，{mails} 封，每秒 {rate:.0f} 封",
        ),
        "import-kind": ("kind", "類型"),
        "import-mails": ("mails", "封數"),
        "import-known": ("in the store before", "資料庫中已有"),
        "import-failed": ("failed", "失敗"),
        "import-nothing": ("nothing new", "沒有新郵件"),
        "import-go-on": (
            "stopped; start it again: it goes on where it was",
            "已停止；請重新執行，將由中斷處繼續",
        ),
        "import-waiting": (
            "{count} mails of people wait to be handed on; `serve ingest` goes on trying",
            "{count} 封真人來信等待轉交；`serve ingest` 會繼續嘗試",
        ),
        "import-no-password": (
            "the mailbox needs a password: --password-file FILE, or $OMICARD_RELAY_IMAP_PASSWORD",
            "此信箱需要密碼：請用 --password-file FILE 或 $OMICARD_RELAY_IMAP_PASSWORD",
        ),
        "import-password-file": (
            "{file}: cannot be read ({why}); name a file with the password in its first line",
            "{file}：無法讀取（{why}）；請指定第一行為密碼的檔案",
        ),
        "import-no-format": (
            "--format is for folders and files, not for IMAP",
            "--format 僅適用於資料夾與檔案，不適用於 IMAP",
        ),
    }
)


@click.command("import", short_help="Take in the mails of a maildir, an mbox, .eml files or an IMAP mailbox.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--format", "wanted", type=click.Choice(["maildir", "mbox", "files"]), help="Do not find out by itself.")
@click.option("--recursive", is_flag=True, help="Folders below a folder, too.")
@click.option("--recipient", metavar="ADDRESS", help="The envelope recipient of all these mails.")
@click.option("--again", is_flag=True, help="Read all anew, not only what has come since the last time.")
@click.option("--hand-on/--no-hand-on", default=True, show_default=True, help="Hand mails of people on.")
@click.option("--jsonl", is_flag=True, help="One JSON object a mail, for programs.")
@click.option("--password-file", type=click.Path(path_type=Path), help="IMAP: its first line is the password.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="IMAP: only mails that came on this day or later.")
@click.option("--mark-seen", is_flag=True, help="IMAP: mark what is stored as read.")
@click.option("--move-to", metavar="FOLDER", help="IMAP: move what is stored to this mailbox.")
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[str, ...],
    wanted: str | None,
    recursive: bool,
    recipient: str | None,
    again: bool,
    hand_on: bool,
    jsonl: bool,
    password_file: Path | None,
    since: datetime | None,
    mark_seen: bool,
    move_to: str | None,
) -> None:
    """Take in mails from a maildir, an mbox, a folder of .eml files, or imaps://USER@HOST/FOLDER.

    What was taken in before is left out.
    """
    from omicard_relay.services.importing import open_importer
    from omicard_relay.store.writer import Writer

    imap = {"since": since, "mark_seen": mark_seen, "move_to": move_to}
    if wanted and any(map(_is_imap, paths)):
        raise click.UsageError(say("import-no-format"))
    _check_urls(paths)
    password = _password(password_file) if any(map(_is_imap, paths)) else ""
    settings = settings_of(ctx)
    store = open_configured_store(settings)
    writer = Writer(store)
    telling = _Telling()
    interrupted = _note_interrupt()
    try:
        importer = open_importer(settings, store, writer, recipient=recipient, hand_on=hand_on)

        def rows() -> Iterator["Imported"]:
            for path in paths:
                try:
                    if _is_imap(path):
                        sources = [_mailbox(path, store, settings, password, imap)]
                    else:
                        sources = _folders(path, store, settings, wanted, recursive)
                    for source in sources:
                        for done in telling.told(importer, source, again):
                            yield done
                            if interrupted:
                                raise KeyboardInterrupt
                except StoreError:
                    raise
                except RelayError as error:
                    # Another path may be all right.
                    telling.lose(_sentence(error))

        if jsonl:
            print_jsonl(map(_row, rows()))
        else:
            for _ in rows():
                pass
    except (KeyboardInterrupt, StoreError) as error:
        telling.clear()
        click.echo(say("import-go-on"), err=True)
        if isinstance(error, StoreError):
            raise
        ctx.exit(1)
    finally:
        writer.close()
    if not jsonl:
        telling.summary()
    if hand_on:
        _hand_on(store, settings)
    store.close()
    ctx.exit(1 if telling.failed or telling.lost else 0)


def _note_interrupt() -> list[bool]:
    """A list that has something in it after Ctrl-C: where that comes within a callback of a library, its exception is lost."""
    came: list[bool] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(True)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    return came


class _Telling:
    """Counts what happens and, on a terminal, shows how far it is."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        #: Mails that the store had, and those that failed; and sources that could not be read, or not to their end.
        self.known = self.failed = self.lost = 0
        self._began = self._last = time.monotonic()
        self._written = False

    def told(self, importer: "Importer", source: "MailSource", again: bool) -> Iterator["Imported"]:
        """What the importer makes of a source."""
        for done in importer.run(source, again=again):
            if done.error is not None:
                self.failed += 1
                self._complain(say("import-unreadable", name=one_line(done.name), why=_why(done.error)))
            elif done.kind is None:
                self.known += 1
            else:
                self.kinds[done.kind] += 1
            self._show(source)
            yield done
        self.clear()

    def lose(self, text: str) -> None:
        """Say why a source cannot be read."""
        self.lost += 1
        self._complain(say("error", message=text))

    def clear(self) -> None:
        """Take the line of progress away."""
        if self._written:
            click.echo("\r\x1b[K", nl=False, err=True)
        self._written = False

    def summary(self) -> None:
        """The figures, for people."""
        rows: list[list[object]] = [[kind, count] for kind, count in sorted(self.kinds.items())]
        rows += [[say("import-known"), self.known]] if self.known else []
        rows += [[say("import-failed"), self.failed]] if self.failed else []
        if rows:
            print_table([say("import-kind"), say("import-mails")], rows)
        elif not self.lost:
            click.echo(say("import-nothing"))

    def _complain(self, text: str) -> None:
        self.clear()
        click.echo(printable(text), err=True)

    def _show(self, source: "MailSource") -> None:
        now = time.monotonic()
        if not sys.stderr.isatty() or now - self._began < _PROGRESS_AFTER or now - self._last < _PROGRESS_EVERY:
            return
        mails = self.kinds.total() + self.known
        text = say(
            "import-progress",
            source=one_line(source.key, 40),
            percent=100 * source.position / max(source.total, 1),
            mails=mails,
            rate=mails / (now - self._began),
        )
        click.echo(f"\r\x1b[K{text}", nl=False, err=True)
        self._last, self._written = now, True


def _row(done: "Imported") -> Row:
    return {
        "mail": done.name,
        "recipient": one_line(done.recipient) or None,
        "kind": done.kind.value if done.kind is not None else None,
        "new": done.kind is not None,
        "digest": done.digest or None,
        "error": done.error,
    }


def _sentence(error: RelayError) -> str:
    """What is wrong, in the reader's language."""
    return say(f"import-{error.fault.name}", **error.fields) if isinstance(error, SourceError) else str(error)


def _why(error: str) -> str:
    return say(f"import-{error.name}") if isinstance(error, MailFault) else one_line(error)


def _check_urls(paths: Iterable[str]) -> None:
    """What is wrong with an address is told before anything is opened."""
    from omicard_relay.services.imap_fetch import parse_imap_url

    for path in filter(_is_imap, paths):
        try:
            parse_imap_url(path)
        except SourceError as error:
            raise click.UsageError(printable(_sentence(error))) from None


def _is_imap(path: str) -> bool:
    return path.lower().startswith(("imap://", "imaps://"))


def _mailbox(
    url: str, store: "Store", settings: "Settings", password: str, options: Mapping[str, object]
) -> "MailSource":
    from omicard_relay.services.imap_fetch import ImapFolder, parse_imap_url

    since = options["since"]
    return ImapFolder(
        parse_imap_url(url),
        store,
        settings.ingest.size_limit,
        password=password,
        since=since.date() if isinstance(since, datetime) else None,
        mark_seen=bool(options["mark_seen"]),
        move_to=str(options["move_to"]) if options["move_to"] else None,
    )


def _folders(
    path: str, store: "Store", settings: "Settings", wanted: str | None, recursive: bool
) -> list["MailSource"]:
    from omicard_relay.services.importing import sources_at

    return sources_at(Path(path), store, settings.ingest.size_limit, wanted=wanted, recursive=recursive)


def _password(file: Path | None) -> str:
    """The first line of the file, or of the environment's variable."""
    if file is None:
        found = os.environ.get(_PASSWORD_VARIABLE, "")
    else:
        try:
            found = file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            raise RelayError(say("import-password-file", file=one_line(str(file), 400), why=why)) from None
    if not found:
        raise click.UsageError(say("import-no-password"))
    return found


def _hand_on(store: "Store", settings: "Settings") -> None:
    """Hand on what waits now; what cannot be is told, and waits on."""
    from omicard_relay.services.handing_on import HandOn
    from omicard_relay.store import answers

    HandOn(store, settings).run()
    with store.read() as tx:
        waiting = answers.count_waiting(tx)
    if waiting:
        click.echo(say("import-waiting", count=waiting), err=True)
