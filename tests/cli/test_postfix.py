"""`omicard-relay postfix …` as a person calls it: words, exit status, and that nothing is half done."""

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from omicard_relay.cli.root import root
from omicard_relay.mail import RelayError
from omicard_relay.services.postconf import open_postconf
from tests.attaching import configuration, needs_postfix, no_waiting

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="Postfix's configuration is changed as root")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with no_waiting():
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    with configuration() as made:
        yield made


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "relay.toml"
    path.write_text('[return_path]\ndomain = "bounce.example.com"\n')
    return path


def call(*arguments: object, config: Path | None = None, lang: str = "en") -> Result:
    """Run one command line as `main` does: a RelayError is exit 1 and one sentence."""
    before = ["--lang", lang, *(["--config", str(config)] if config else [])]
    return CliRunner(env={"COLUMNS": "200"}).invoke(root, [*before, "postfix", *map(str, arguments)])


@pytest.mark.parametrize("lang", ["en", "zh-TW"])
def test_show_needs_no_postfix_and_prints_what_can_be_pasted(config: Path, lang: str) -> None:
    done = call("show", "--config-dir", "/no/such/folder", config=config, lang=lang)
    assert done.exit_code == 0, done.output
    for line in (
        "content_filter = omi:[127.0.0.1]:10025",
        "127.0.0.1:10026 inet n - n - - smtpd",
        "relay_domains = bounce.example.com",
        "transport_maps = regexp:/no/such/folder/omicard-relay/bounce-pipe.regexp",
        "/no/such/folder/omicard-relay/omicard-bounce",
        "omi-lmtp unix - - n - 5 lmtp",
    ):
        assert line in done.output
    assert ("清單" in done.output) == (lang == "zh-TW")


def test_show_leaves_out_what_has_no_domain_and_says_so() -> None:
    done = call("show")
    assert done.exit_code == 0
    assert "bounce-pipe: left out, `return_path.domain` is not set" in done.output
    assert "{{" not in done.output


@needs_postfix
def test_what_is_shown_is_what_postfix_reads(config: Path) -> None:
    """The fragments, appended as they are printed, give the entries that `check` wants."""
    with configuration() as folder:
        done = call("show", "--config-dir", folder, "--with", "content-filter", "--with", "reinject", config=config)
        for name in ("main.cf", "master.cf"):
            with (folder / name).open("a") as file:
                file.write("\n".join(_fragments(done.output, name)) + "\n")
        checked = call(
            "check", "--config-dir", folder, "--with", "content-filter", "--with", "reinject", "--jsonl", config=config
        )
        rows = [json.loads(line) for line in checked.stdout.splitlines()]
        wrong = [row["about"] for row in rows if row["snippet"] and row["state"] != "ok"]
        assert wrong == []


def _fragments(shown: str, name: str) -> list[str]:
    """What stands below each `## NAME` of `show`, up to the next heading."""
    found = []
    for part in shown.split(f"## {name}\n")[1:]:
        lines = part.splitlines()
        end = next((number for number, line in enumerate(lines) if line.startswith("##")), len(lines))
        found.append("\n".join(lines[:end]))
    return found


@needs_postfix
@as_root
def test_install_says_what_changed_how_to_undo_and_what_is_next(folder: Path, config: Path) -> None:
    done = call("install", "--config-dir", folder, "--with", "content-filter", config=config)
    assert done.exit_code == 0, done.output
    assert "main.cf: content_filter\n    was (not set)\n    is  omi:[127.0.0.1]:10025" in done.output
    assert "omicard-relay postfix remove --config-dir" in done.output
    assert f"postfix -c {folder} reload" in done.output
    again = call("install", "--config-dir", folder, "--with", "content-filter", config=config)
    assert again.exit_code == 0
    assert "nothing was changed" in again.output
    without = call("install", "--config-dir", folder, config=config)
    assert "nothing was changed" in without.output


@needs_postfix
@as_root
def test_remove_gives_everything_back_and_then_has_nothing_to_do(folder: Path, config: Path) -> None:
    before = (folder / "main.cf").read_text(), (folder / "master.cf").read_text()
    call("install", "--config-dir", folder, "--with", "bounce-pipe", "--user", "nobody", config=config)
    assert "relay_domains" in (folder / "main.cf").read_text()
    planned = call("remove", "--config-dir", folder, "--dry-run", config=config)
    assert "Would change" in planned.output
    assert "relay_domains" in (folder / "main.cf").read_text()
    done = call("remove", "--config-dir", folder, config=config)
    assert done.exit_code == 0, done.output
    assert ((folder / "main.cf").read_text(), (folder / "master.cf").read_text()) == before
    again = call("remove", "--config-dir", folder, config=config)
    assert (again.exit_code, "nothing of this is installed" in again.output) == (0, True)


@needs_postfix
def test_dry_run_changes_nothing(folder: Path, config: Path) -> None:
    before = sorted((path.name, path.stat().st_size) for path in folder.iterdir())
    done = call("install", "--config-dir", folder, "--with", "content-filter", "--dry-run", config=config)
    assert done.exit_code == 0
    assert "Would change" in done.output
    assert "reload" not in done.output
    assert sorted((path.name, path.stat().st_size) for path in folder.iterdir()) == before


@needs_postfix
@as_root
def test_relative_folder_works_and_is_shown_absolute(
    folder: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    done = call("install", "--config-dir", "etc", "--with", "bounce-pipe", "--user", "nobody", config=config)
    assert done.exit_code == 0, done.output
    assert f"postfix -c {folder} reload" in done.output
    assert open_postconf(folder).explicit()["transport_maps"] == f"regexp:{folder}/omicard-relay/bounce-pipe.regexp"


@needs_postfix
@as_root
def test_pipe_gets_the_same_configuration_file(folder: Path, config: Path) -> None:
    call("install", "--config-dir", folder, "--with", "bounce-pipe", "--user", "nobody", config=config)
    entry = open_postconf(folder).services()["omi-bounce/unix"]
    assert f" --config {config} bounce ingest --sender=${{sender}} " in entry


@needs_postfix
@as_root
def test_check_is_exit_1_until_all_is_well(folder: Path, config: Path) -> None:
    nothing = call("check", "--config-dir", folder, config=config)
    assert nothing.exit_code == 1
    call("install", "--config-dir", folder, "--with", "reinject", config=config)
    done = call("check", "--config-dir", folder, "--jsonl", config=config)
    rows = {row["about"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.exit_code == 1
    assert rows["master.cf 127.0.0.1:10026/inet"]["state"] == "ok"
    assert rows["listening-reinject"]["state"] == "wrong"
    for lang, word in (("en", "Postfix listens for the relay"), ("zh-TW", "正在監聽")):
        table = call("check", "--config-dir", folder, config=config, lang=lang)
        assert table.exit_code == 1
        assert word in table.output


@needs_postfix
@as_root
def test_reload_of_a_postfix_that_does_not_run_is_said(folder: Path, config: Path) -> None:
    done = call("install", "--config-dir", folder, "--with", "reinject", "--reload", config=config)
    assert isinstance(done.exception, RelayError)
    assert "not running" in str(done.exception)


def test_unknown_snippet_is_a_usage_error_that_lists_the_known(folder: Path) -> None:
    done = call("install", "--config-dir", folder, "--with", "contentfilter")
    assert done.exit_code == 2
    assert "content-filter" in done.output


@needs_postfix
def test_install_of_nothing_is_a_usage_error(folder: Path) -> None:
    done = call("install", "--config-dir", folder)
    assert done.exit_code == 2
    assert "reinject, content-filter, bounce-pipe, bounce-lmtp" in done.output


@needs_postfix
def test_bounces_without_a_domain_are_refused(folder: Path) -> None:
    done = call("install", "--config-dir", folder, "--with", "bounce-lmtp")
    assert "return_path.domain" in str(done.exception)
    assert not (folder / "omicard-relay").exists()


@needs_postfix
@pytest.mark.parametrize("verb", ["install", "check", "remove"])
def test_folder_that_is_no_configuration_is_refused(tmp_path: Path, verb: str) -> None:
    done = call(verb, "--config-dir", tmp_path)
    assert isinstance(done.exception, RelayError)
    assert "has no main.cf" in str(done.exception)


@needs_postfix
@as_root
def test_ordinary_user_is_told_to_be_root(folder: Path) -> None:
    """In a process of its own, which gives its rights away."""
    nobody = pwd.getpwnam("nobody")
    script = (
        "import os, sys; from omicard_relay.cli.root import root, main; import omicard_relay.cli.postfix; "
        "import encodings.idna, rich.console; "
        f"os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid}); "
        f"main(['--lang', 'en', 'postfix', 'install', '--config-dir', {str(folder)!r}, '--with', 'reinject'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    if "PermissionError" in done.stderr:
        pytest.skip("the checkout is not readable for an ordinary user")
    assert done.returncode == 1
    assert "permission denied" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "omicard-relay").exists()
