"""The domains that a From field names (RFC 5322 §3.4, groups per RFC 6854): for choosing the keys that may sign.

One pass, no recursion, no decoding of encoded words (they stand in display names only). It refuses what two programs
could read differently: unclosed quotes, comments or brackets, two addresses in one mailbox, white space inside a
domain. A wrong guess here would put our signature under somebody else's name.
Known limit: obsolete comments inside an addr-spec's domain are dropped, not checked.
"""

from omicard_relay.signing.domains import a_label

__all__ = ["from_domains"]

#: Octets of a From field that are looked at: Postfix itself keeps 102,400 of a header by default.
VALUE_LIMIT = 102_400


def from_domains(value: bytes) -> tuple[str, ...]:
    """The distinct domains in DNS spelling, in order; empty when any mailbox is unreadable or none is there."""
    if len(value) > VALUE_LIMIT:
        return ()
    text = value.decode("utf-8", "surrogateescape").replace("\r\n", "")
    reader = _Reader()
    if not reader.read(text):
        return ()
    return tuple(dict.fromkeys(reader.domains))


class _Reader:
    """The state of one pass: where we are, and the domain of the mailbox that is being read."""

    def __init__(self) -> None:
        self.domains: list[str] = []
        self._in_group = False
        self._reset()

    def _reset(self) -> None:
        #: What follows the last unquoted @ in the plain text, and in the angle brackets.
        self._plain: list[str] | None = None
        self._angle: list[str] | None = None
        #: Unquoted @ in the plain text: a display name may hold any number, an address exactly one.
        self._plain_ats = 0
        self._seen_angle = False
        self._seen_text = False

    def read(self, text: str) -> bool:
        """Fill `domains`; False when the text is no address list that all programs read alike."""
        at, end = 0, len(text)
        inside_angle = False
        while at < end:
            char = text[at]
            if char in '"(':
                at = _skip_quoted(text, at) if char == '"' else _skip_comment(text, at)
                if at < 0:
                    return False
                if char == '"' and not self._quoted(inside_angle):
                    return False
                continue
            at += 1
            if inside_angle:
                if char == ">":
                    inside_angle = False
                elif not self._take_angle(char):
                    return False
            elif char == "<":
                if self._seen_angle:
                    return False
                inside_angle = self._seen_angle = True
            elif char in ",;:":
                if not self._separator(char):
                    return False
            elif not self._take_plain(char):
                return False
        return not inside_angle and not self._in_group and self._close()

    def _take_angle(self, char: str) -> bool:
        """One character between `<` and `>`; obsolete source routes (`<@a:ann@b>`) are refused."""
        if char in "<,:;" or (char == "@" and self._angle is not None):
            return False
        if char == "@":
            self._angle = []
        elif self._angle is not None:
            self._angle.append(char)
        return True

    def _take_plain(self, char: str) -> bool:
        """One character outside of quotes, comments and brackets."""
        if not char.isspace():
            if self._seen_angle:
                return False
            self._seen_text = True
        if char == "@":
            self._plain_ats += 1
            self._plain = []
        elif self._plain is not None:
            self._plain.append(char)
        return True

    def _quoted(self, inside_angle: bool) -> bool:
        """A quoted string: a display name or a local part, never a domain or what follows `>`."""
        self._seen_text = True
        return self._angle is None if inside_angle else not self._seen_angle

    def _separator(self, char: str) -> bool:
        """`,` ends a mailbox; `:` ends a group's name; `;` ends a group."""
        if char == ":":
            if self._in_group or self._seen_angle or self._plain is not None:
                return False
            self._in_group = True
            self._reset()
            return True
        if char == ";":
            if not self._in_group:
                return False
            self._in_group = False
        return self._close()

    def _close(self) -> bool:
        """Take the mailbox that ends here; an empty place between separators is none."""
        chars = self._angle if self._seen_angle else self._plain
        empty = not self._seen_angle and not self._seen_text
        twice = not self._seen_angle and self._plain_ats > 1
        self._reset()
        if empty or twice:
            return empty
        domain = a_label("".join(chars).strip()) if chars is not None else None
        if domain is None:
            return False
        self.domains.append(domain)
        return True


def _skip_quoted(text: str, at: int) -> int:
    """The place after the quoted string that begins at `at`; -1 when it does not end."""
    at += 1
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == '"':
            return at + 1
        at += 1
    return -1


def _skip_comment(text: str, at: int) -> int:
    """The place after the comment, however deeply nested, that begins at `at`; -1 when it does not end."""
    depth = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "(":
            depth += 1
        elif text[at] == ")":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return -1
