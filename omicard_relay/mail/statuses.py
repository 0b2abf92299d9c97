"""The enhanced status code that says the same as a bounce code (RFC 3463, and the registry of RFC 5248).

Where we change a reply's class, 4 to 5 or back, its subject and detail stay when they can mean what the bounce code means:
`4.2.2` of a full mailbox becomes `5.2.2`. Where they speak of something else ("550 5.1.1 too many messages") the bounce code's
own stand instead: `4.7.1`.
Not here: when a class is changed (services/statusfilter.py).
"""

import re

__all__ = ["status_for"]

_STATUS = re.compile(r"[245]\.([0-9]{1,3})\.([0-9]{1,3})")

#: Bounce code -> its own `subject.detail`. Where nothing is listed, the refusal is one of policy.
_OWN = {
    900: "0.0",
    901: "2.2",
    902: "1.1",
    903: "1.1",
    904: "4.6",
    905: "1.2",
    906: "0.0",
    908: "1.6",
    909: "3.5",
    910: "4.1",
    911: "4.2",
    912: "2.1",
    915: "3.0",
    916: "7.25",
    920: "1.1",
    922: "6.1",
    927: "4.4",
    928: "4.0",
    931: "4.7",
    932: "3.4",
    934: "2.1",
    937: "4.6",
}
_POLICY = "7.1"
#: Bounce code -> subjects that can say the same, beside that of its own; None: any.
_SUBJECTS: dict[int, frozenset[str] | None] = {
    900: None,
    905: frozenset("4"),
    906: None,
    907: None,
    910: frozenset("3"),
    911: frozenset("37"),
    915: frozenset("24"),
    921: frozenset("234"),
    928: frozenset("237"),
    929: frozenset("34"),
    932: frozenset("2"),
    935: frozenset("24"),
    938: frozenset("4"),
    939: frozenset("4"),
}


def status_for(bounce_code: int, reply_class: int, original: str = "") -> str:
    """The status of class `reply_class` (4 or 5) for this cause; `original` is the one that came with the reply.

    A detail of 0 says nothing, so that it gives way to the cause's own.
    """
    own = _OWN.get(bounce_code, _POLICY)
    found = _STATUS.fullmatch(original)
    if found and found[2] != "0":
        subjects = _SUBJECTS.get(bounce_code, frozenset())
        if subjects is None or found[1] in subjects or found[1] == own.partition(".")[0]:
            return f"{reply_class}.{found[1]}.{found[2]}"
    return f"{reply_class}.{own}"
