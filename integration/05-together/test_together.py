"""Without signed reverse-paths, many recipients in one transaction: joined by the hand-over id alone."""

from collections.abc import Callable

from lab.campaign import Campaign
from lab.domains import Fate
from lab.line import SENDER_DOMAIN, Line
from lab.submit import submit
from lab.waiting import assert_settles


def test_recipients_stay_together_and_agree_with_the_books(
    make_line: Callable[..., Line], small_campaign: Callable[..., Campaign]
) -> None:
    # What comes back later goes to the sender's own mailbox here, and proves nothing.
    later = (Fate.RETURNED_LATER, Fate.ANSWERED_LATER)
    campaign = small_campaign(3, leave_out=lambda one: one.fate in later)
    line = make_line(signed=False)
    line.fill_lists(campaign)
    submit(campaign, line.submission(recipients_per_transaction=40))
    subjects = assert_settles(line, campaign)

    kept = [one for one in subjects if one.queue_id]
    assert len({one.queue_id for one in kept}) < len(kept) / 10
    paths = {entry.reverse_path for entry in line.internet.books().entries() if entry.reverse_path}
    assert paths == {f"news@{SENDER_DOMAIN}", ""} or paths == {f"news@{SENDER_DOMAIN}"}
