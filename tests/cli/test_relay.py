"""`relay password`: the line that it prints lets the user in."""

import io
import sys

import pytest

from omicard_relay.cli.root import main
from omicard_relay.services.relay.logins import read_logins


def run(capsys, monkeypatch, arguments, given):
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_the_printed_line_lets_the_user_in(capsys, monkeypatch, tmp_path):
    code, out, err = run(capsys, monkeypatch, ["--lang", "en", "relay", "password", "ann"], "secret\n")

    assert code == 0
    assert "relay.auth_file" in err
    path = tmp_path / "auth"
    path.write_text(out)
    path.chmod(0o600)
    assert read_logins(path).verify("ann", b"secret")


@pytest.mark.parametrize(
    ("user", "given", "told"), [("a:b", "x\n", "user name"), ("ann", "\n", "empty")], ids=["user", "password"]
)
def test_what_cannot_be_is_told(capsys, monkeypatch, user, given, told):
    code, out, err = run(capsys, monkeypatch, ["--lang", "en", "relay", "password", user], given)

    assert (code, out) == (1, "")
    assert told in err
