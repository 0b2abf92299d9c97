"""The file of users: what `relay password` makes is read back, and a wrong file stops the start with its line."""

import pytest

from omicard_relay.mail import RelayError
from omicard_relay.services.relay.logins import make_line, read_logins


def write(path, text, mode=0o600):
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_made_line_lets_its_user_in(tmp_path):
    logins = read_logins(write(tmp_path / "auth", f"# users\n\n{make_line('ann', 'pässword')}\n"))

    assert logins.verify("ann", "pässword".encode())
    assert not logins.verify("ann", b"other")
    assert not logins.verify("bob", "pässword".encode())


@pytest.mark.parametrize(
    "user", ["", " ann", "a:b", "#a", "a\nb"], ids=["empty", "space", "colon", "comment", "newline"]
)
def test_a_user_name_that_cannot_stand_in_the_file_is_refused(user):
    with pytest.raises(RelayError, match="user name"):
        make_line(user, "x")


def test_an_empty_password_is_refused():
    with pytest.raises(RelayError, match="empty"):
        make_line("ann", "")


GOOD = make_line("ann", "x", salt=b"0" * 16)


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        pytest.param("ann:plain", 0o600, "line 1", id="no-scrypt"),
        pytest.param("#\nann:scrypt:16384:8:1:AAAA:????", 0o600, "line 2", id="no-base64"),
        pytest.param("ann:scrypt:99:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAAAA", 0o600, "line 1", id="no-power-of-two"),
        pytest.param("ann:scrypt:1073741824:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAAAA", 0o600, "line 1", id="too-costly"),
        pytest.param(f"{GOOD}\n{GOOD}", 0o600, "line 2", id="twice"),
        pytest.param(GOOD, 0o644, "chmod 640", id="world-readable"),
    ],
)
def test_a_wrong_file_is_told(tmp_path, text, mode, told):
    path = write(tmp_path / "auth", text, mode)

    with pytest.raises(RelayError, match=told) as caught:
        read_logins(path)

    assert "AAAA" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(RelayError, match=r"auth_file"):
        read_logins(tmp_path / "none")
