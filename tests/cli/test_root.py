"""The root command: options that hold for all, late loading, and errors as one sentence with the right exit status."""

import importlib
import io
import json
import subprocess

import click
import pytest
from click.testing import CliRunner

from omicard_relay import __version__
from omicard_relay.cli import root as module
from omicard_relay.cli.context import print_jsonl, print_table, settings_of
from omicard_relay.cli.root import COMMANDS, main, root
from tests.keeping import call, configured, environment, program


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_there_under_its_name(name):
    command = importlib.import_module(f"omicard_relay.cli.{COMMANDS[name]}").command
    assert command.name in (name, "command")
    assert (command.short_help or command.help or "").strip()


def test_help_lists_every_command():
    done = CliRunner().invoke(root, ["-h"])
    assert done.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


def test_the_version_is_told():
    assert CliRunner().invoke(root, ["--version"]).stdout == f"omicard-relay, version {__version__}\n"


def test_an_unknown_command_is_a_usage_error():
    assert CliRunner().invoke(root, ["nosuch"]).exit_code == 2


def test_an_error_of_ours_is_one_sentence_and_exit_1(tmp_path):
    done = call(tmp_path / "none.toml", "report")
    assert done.returncode == 1
    assert done.stderr.decode() == f"error: {tmp_path}/none.toml: there is no such file; name an existing one.\n"


def test_an_error_is_told_in_the_chosen_language(tmp_path):
    done = call(None, "--lang", "zh-TW", "--config", str(tmp_path / "none.toml"), "report")
    assert done.stderr.decode().startswith("錯誤：")


def test_what_is_quoted_in_an_error_cannot_write_to_the_terminal(tmp_path):
    config = tmp_path / "a.toml"
    config.write_text('[scrub]\nsyntax = "\\u001b[2J\\u009b"\n')
    done = call(config, "report")
    assert done.returncode == 1
    assert b"\x1b" not in done.stderr
    assert "\x9b" not in done.stderr.decode()


def test_the_environment_may_name_the_configuration(tmp_path, monkeypatch):
    named = configured(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    seen = []

    @click.command()
    @click.pass_context
    def look(ctx):
        seen.append(settings_of(ctx).data_dir)

    monkeypatch.setitem(module.COMMANDS, "report", "report")
    monkeypatch.setattr(importlib.import_module("omicard_relay.cli.report"), "command", look)
    monkeypatch.setenv("OMICARD_RELAY_CONFIG", str(named))
    CliRunner().invoke(root, ["report"], catch_exceptions=False)
    CliRunner().invoke(root, ["--config", str(configured(other)), "report"], catch_exceptions=False)
    monkeypatch.delenv("OMICARD_RELAY_CONFIG")
    CliRunner().invoke(root, ["report"], catch_exceptions=False)
    assert seen == [str(tmp_path / "data"), str(other / "data"), "/var/lib/omicard-relay"]


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    config = configured(tmp_path)
    text = "".join(f"u{number}@a.example\n" for number in range(5000)).encode()
    call(config, "lists", "import", "blacklist", "-", stdin=text)
    process = subprocess.Popen(
        program(config, "lists", "list", "--jsonl"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    process.stdout.readline()
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait(30) in (0, 1)


def test_a_broken_pipe_ends_quietly(monkeypatch, capsys):
    def breaks(**_):
        raise BrokenPipeError

    monkeypatch.setattr(root, "main", breaks)
    monkeypatch.setattr("sys.stderr", io.StringIO())  # it is closed
    with pytest.raises(SystemExit) as caught:
        main(["report"])
    assert caught.value.code == 0


# --- printing ---------------------------------------------------------------------------------------------------------


def test_json_lines_keep_words_and_escape_what_could_mislead(capsys):
    print_jsonl([{"text": "信箱 \x1b[2J \x9b \u202e \udcff \x7f \u2028 \n", "n": None}])
    assert capsys.readouterr().out == (
        '{"text": "信箱 \\u001b[2J \\u009b \\u202e \\udcff \\u007f \\u2028 \\n", "n": null}\n'
    )


def test_what_json_lines_say_is_read_back_unchanged(capsys):
    row = {"text": "".join(map(chr, [*range(0x300), 0x2028, 0x202E, 0xFEFF, 0xDCFF])), "n": 1.5}
    print_jsonl([row])
    assert json.loads(capsys.readouterr().out) == row


def test_a_table_shows_nothing_that_moves_the_cursor(capsys):
    print_table(["a"], [["\x1b[31mred\x07 [bold]no[/bold] :smile: \u202e"], [None], [3]], title="t")
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "\\x1b[31mred\\x07 [bold]no[/bold] :smile: \\u202e" in told
