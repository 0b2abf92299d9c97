"""`simulate`: figures for people and programs, plots, and errors that say what to do."""

import builtins
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from omicard_relay.cli import simulate as module
from omicard_relay.cli.root import root
from omicard_relay.mail import RelayError
from omicard_relay.tables.worlds import shipped_worlds

WORLD = """
deadline = "4h"
[campaign]
recipients = 200
rate = 2
[[provider]]
name = "grey"
greylist = true
unknown = 0.1
[[provider]]
name = "dead"
share = 0.2
dead = true
"""


@pytest.fixture
def world(tmp_path):
    path = tmp_path / "w.toml"
    path.write_text(WORLD)
    return str(path)


def run(*arguments: str, lang: str = "en") -> Result:
    return CliRunner().invoke(root, ["--lang", lang, "simulate", *arguments])


def test_one_policy_is_shown_by_provider(world):
    result = run("--world", world, "--policy", "postfix")
    assert result.exit_code == 0
    assert "w: 200 mails" in result.stdout
    assert all(word in result.stdout for word in ("postfix", "delivered", "grey", "dead", "tries:"))


def test_several_policies_are_compared(world):
    result = run("--world", world, "--policy", "ours", "--policy", "fixed:10m", "--policy", "ours-policy-only")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in ("ours", "fixed:10m", "ours-policy-only"))
    assert "grey" not in result.stdout


def test_words_are_chinese_for_those_who_want_it(world):
    result = run("--world", world, "--policy", "postfix", lang="zh-TW")
    assert all(word in result.stdout for word in ("200 封信", "送達", "收件端"))


def test_one_object_a_policy(world):
    result = run("--world", world, "--policy", "ours", "--policy", "postfix", "--policy", "ours", "--jsonl")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["policy"] for row in rows] == ["ours", "postfix"]
    for row in rows:
        assert row["delivered"] + row["returned"] + row["past_deadline"] == row["recipients"] == 200
        assert row["delivered_share"] == pytest.approx(row["delivered"] / 200)
        assert row["attempts_per_delivered"] == pytest.approx(row["attempts"] / row["delivered"], abs=1e-6)
        assert [one["provider"] for one in row["providers"]] == ["grey", "dead"]
        assert len(row["curve"]) == int(100 * row["delivered_share"])


@pytest.mark.parametrize(
    "policy", ["ours", "ours-policy-only", "postfix", "kumomta", "zonemta", "powermta", "fixed:5m/1h"]
)
def test_the_same_seed_gives_the_same_octets(world, policy):
    first, again, other = (run("--world", world, "--policy", policy, "--jsonl", "--seed", seed) for seed in "778")
    assert first.exit_code == 0
    assert first.stdout_bytes == again.stdout_bytes
    assert first.stdout_bytes != other.stdout_bytes


def test_ours_is_the_policy_that_is_not_named(world):
    assert json.loads(run("--world", world, "--jsonl").stdout)["policy"] == "ours"


@pytest.mark.parametrize(("name", "begins"), [("p.svg", b"<?xml"), ("p.PNG", b"\x89PNG")])
def test_a_plot_is_written_and_is_the_same_again(world, tmp_path, name, begins):
    pytest.importorskip("matplotlib")
    path = tmp_path / name
    assert run("--world", world, "--policy", "postfix", "--policy", "zonemta", "--plot", str(path)).exit_code == 0
    first = path.read_bytes()
    assert first.startswith(begins)
    run("--world", world, "--policy", "postfix", "--policy", "zonemta", "--plot", str(path))
    assert path.read_bytes() == first


def test_without_matplotlib_a_plot_is_a_clear_error(world, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    result = run("--world", world, "--plot", str(tmp_path / "p.svg"))
    assert isinstance(result.exception, RelayError)
    assert "pip install 'omicard-relay[plot]'" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--policy", "postfx"], "there is no policy 'postfx'; allowed are ours, ours-policy-only, postfix"),
        (["--policy", "fixed:5 minutes"], "write its rests such as fixed:15m"),
        (["--policy", "fixed:0m"], "write its rests such as fixed:15m"),
        (["--plot", "x.gif"], "a plot is written as .svg or .png"),
        (["--plot", "no-such-folder/x.svg"], "there is no such folder"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(world, arguments, told):
    result = run("--world", world, *arguments)
    assert isinstance(result.exception, RelayError)
    assert told in str(result.exception)


def test_a_broken_world_is_named(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(WORLD.replace("greylist = true", "graylist = true"))
    result = run("--world", str(path))
    assert isinstance(result.exception, RelayError)
    assert "bad.toml: [provider.0] has no key `graylist`; did you mean `greylist`?" in str(result.exception)


def test_no_world_is_usage_and_names_the_shipped_ones():
    result = run("--policy", "ours")
    assert result.exit_code == 2
    assert "mixed" in result.stderr


@pytest.mark.parametrize("lang", ["en", "zh-TW"])
def test_shipped_worlds_are_listed(lang):
    result = run("--worlds", lang=lang)
    assert all(name in result.stdout for name in shipped_worlds())
    rows = [json.loads(line) for line in run("--worlds", "--jsonl").stdout.splitlines()]
    assert [row["world"] for row in rows] == list(shipped_worlds())


def test_progress_is_told_on_standard_error_after_a_second(world, monkeypatch, capsys):
    moments = iter([0.0, 0.5, 1.5, 2.0, 12.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(moments))
    with module._Progress("ours") as progress:
        for done in (10, 20, 30, 40):
            progress.tell(done, 100)
    assert capsys.readouterr().err.splitlines() == ["ours: 20 of 100 mails", "ours: 40 of 100 mails"]


def test_two_processes_with_other_hashes_say_the_same(world):
    told = set()
    for hashes in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hashes}
        command = [sys.executable, "-m", "omicard_relay", "simulate", "--world", world, "--jsonl"]
        told.add(subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60).stdout)
    assert len(told) == 1
    assert told.pop().count(b"\n") == 1
