"""One reply for all recipients: 4xx when any may still be taken, 5xx only when nobody has got or will get the mail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import Stage
from omicard_relay.scrub import Drop
from omicard_relay.services.relay.ledger import Booking
from omicard_relay.services.relay.next_hop import Fate, FateKind
from omicard_relay.services.relay.verdicts import client_reply, passed_on

TAKEN = Fate(kind=FateKind.TAKEN, queue_id="Q1")
REFUSED = Fate(kind=FateKind.REFUSED, text="550 5.1.1 no user", stage=Stage.RCPT)
LATER = Fate(kind=FateKind.NOT_TAKEN, text="450 4.7.1 later", stage=Stage.RCPT)
LOST = Fate(kind=FateKind.NOT_TAKEN, text="451 4.4.2 lost connection")
UNKNOWN = Fate(kind=FateKind.UNKNOWN, text="451 4.4.2 lost connection", stage=Stage.END_OF_DATA)
REJECT = Drop(step="blacklist", reason="no", bounce_code=926, reject=True)
DISCARD = Drop(step="unsubscribed", reason="no", bounce_code=926)


@pytest.mark.parametrize(
    ("booking", "fates", "reply"),
    [
        pytest.param({}, [TAKEN], "250 2.0.0 Ok: id", id="taken"),
        pytest.param({}, [TAKEN, REFUSED], "250 2.0.0 Ok: id", id="partly-refused"),
        pytest.param({}, [REFUSED, REFUSED], "550 5.1.1 no user", id="all-refused"),
        pytest.param({"taken": 1}, [REFUSED], "250 2.0.0 Ok: id", id="refused-but-one-taken-before"),
        pytest.param({}, [TAKEN, LATER], "450 4.7.1 later", id="one-later"),
        pytest.param({}, [REFUSED, LATER], "450 4.7.1 later", id="refused-and-later"),
        pytest.param({}, [LOST, LATER], "450 4.7.1 later", id="postfix-own-words-first"),
        pytest.param({}, [LOST], "451 4.3.2", id="lost"),
        pytest.param({}, [TAKEN, UNKNOWN], "451 4.3.2", id="unknown"),
        pytest.param({"in_doubt": True}, [], "451 4.3.0", id="in-doubt"),
        pytest.param({"taken": 2}, [], "250 2.0.0 Ok: id", id="all-taken-before"),
        pytest.param({"drops": (REJECT, REJECT)}, [], "550 5.7.1 [926] no", id="all-rejected"),
        pytest.param({"drops": (REJECT, DISCARD)}, [], "250 2.0.0 Ok: id", id="rejected-and-discarded"),
        pytest.param({"drops": (DISCARD,)}, [], "250 2.0.0 Ok: id", id="discarded"),
        pytest.param({"drops": (REJECT,)}, [TAKEN], "250 2.0.0 Ok: id", id="rejected-and-taken"),
        pytest.param({"drops": (REJECT,), "taken": 1}, [], "250 2.0.0 Ok: id", id="rejected-and-taken-before"),
    ],
)
def test_reply(booking, fates, reply):
    assert client_reply(Booking(**booking), fates, "id").startswith(reply)


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        pytest.param("550 5.1.1 <x>: no", "550 5.1.1 <x>: no", id="as-it-is"),
        pytest.param("550 no", "550 5.0.0 no", id="no-status"),
        pytest.param("450 5.1.1 odd", "450 4.0.0 odd", id="status-of-another-class"),
        pytest.param("421 4.3.2 bye", "451 4.3.2 bye", id="421"),
        pytest.param("550-5.7.1 no\r\n250 yes", "550 5.7.1 no 250 yes", id="line-ends"),
        pytest.param("junk", "451 4.3.0", id="junk"),
    ],
)
def test_what_is_passed_on(text, reply):
    assert passed_on(text).startswith(reply)


@given(st.text())
def test_whatever_is_passed_on_is_one_good_line(text):
    for candidate in (text, f"550 {text}", f"450 4.1.1 {text}"):
        reply = passed_on(candidate)
        assert reply.isascii()
        assert reply.isprintable()
        assert len(reply) <= 510
        assert reply[0] in "245"
