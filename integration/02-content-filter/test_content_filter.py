"""Behind Postfix, as its content filter: store and books agree, and both queue ids name the mail."""

from collections.abc import Callable
from dataclasses import replace

from lab.campaign import Campaign
from lab.line import Line
from lab.submit import submit
from lab.waiting import assert_settles, fates


def test_store_and_books_agree_row_by_row(make_line: Callable[..., Line], campaign: Campaign) -> None:
    # Postfix completes or refuses a broken address before the relay sees it.
    campaign = replace(campaign, recipients=tuple(one for one in campaign.recipients if one.drop_reason != "syntax"))
    line = make_line(filtered=True)
    line.fill_lists(campaign)
    told = submit(campaign, line.submission())
    assert all(one.accepted for one in told)
    assert_settles(line, campaign)

    queued = next(one for one in fates(line, campaign) if one.queue_id)
    hop = next(
        row
        for row in line.postfix.log.read_text(errors="replace").splitlines()
        if f"to=<{queued.address}>" in row and "]:10025," in row
    )
    first = hop.split("]: ")[1].split(":")[0]
    assert first != queued.queue_id
    for queue_id in (first, queued.queue_id):
        assert queued.address in line.omicard("explain", queue_id)
    # The second queue id's own line names the first one, for whoever reads the log by hand.
    assert f": {queued.queue_id}: client=" in line.postfix.log.read_text(errors="replace")
    assert f"orig_queue_id={first}" in line.postfix.log.read_text(errors="replace")
