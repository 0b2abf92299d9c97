"""The mark that stops a loop: found in a mail's own head, however it is written, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.services.answers import TRACE_FIELD, head_of, trace_line, was_handed_on
from tests.keeping import NOW

FIELD = TRACE_FIELD.encode()


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (FIELD + b": x\nSubject: a\n\nb\n", True),
        (b"Received: by x\n\tid 1\n" + FIELD.lower() + b" : x\r\n\r\nb", True),
        (FIELD + b": x", True),
        (b"Subject: a\n\n" + FIELD + b": x\n", False),
        (b"Subject: a\r\n\r\n" + FIELD + b": x\r\n", False),
        (b"Subject: " + FIELD + b": x\n\nb", False),
        (b"X-" + FIELD + b": x\n\nb", False),
        (b"", False),
    ],
    ids=[
        "at the top",
        "in another spelling",
        "head only",
        "in the text",
        "CRLF text",
        "a value",
        "another name",
        "nothing",
    ],
)
def test_the_mark_counts_in_the_head_alone(raw, found):
    assert was_handed_on(raw) is found


@given(st.binary(max_size=400))
def test_what_is_handed_on_is_known_again_whatever_it_is(raw):
    assert was_handed_on(trace_line("0123456789abcdef" * 4, NOW) + raw)
    assert raw.startswith(head_of(raw))
