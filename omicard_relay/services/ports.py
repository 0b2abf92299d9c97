"""A port that cannot be had -> an error that says which one, by which setting, and how to find who has it."""

import errno

from omicard_relay.mail import RelayError

__all__ = ["port_error"]


def port_error(error: OSError, host: str, port: int, setting: str) -> RelayError:
    """The sentence for an operator; `setting` is the key that names the port, such as `relay.port`."""
    if error.errno == errno.EADDRINUSE:
        return RelayError(
            f"port {port} on {host} is taken by another program; `ss -ltnp 'sport = :{port}'` shows which. "
            f"Stop it, or set `{setting}` to a free port."
        )
    if error.errno == errno.EACCES:
        return RelayError(f"port {port} on {host} needs more rights than this user has; set `{setting}` above 1023.")
    if error.errno == errno.EADDRNOTAVAIL:
        return RelayError(f"{host} is no address of this machine; `ip address` shows them. Mend `{setting}`'s host.")
    return RelayError(f"cannot listen on {host}:{port} ({error.strerror or error}); look at `{setting}`.")
