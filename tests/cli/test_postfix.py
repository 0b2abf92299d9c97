"""`omicard-relay postfix` on real configuration folders: exit statuses and sentences, in both languages."""

import json
import os
import pwd
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from omicard_relay.cli.language import choose_language
from omicard_relay.cli.root import main
from omicard_relay.services.postconf import open_postconf
from tests.attaching import configuration, needs_postfix, no_waiting

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="Postfix's configuration is changed as root")
Run = Callable[..., tuple[int, str, str]]
BOTH_WAYS = ("--with", "content-filter", "--with", "bounce-pipe")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with no_waiting():
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    with configuration(main="transport_maps = inline:{a.test=smtp:[x]}\n") as made:
        yield made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a `postfix` command in this process: (exit status, standard output, standard error)."""
    file = tmp_path / "relay.toml"
    file.write_text('[return_path]\ndomain = "bounce.example.com"\n')
    monkeypatch.setenv("COLUMNS", "200")

    def call(name: str, *words: object, lang: str = "en", config: Path | None = file) -> tuple[int, str, str]:
        options = ["--lang", lang, *(["--config", str(config)] if config else [])]
        with pytest.raises(SystemExit) as ended:
            main([*options, "postfix", name, *map(str, words)])
        told = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), told.out, told.err

    yield call
    choose_language("en")


def both(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "main.cf").read_bytes(), (folder / "master.cf").read_bytes()


def of(folder: Path, *words: str) -> tuple[str, ...]:
    """The folder, a user of this machine, and more."""
    return ("--config-dir", str(folder), "--user", "nobody", *words)


@needs_postfix
@needs_root
def test_in_and_out_again_says_each_step(folder: Path, run: Run) -> None:
    before = both(folder)
    code, out, err = run("install", *of(folder, *BOTH_WAYS))
    assert (code, err) == (0, "")
    assert out.startswith("Changed:\n")
    assert "main.cf: content_filter\n    was (not set)\n    is  omi:[127.0.0.1]:10025\n" in out
    assert "\n    was inline:{a.test=smtp:[x]}\n    is  regexp:" in out
    assert f"To undo: omicard-relay postfix remove --config-dir {folder} --with reinject --with content-filter" in out
    assert re.search(rf"\(the files as they were: {folder}/omicard-relay/backup-\d{{8}}T\d{{6}}Z\)", out)
    assert out.endswith(f"Next step, at once: postfix -c {folder} reload\n")
    installed = both(folder)
    assert run("install", *of(folder, *BOTH_WAYS)) == (
        0,
        f"{folder}: everything is in place, nothing was changed.\n",
        "",
    )
    assert run("install", *of(folder))[:2] == (0, f"{folder}: everything is in place, nothing was changed.\n")
    assert both(folder) == installed != before
    code, out, err = run("remove", "--config-dir", folder)
    assert (code, err) == (0, "")
    assert "main.cf: content_filter\n    was omi:[127.0.0.1]:10025\n    is  gone\n" in out
    assert out.endswith(f"this sends them on without it: postsuper -c {folder} -r ALL\n")
    assert both(folder) == before
    assert run("remove", "--config-dir", folder) == (0, f"{folder}: nothing of this is installed.\n", "")


@needs_postfix
@needs_root
def test_chinese_speaks_chinese(folder: Path, run: Run) -> None:
    code, out, _ = run("install", *of(folder, "--with", "content-filter"), lang="zh-TW")
    assert code == 0
    for words in ("已變更：\n", "原為 （未設定）", "復原：omicard-relay postfix remove", "下一步，請立即執行"):
        assert words in out
    assert run("install", *of(folder), lang="zh-TW")[1] == f"{folder}：一切就緒，沒有任何變更。\n"
    code, out, _ = run("check", *of(folder), lang="zh-TW")
    assert code == 1
    assert "relay 正在監聽" in out
    assert out.endswith("不符的項目：2。\n")
    assert "退信的路由" not in out
    assert "現已移除" in run("remove", "--config-dir", folder, lang="zh-TW")[1]
    code, out, err = run("install", "--config-dir", folder / "none", "--with", "reinject", lang="zh-TW")
    assert (code, out) == (1, "")
    assert err.startswith("錯誤：")
    assert "每封郵件，先經過 relay" in run("show", "--with", "content-filter", lang="zh-TW")[1]


@needs_postfix
@needs_root
def test_dry_run_changes_nothing(folder: Path, run: Run) -> None:
    before = both(folder)
    code, out, _ = run("install", *of(folder, *BOTH_WAYS, "--dry-run"))
    assert (code, out.splitlines()[0]) == (0, "Would change:")
    assert "To undo" not in out
    assert both(folder) == before
    assert not (folder / "omicard-relay").exists()
    run("install", *of(folder, *BOTH_WAYS))
    before = both(folder)
    code, out, _ = run("remove", "--config-dir", folder, "--dry-run")
    assert (code, out.splitlines()[0]) == (0, "Would change:")
    assert both(folder) == before


@needs_postfix
@needs_root
def test_what_somebody_changed_is_refused_named_and_left(folder: Path, run: Run) -> None:
    run("install", *of(folder, *BOTH_WAYS))
    open_postconf(folder).set_main({"content_filter": "other:[127.0.0.1]:1"})
    changed = both(folder)
    code, out, err = run("install", *of(folder))
    assert (code, out) == (1, "")
    assert "Nothing was changed" in err
    assert "`content_filter` is `other:[127.0.0.1]:1`" in err
    assert "--replace" in err
    assert both(folder) == changed
    code, out, _ = run("remove", "--config-dir", folder)
    assert code == 0
    assert "main.cf: content_filter was changed by somebody since; it is left as it is.\n" in out
    assert open_postconf(folder).explicit()["content_filter"] == "other:[127.0.0.1]:1"
    code, out, _ = run("install", *of(folder, "--with", "content-filter", "--replace"))
    assert code == 0
    assert "was other:[127.0.0.1]:1\n    is  omi:[127.0.0.1]:10025" in out


@needs_postfix
@needs_root
def test_check_ends_with_1_and_tells_what_is_missing(folder: Path, run: Run) -> None:
    code, out, _ = run("check", *of(folder, *BOTH_WAYS))
    assert code == 1
    assert re.search(r"missing +│ content-filter: main.cf content_filter +│ should be omi:\[127.0.0.1\]:10025", out)
    assert "`omicard-relay postfix install` puts values right" in out
    run("install", *of(folder, *BOTH_WAYS))
    code, out, _ = run("check", *of(folder, "--jsonl"))
    rows = {row["about"]: row for row in map(json.loads, out.splitlines())}
    assert code == 1
    assert rows["main.cf content_filter"]["state"] == "ok"
    assert rows["listening-reinject"]["state"] == "wrong"
    assert set(rows["xforward"]) == {"snippet", "about", "state", "found", "wanted"}
    code, out, _ = run("check", *of(folder))
    assert re.search(r"wrong +│ Postfix listens for the relay +│ 127.0.0.1:10026: Connection refused", out)
    assert "puts values right" not in out


@needs_postfix
def test_check_of_nothing_asks_what_to_check(folder: Path, run: Run) -> None:
    code, out, err = run("check", "--config-dir", folder)
    assert (code, out) == (1, "")
    assert "nothing is installed by this program; name what was pasted with --with: reinject, " in err


@needs_postfix
@needs_root
def test_reload_of_a_postfix_that_does_not_run_is_1_and_the_change_stays(folder: Path, run: Run) -> None:
    code, out, err = run("install", *of(folder, "--with", "reinject", "--reload"))
    assert code == 1
    assert "To undo" in out
    assert "`postfix reload`" in err
    assert "127.0.0.1:10026/inet" in open_postconf(folder).services()


@needs_postfix
@needs_root
def test_relative_folder_counts_from_here(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postfix itself fails without a word on one; in its files only absolute paths may stand."""
    monkeypatch.chdir(folder.parent)
    code, out, _ = run("install", "--config-dir", "etc", "--user", "nobody", "--with", "bounce-pipe")
    assert code == 0
    assert f"--config-dir {folder}" in out
    assert open_postconf(folder).explicit()["transport_maps"].startswith(f"regexp:{folder}/omicard-relay/")
    assert f"argv={folder}/omicard-relay/omicard-bounce" in open_postconf(folder).services()["omi-bounce/unix"]


@needs_postfix
@needs_root
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--config-dir", "{none}", "--with", "reinject"), "there is no such folder"),
        (("--config-dir", "{empty}", "--with", "reinject"), "is no Postfix configuration"),
        (("--config-dir", "{folder}", "--with", "bounce-pipe", "--user", "no-such-user"), "useradd --system"),
        (("--config-dir", "{folder}", "--with", "bounce-pipe", "--user", "root"), "name an ordinary user"),
        (("--config-dir", "{folder}", "--with", "bounce-pipe", "--user", "a b"), "cannot stand in master.cf"),
        (("--config-dir", "{folder}", "--with", "bounce-pipe", "--with", "bounce-lmtp"), "choose one of them"),
        (("--config-dir", "{dollar}", "--with", "bounce-pipe", "--user", "nobody"), "cannot stand in master.cf"),
    ],
    ids=["no folder", "no Postfix", "no user", "root", "user with a blank", "both ways", "dollar in the path"],
)
def test_failure_is_1_with_a_sentence(folder: Path, run: Run, tmp_path: Path, words: list[str], told: str) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(folder, tmp_path / "a$b")
    places = {"none": tmp_path / "none", "empty": tmp_path / "empty", "folder": folder, "dollar": tmp_path / "a$b"}
    before = both(folder)
    code, out, err = run("install", *(word.format(**places) for word in words))
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert told in err
    assert both(folder) == before
    assert not (folder / "omicard-relay").exists()


@needs_postfix
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("", "`return_path.domain` is not set"),
        ('[return_path]\ndomain = "$mydomain"\n', "`return_path.domain`: '$mydomain' cannot stand"),
        ('[relay]\nhost = "a b"\n[return_path]\ndomain = "b.test"\n', "`relay.host`: 'a b' cannot stand"),
        ("[relay]\nprot = 1\n", "prot"),
    ],
    ids=["no domain", "dollar", "blank", "typing slip"],
)
def test_setting_that_cannot_be_is_1_by_its_key(
    folder: Path, run: Run, tmp_path: Path, settings: str, told: str
) -> None:
    (tmp_path / "other.toml").write_text(settings)
    code, out, err = run("install", *of(folder, "--with", "bounce-pipe"), config=tmp_path / "other.toml")
    assert (code, out) == (1, "")
    assert told in err
    assert not (folder / "omicard-relay").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [(("--with", "contentfilter"), "'content-filter'"), (("--whith", "reinject"), "--with")],
    ids=["unknown snippet", "unknown option"],
)
@pytest.mark.parametrize("name", ["show", "install", "check", "remove"])
def test_usage_is_2_and_lists_what_there_is(run: Run, name: str, words: tuple[str, ...], told: str) -> None:
    code, out, err = run(name, *words)
    assert (code, out) == (2, "")
    assert told in err


@needs_postfix
def test_install_of_nothing_is_2(folder: Path, run: Run) -> None:
    code, _, err = run("install", "--config-dir", folder)
    assert code == 2
    assert "name what to install with --with: reinject, content-filter, bounce-pipe, bounce-lmtp" in err


def test_no_postfix_is_1(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("omicard_relay.services.postconf._TOOL_FOLDERS", ())
    for name in ("install", "check", "remove"):
        code, out, err = run(name, "--config-dir", tmp_path, *([] if name == "remove" else ["--with", "reinject"]))
        assert (code, out) == (1, "")
        assert "Postfix is not installed here" in err


@needs_postfix
@needs_root
def test_ordinary_user_is_told_and_changes_nothing(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = both(folder)
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    code, out, err = run("install", *of(folder, "--with", "reinject"))
    assert (code, out) == (1, "")
    assert "permission denied" in err
    assert both(folder) == before
    assert not (folder / "omicard-relay").exists()


def test_show_needs_no_postfix_and_prints_what_to_paste(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = run("show", "--config-dir", "/etc/postfix")
    assert (code, err) == (0, "")
    for words in (
        "content_filter = omi:[127.0.0.1]:10025\n",
        "127.0.0.1:10026 inet n - n - - smtpd\n  # Never back into the filter",
        "relay_domains = bounce.example.com\n",
        "# transport_maps is a list: put this before what stands there.\n",
        "install -D -m 755 ",
        " /etc/postfix/omicard-relay/omicard-bounce\n",
        "## /etc/postfix/omicard-relay/bounce-lmtp.regexp\n",
        "systemd units: ",
    ):
        assert words in out
    assert "{{" not in out


def test_show_without_a_bounce_domain_leaves_those_out_and_says_so(run: Run) -> None:
    code, out, _ = run("show", config=None)
    assert code == 0
    assert "### bounce-pipe: left out, `return_path.domain` is not set.\n" in out
    assert "relay_domains" not in out
    code, out, err = run("show", "--with", "bounce-pipe", config=None)
    assert (code, out) == (1, "")
    assert "`return_path.domain` is not set" in err
