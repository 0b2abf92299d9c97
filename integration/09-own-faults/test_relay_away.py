"""Behind Postfix as its content filter: while the relay is away mail waits in Postfix, and goes on when it is back."""

import re
from collections.abc import Callable

from lab.campaign import Campaign
from lab.line import Line
from lab.submit import submit
from lab.waiting import assert_settles, wait_until

_AWAY = re.compile(
    r"relay=none, .*dsn=4\.4\.1, status=deferred \(connect to 127\.0\.0\.1\[127\.0\.0\.1\]:10025: Connection refused"
)


def test_mail_waits_in_postfix_while_the_relay_is_away(
    make_line: Callable[..., Line], small_campaign: Callable[..., Campaign]
) -> None:
    # Postfix completes or refuses a broken address before the relay sees it.
    campaign = small_campaign(20, leave_out=lambda one: one.drop_reason == "syntax")
    line = make_line(filtered=True)
    line.fill_lists(campaign)
    line.stop_service("relay")
    told = submit(campaign, line.submission())
    assert all(one.accepted for one in told)
    wait_until(lambda: _AWAY.search(line.postfix.log.read_text(errors="replace")) is not None, "Postfix keeps the mail")
    # showq walks the queues one after the other: a mail that moves meanwhile is listed twice or not at all.
    wait_until(
        lambda: len({one.queue_id for one in line.postfix.queue()}) == len(told), "every mail waits, none is lost"
    )
    assert not line.internet.books().entries()
    line.start_service("relay")
    line.postfix.flush()
    assert_settles(line, campaign)
