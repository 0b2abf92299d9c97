"""`omicard-relay steer`: the table for people and programs, in both languages, and tidying up without a service."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from omicard_relay.cli import main
from omicard_relay.services.exceptions_table import Entry, ExceptionsTable, table_file

Run = Callable[..., tuple[int, str, str]]
LATER = 4_102_444_800.0


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")
    config = tmp_path / "relay.toml"
    config.write_text('data_dir = "data"\n')
    (tmp_path / "data").mkdir()

    def run(*words: str, lang: str = "en") -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["--config", str(config), "--lang", lang, "steer", *words])
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


@pytest.fixture
def path(tmp_path: Path, run: Run) -> Path:
    """A table with an entry of each kind."""
    path = tmp_path / "data/exceptions"
    with ExceptionsTable(path) as table:
        table.apply(
            [
                Entry(key="a@a.test", value="retry:4.3.2 [938] resting until 2026-11-24 21:40 UTC", expires=LATER),
                Entry(key="a.test", value="ip2-s3:", expires=LATER),
                Entry(key="b@b.test", value="error:5.1.1 [902] returned: who?", expires=LATER),
                Entry(key="c.test", value="ip1:", expires=LATER),
                Entry(key="d.test", value="omi-lmtp:inet:[gw]", expires=1.0),
            ]
        )
    return path


def test_an_address_shows_its_own_entry_and_its_domains(run: Run, path: Path) -> None:
    status, out, _ = run("show", "A@a.test")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["a@a.test", "a.test"]
    assert "rests" in out
    assert "goes out by ip2, speed class 3" in out
    assert "2100-01-01 00:00:00" in out


def test_a_domain_shows_its_addresses_too(run: Run, path: Path) -> None:
    assert [line.split()[0] for line in run("show", "b.test")[1].splitlines()[2:]] == ["b@b.test"]


def test_chinese_speaks_chinese(run: Run, path: Path) -> None:
    out = run("show", lang="zh-TW")[1]
    for words in ("休息", "退信", "由 ip1 送出", "由 ip2 送出，速度等級 3", "其他傳輸方式", "收件人或網域"):
        assert words in out
    assert "沒有 x@x.test 的項目" in run("show", "x@x.test", lang="zh-TW")[1]
    assert "已移除 1 筆" in run("expire", lang="zh-TW")[1]


def test_programs_get_an_object_a_line(run: Run, path: Path) -> None:
    rows = [json.loads(line) for line in run("show", "--jsonl")[1].splitlines()]
    assert [(row["key"], row["kind"], row["ip"], row["speed"]) for row in rows] == [
        ("a.test", "route", "ip2", 3),
        ("a@a.test", "rest", None, None),
        ("b@b.test", "return", None, None),
        ("c.test", "route", "ip1", 0),
        ("d.test", "route", None, None),
    ]
    assert rows[1]["text"] == "4.3.2 [938] resting until 2026-11-24 21:40 UTC"
    assert rows[1]["expires"] == "2100-01-01T00:00:00+00:00"


def test_many_are_cut_and_counted(run: Run, path: Path) -> None:
    out = run("show", "--limit", "2")[1]
    assert "2 of 5 entries" in out
    assert "b@b.test" not in out


def test_nothing_to_show_says_what_that_means(run: Run, path: Path) -> None:
    assert "no entry for x.test: ordinary mail" in run("show", "x.test")[1]
    with ExceptionsTable(path) as table:
        table.clear()
    assert "all mail is ordinary" in run("show")[1]


def test_expire_takes_out_what_has_run_out(run: Run, path: Path) -> None:
    with ExceptionsTable(path) as table:
        table.apply([Entry(key="e.test", value="ip1:", expires=time.time() - 1)])
    assert "2 entries had run out" in run("expire")[1]
    assert "0 entries" in run("expire")[1]
    assert run("expire", "--quiet")[:2] == (0, "")
    with ExceptionsTable(path) as table:
        assert [one.key for one in table.entries()] == ["a.test", "a@a.test", "b@b.test", "c.test"]


def test_expire_makes_a_table_that_is_missing(run: Run, tmp_path: Path) -> None:
    assert "made, empty" in run("expire")[1]
    assert table_file(tmp_path / "data/exceptions").exists()


def test_failures_are_1_with_a_sentence(run: Run, tmp_path: Path) -> None:
    status, _, err = run("show")
    assert status == 1
    assert "cannot be opened" in err
    table_file(tmp_path / "data/exceptions").write_bytes(b"no table" * 1000)
    for word in ("show", "expire"):
        status, _, err = run(word)
        assert status == 1
        assert "no table of ours" in err


def test_what_stands_there_cannot_speak_to_the_terminal(run: Run, path: Path) -> None:
    with ExceptionsTable(path) as table:
        table.apply([Entry(key="z@z.test", value="error:5.0.0 [900] returned: \x9b31m\u202e", expires=LATER)])
    out = run("show", "z.test")[1]
    assert "\\x9b" in out
    assert "\u202e" not in out
