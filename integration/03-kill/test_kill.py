"""kill -9 of each service in the middle of it: nothing lost, nothing doubled, store and books agree."""

import threading
from collections.abc import Callable
from dataclasses import replace

from lab.campaign import Campaign
from lab.line import Line
from lab.submit import Told, submit
from lab.waiting import assert_settles, fates, wait_until

#: After how many settled recipients which service is killed.
_KILLS = (
    (60, "relay"),
    (150, "follow"),
    (260, "relay"),
    (330, "ingest"),
    (430, "relay"),
    (560, "follow"),
    (700, "relay"),
)


def test_killed_services_lose_and_double_nothing(make_line: Callable[..., Line], campaign: Campaign) -> None:
    line = make_line()
    line.fill_lists(campaign)
    told: list[Told] = []
    results: list[list[Told]] = []
    how = replace(line.submission(), tries=60)
    client = threading.Thread(target=lambda: results.append(submit(campaign, how, on_told=told.append)))
    client.start()
    for count, name in _KILLS:
        wait_until(lambda count=count: len(told) >= count, f"{count} recipients submitted")  # type: ignore[misc]
        line.kill_service(name)
        line.start_service(name)
    client.join(300)
    assert results, "the client did not come to its end"
    assert any(one.tries > 1 for one in results[0]), "no kill was felt: this scenario proves nothing"

    # While bounces are still coming home and the log still grows, once more.
    wait_until(lambda: any(one.later_code for one in fates(line, campaign)), "a bounce has come home")
    for name in ("ingest", "follow", "relay"):
        line.kill_service(name)
        line.start_service(name)
    assert_settles(line, campaign)
