"""Behind Postfix, as its content filter: store and books agree, and both queue ids name the mail."""

from collections.abc import Callable
from dataclasses import replace

from conftest import assert_settles, fates  # type: ignore[import-not-found]

from lab.campaign import Campaign
from lab.line import Line
from lab.submit import submit


def test_store_and_books_agree_row_by_row(make_line: Callable[..., Line], campaign: Campaign) -> None:
    # Postfix completes or refuses a broken address before the relay sees it.
    campaign = replace(campaign, recipients=tuple(one for one in campaign.recipients if one.drop_reason != "syntax"))
    line = make_line(filtered=True)
    line.fill_lists(campaign)
    told = submit(campaign, line.submission())
    assert all(one.accepted for one in told)
    assert_settles(line, campaign)

    queued = next(one for one in fates(line, campaign) if one.queue_id)
    log = line.postfix.log.read_text(errors="replace")
    first = next(
        row.split("orig_queue_id=")[1].split(",")[0]
        for row in log.splitlines()
        if f": {queued.queue_id}: client=" in row and "orig_queue_id=" in row
    )
    assert first != queued.queue_id
    for queue_id in (first, queued.queue_id):
        assert queued.address in line.omicard("explain", queue_id)
