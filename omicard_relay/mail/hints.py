"""Whether a text may be wrapped at all: most replies are bare, and asking is far cheaper than trying every layer.

The words here and the layers of mail/wrappers.py belong together; tests/mail/test_reading.py holds that no text from which
a layer would take something is called bare.
"""

__all__ = ["may_be_wrapped"]

#: What stands at an end of a text that one of the layers opens or closes: `[internal]`, `#550 …`, `(in reply to …)`.
_OPENERS, _CLOSING = frozenset("[#("), frozenset(")]#")
#: Of each layer but those that the ends of a text betray, words that it cannot do without; in lower case.
_HINTS = (
    ";",
    "diagnostic-code",
    "[internal]",
    "delivery temporarily suspended: ",
    "iving",
    "not going to try",
    "<<< ",
    " said",
    " says",
    "talk to me",
    "respon",
    "answered",
    "delivered: ",
    "]: ",
    " error from remote ",
    " - ",
    "transfail",
    "last error",
    "host_said",
    "remote server",
    " was:",
    "replied",
    "following ",
    "(reason:",
    "(state ",
    "error_code",
    "reported error",
    "led=",
    "minutes.<",
    "connect to ",
    "lost connection with ",
    "conversation with ",
)


def may_be_wrapped(line: str) -> bool:
    """Whether some layer could be taken off; False is certain, True is a perhaps. `line` is on one line already."""
    if line[:1] in _OPENERS or line[-1:] in _CLOSING:
        return True
    lower = line.lower()
    for hint in _HINTS:  # noqa: SIM110  twice as fast as any() with a generator
        if hint in lower:
            return True
    return False
