"""An account that its broker has closed is read to its end, and then no more."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
import pytest

from brokersync.events import HistoryLost
from brokersync.manifest import Retention, SourceScope
from brokersync.records import Done
from brokersync.types import Finality

from .bench import DAY, NOW, A, B, Bench, page

DAYS_TO_SETTLE = 30


async def asked(bench: Bench, moment: datetime) -> set[str]:
    """The accounts that a sync at that moment asks for."""
    bench.clock.moment = moment
    assert isinstance(await bench.run(), Done)
    return {one.account_id for request in bench.requests for one in request.accounts}


def close(bench: Bench, at: datetime | None = None) -> None:
    bench.accounts = (attrs.evolve(A, closed=True, closed_at=at), B)


@pytest.mark.parametrize("retention", [Retention.UNLIMITED, Retention.LIMITED, Retention.SESSION])
@pytest.mark.parametrize("told", [True, False])
async def test_a_closed_account_is_read_for_thirty_days_and_then_no_more(
    bench: Bench, retention: Retention, told: bool
) -> None:
    look_back = 60 * DAY if retention is Retention.LIMITED else None
    bench.source_is(retention=retention, look_back=look_back, reread=3 * DAY)
    if retention is Retention.SESSION:
        bench.answer = lambda request: [page(request, finality=Finality.PROVISIONAL)]
    bench.connected_at = NOW
    close(bench, NOW if told else None)
    for day in range(DAYS_TO_SETTLE + 1):
        assert await asked(bench, NOW + day * DAY) == {"A", "B"}
    # its last days become final, and are read again as the source says
    for day in range(DAYS_TO_SETTLE + 1, DAYS_TO_SETTLE + 6):
        assert "B" in await asked(bench, NOW + day * DAY)
    for day in range(DAYS_TO_SETTLE + 6, DAYS_TO_SETTLE + 9):
        assert await asked(bench, NOW + day * DAY) == {"B"}
    lost = [one for one in bench.events if isinstance(one, HistoryLost) and one.window.end > NOW + 32 * DAY]
    assert [one for one in lost if one.account_id == "A"] == []


async def test_the_history_of_an_account_that_was_closed_long_ago_is_read_once(bench: Bench) -> None:
    bench.since = None
    bench.accounts = (attrs.evolve(A, closed=True, opened_at=NOW - 300 * DAY, closed_at=NOW - 200 * DAY),)
    assert await asked(bench, NOW) == {"A"}
    assert max(request.window.end for request in bench.requests) <= NOW - 169 * DAY
    assert min(request.window.start for request in bench.requests) <= NOW - 300 * DAY
    assert await asked(bench, NOW + timedelta(hours=2)) == set()


async def test_an_account_that_is_open_again_has_all_days_read_that_were_left_out(bench: Bench) -> None:
    close(bench, NOW)
    await asked(bench, NOW + 40 * DAY)
    assert await asked(bench, NOW + 90 * DAY) == {"B"}
    bench.accounts = (A, B)
    assert await asked(bench, NOW + 91 * DAY) == {"A", "B"}
    (mine,) = [one.window for one in bench.requests if one.accounts[0].account_id == "A"]
    assert (mine.start <= NOW + 31 * DAY, mine.end >= NOW + 90 * DAY) == (True, True)


async def test_a_request_for_a_whole_login_goes_on_with_its_closed_accounts(bench: Bench) -> None:
    bench.source_is(scope=SourceScope.LOGIN)
    bench.accounts = (attrs.evolve(A, closed=True, closed_at=NOW),)
    assert await asked(bench, NOW + 90 * DAY) == {"A"}
    assert await asked(bench, NOW + 91 * DAY) == {"A"}
