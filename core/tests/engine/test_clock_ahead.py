"""One sync by a clock that is ahead: what it closes of days that have not come is open again afterwards."""

from __future__ import annotations

from datetime import timedelta

import pytest

from brokersync.manifest import Calendar, CalendarUnit, Retention, SourceScope
from brokersync.records import SpanState
from brokersync.sync.ledger import subtract, union
from brokersync.types import Finality, TimeWindow

from .bench import DAY, NOW, START, TODAY, Bench, page

AHEAD = 20 * DAY


async def ahead(bench: Bench) -> None:
    await bench.run()
    bench.clock.moment = NOW + AHEAD
    await bench.run()
    bench.clock.moment = NOW + timedelta(hours=3)
    await bench.run()


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"open_day": False, "finality_lag": DAY},
        {"scope": SourceScope.LOGIN},
        {"retention": Retention.LIMITED, "look_back": 5 * DAY},
        {"calendar": Calendar(unit=CalendarUnit.INSTANT)},
    ],
    ids=["days", "whole days", "login", "limited", "instants"],
)
async def test_every_day_that_it_called_read_is_asked_for_again(bench: Bench, facts: dict[str, object]) -> None:
    bench.source_is(**facts)
    await ahead(bench)
    asked: list[TimeWindow] = []
    for later in range(1, 12):
        bench.clock.moment = NOW + later * DAY
        await bench.run()
        asked += [request.window for request in bench.requests]
    assert subtract([TimeWindow(TODAY + DAY, TODAY + 9 * DAY)], union(asked)) == []


async def test_a_session_is_read_that_it_called_lost(bench: Bench) -> None:
    bench.source_is(retention=Retention.SESSION, scope=SourceScope.LOGIN)
    bench.answer = lambda request: [page(request, finality=Finality.PROVISIONAL)]
    bench.connected_at = NOW
    await ahead(bench)
    assert [request.window for request in bench.requests] == [TimeWindow(TODAY, TODAY + DAY)]
    assert not [span for span in await bench.spans() if span[2] is SpanState.LOST and span[1] > bench.clock.moment]


async def test_nothing_is_final_that_was_not_yet_so_by_the_right_clock(bench: Bench) -> None:
    bench.source_is(open_day=False, finality_lag=2 * DAY)
    await ahead(bench)
    finals = [end for _, end, state in await bench.spans() if state is SpanState.FINAL]
    assert max(finals, default=START) <= NOW + timedelta(hours=3) - 2 * DAY


async def test_a_clock_that_is_a_little_ahead_takes_nothing_back(bench: Bench) -> None:
    bench.source_is(calendar=Calendar(unit=CalendarUnit.INSTANT))
    bench.clock.moment = NOW + timedelta(seconds=30)
    await bench.run()
    before = await bench.spans()
    bench.clock.moment = NOW
    await bench.run()
    assert await bench.spans() == before
