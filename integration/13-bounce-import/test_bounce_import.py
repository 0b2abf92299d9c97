"""Folders that Postfix filled with real bounces are imported under kill -9; then the store agrees with the receivers' books."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from integration.bounces import doubled_or_lost, returning, stored_whole
from integration.imap_server import ImapServer, imap_installed
from lab.line import BOUNCE_DOMAIN, Line
from lab.submit import submit
from lab.waiting import assert_settles, wait_until

_EACH = 250
_USER = "nobody"


def test_folders_are_imported_under_kill_9(make_line: Callable[..., Line], monkeypatch: pytest.MonkeyPatch) -> None:
    if not imap_installed():
        pytest.skip("Dovecot is not installed; `scripts/setup` installs it.")
    line = make_line()
    line.stop_service("ingest")
    home = line.postfix.root / "home"
    home.mkdir()
    shutil.chown(home, _USER)
    whole = returning("import", 3 * _EACH)
    boxes = ("maildir/", "mbox", "imap/")
    parts = [replace(whole, recipients=whole.recipients[number::3]) for number in range(3)]
    for box, part in zip(boxes, parts, strict=True):
        _deliver_into(line, home, box)
        submit(part, line.submission())
        wait_until(lambda box=box: _count(home / box) == _EACH, f"Postfix has delivered into {box}", seconds=150)

    for number, box in enumerate(boxes[:2]):
        _import_with_kill(line, number * _EACH, str(home / box))
    with ImapServer(line.postfix.root / "dovecot", mails=home / "imap", user=_USER) as server:
        monkeypatch.setenv("OMICARD_RELAY_IMAP_PASSWORD", server.password)
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        _import_with_kill(line, 2 * _EACH, "--move-to", "Done", f"imaps://bounces@127.0.0.1:{server.tls_port}/INBOX")
        # Without TLS, on this machine: what was stored has been moved, and each of it is known.
        plain = f"imap://bounces@127.0.0.1:{server.port}"
        assert "nothing new" in line.omicard("bounce", "import", f"{plain}/INBOX")
        assert _figures(line.omicard("bounce", "import", f"{plain}/Done")) == {"in the store before": _EACH}

    assert_settles(line, whole)
    assert doubled_or_lost(line) == []
    assert stored_whole(line).total() == 3 * _EACH
    paths = [str(home / box) for box in boxes[:2]]
    assert "nothing new" in line.omicard("bounce", "import", *paths)
    assert _figures(line.omicard("bounce", "import", "--again", *paths)) == {"in the store before": 2 * _EACH}
    assert doubled_or_lost(line) == []
    log = line.postfix.log.read_text(errors="replace")
    assert log.count("status=sent (delivered to maildir)") == 2 * _EACH
    assert log.count("status=sent (delivered to mailbox)") == _EACH


def _deliver_into(line: Line, home: Path, box: str) -> None:
    """Let Postfix's virtual(8) put what comes to the return path into a box, instead of giving it to the ingester."""
    line.postfix.configure(
        {
            "transport_maps": f"inline:{{{{{BOUNCE_DOMAIN} = virtual:}}}}",
            # Else it is what the maps know, and `static` knows every domain.
            "virtual_mailbox_domains": "",
            "virtual_mailbox_base": str(home),
            "virtual_mailbox_maps": f"static:{box}",
            "virtual_uid_maps": "static:65534",
            "virtual_gid_maps": "static:65534",
            "virtual_minimum_uid": "1",
        }
    )
    line.postfix.reload()


def _import_with_kill(line: Line, before: int, *arguments: str) -> None:
    """Kill an import as soon as it has stored something; the next one brings the rest."""
    words = line.folder / "import.log"
    with words.open("wb") as output:
        importing = subprocess.Popen(line.command("bounce", "import", *arguments), stdout=output, stderr=output)
    for _ in _often(120):
        if stored_whole(line).total() > before or importing.poll() is not None:
            break
    importing.kill()
    importing.wait()
    partly = stored_whole(line).total() - before
    assert 0 < partly < _EACH, f"the kill did not hit the middle ({partly}): {words.read_text(errors='replace')}"
    line.omicard("bounce", "import", *arguments)
    assert stored_whole(line).total() == before + _EACH


def _often(seconds: float) -> Iterator[None]:
    """Many looks a second: once it has begun, an import is done within one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.005)


def _count(box: Path) -> int:
    if box.is_dir():
        return len(list((box / "new").glob("*")))
    return box.read_bytes().count(b"\nX-Original-To: ") if box.exists() else 0


def _figures(table: str) -> dict[str, int]:
    rows = [line.split("│") for line in table.splitlines() if "│" in line]
    return {name.strip(): int(count) for name, count in rows}
