"""A port that cannot be had: the sentence names it, the setting, and what to do."""

import errno
import socket

import pytest

from omicard_relay.mail import RelayError
from omicard_relay.services.ports import port_error


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EADDRINUSE, "port 10027 on 127.0.0.1 is taken by another program; `ss -ltnp 'sport = :10027'`"),
        (errno.EACCES, "needs more rights than this user has; set `ingest.port` above 1023"),
        (errno.EADDRNOTAVAIL, "127.0.0.1 is no address of this machine"),
        (errno.ENOBUFS, "cannot listen on 127.0.0.1:10027"),
    ],
)
def test_each_reason_has_its_advice(number, sentence):
    error = port_error(OSError(number, "why"), "127.0.0.1", 10027, "ingest.port")
    assert isinstance(error, RelayError)
    assert sentence in str(error)
    assert "ingest.port" in str(error)


def test_a_name_that_does_not_resolve_is_told_as_it_is():
    error = port_error(socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "nowhere", 1, "ingest.port")
    assert "cannot listen on nowhere:1 (Name or service not known)" in str(error)


def test_the_system_says_taken_as_we_read_it():
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(OSError, match="in use") as caught:
            second.bind(("127.0.0.1", port))
    assert f"port {port} on 127.0.0.1 is taken" in str(port_error(caught.value, "127.0.0.1", port, "relay.port"))
