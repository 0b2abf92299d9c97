"""The light client of Postfix's pipe(8): one mail from standard input to the running ingest service, by its socket.

    python -I -S pipe_client.py SOCKET --sender=S --recipient=R --queue-id=Q -- PROGRAM [ARGUMENT...]

Exit 0 when the service has stored the mail, 75 whatever else happens. Where no service answers, or SOCKET is `-`, PROGRAM
takes this process over with the three options behind its arguments, before any of the mail was read.
Postfix starts this once for each bounce, so it loads nothing but what the interpreter has at hand (`_socket`, since
`socket` alone costs as much as the interpreter's own start). The protocol is told in services/ingest_socket.py.
Known limits: a signal ends it by that signal; postfix/bounce-pipe/omicard-bounce turns this into 75, too.
"""

import _socket
import os
import sys
import time

__all__ = ["EX_TEMPFAIL", "complain", "hand_over", "main"]

#: sysexits.h: pipe(8) keeps the mail and brings it again.
EX_TEMPFAIL = 75
#: Seconds of silence of the service: below Postfix's command_time_limit of 1000 s, above a busy store's patience.
_SERVICE_SECONDS = 60.0
#: Seconds between two knocks at a service whose queue of connections is full.
_KNOCK_SECONDS = 0.02
_PIECE_OCTETS = 1 << 16
_ANSWER_OCTETS = 10_000
_OPTIONS = (b"--sender", b"--recipient", b"--queue-id")


def hand_over(path: bytes, sender: bytes, recipient: bytes, queue_id: bytes) -> bool:
    """Whether the service at the socket has stored the mail of standard input; False when none is there, nothing read then.

    Raises OSError when the service or the mail breaks off, RuntimeError with the service's words when it could not store.
    """
    os.fstat(0)  # a closed standard input would give its number to the socket, which would then be read as the mail
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.settimeout(_SERVICE_SECONDS)
    if not _connected(connection, path):
        connection.close()
        return False
    # `+`: the mail comes in pieces, and an empty one ends it.
    waiting = b"+" + _netstring(sender) + _netstring(recipient) + _netstring(queue_id)
    while piece := os.read(0, _PIECE_OCTETS):
        connection.sendall(waiting + _netstring(piece))
        waiting = b""
    connection.sendall(waiting + _netstring(b""))
    answer = b""
    while len(answer) < _ANSWER_OCTETS and (part := connection.recv(_ANSWER_OCTETS)):
        answer += part
    connection.close()
    if answer == b"2:OK,":
        return True
    if not answer:
        raise ConnectionError("the ingest service went away before it answered")
    raise RuntimeError(answer.partition(b":")[2].decode("utf-8", "replace"))


def complain(error: BaseException) -> None:
    """Why the mail was not stored, as one line on standard error that Postfix cannot take for a status of its own."""
    try:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        sys.stderr.write(f"omicard-relay: bounce not stored, Postfix will try again: {text[:_ANSWER_OCTETS]!a}\n")
        sys.stderr.flush()
    except Exception:  # standard error may be closed; the exit status says enough
        return


def main(arguments: list[str]) -> None:
    """Hand one mail over, or become the program that stores it. Never returns."""
    try:
        words = [os.fsencode(word) for word in arguments]
        end = words.index(b"--") if b"--" in words else len(words)
        path, own, program = words[0], words[1:end], words[end + 1 :]
        if b"--help" in own:  # asked by `omicard-relay postfix check`
            os._exit(0)
        values = dict.fromkeys(_OPTIONS, b"")
        for word in own:
            name, mark, value = word.partition(b"=")
            if name not in values or not mark:
                raise ValueError("an option is wrong; run `omicard-relay postfix install` again")
            values[name] = value
        if path != b"-" and hand_over(path, *values.values()):
            os._exit(0)
        os.execv(program[0], [*program, *own])  # noqa: S606  no shell is wanted
    except BaseException as error:
        complain(error)
    # Not sys.exit: nothing of Python's own shutdown may change the status any more.
    os._exit(EX_TEMPFAIL)


def _connected(connection: _socket.socket, path: bytes) -> bool:
    deadline = time.monotonic() + _SERVICE_SECONDS
    while True:
        try:
            connection.connect(path)
            return True
        except BlockingIOError:
            # Alive, and more knock at once than its queue holds.
            if time.monotonic() > deadline:
                raise
        except OSError:
            return False
        time.sleep(_KNOCK_SECONDS)


def _netstring(value: bytes) -> bytes:
    return b"%d:%s," % (len(value), value)


if __name__ == "__main__":
    main(sys.argv[1:])
