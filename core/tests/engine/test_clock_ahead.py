"""One sync by a clock that is ahead: what it closes of days that have not come is open again afterwards."""

from __future__ import annotations

from datetime import timedelta

import pytest

from brokersync.errors import BrokerUnavailableError
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


@pytest.mark.parametrize("ahead_by", [8 * DAY, 30 * DAY], ids=["within the look-back", "beyond it"])
async def test_what_the_source_still_gives_is_read_though_it_was_called_lost(bench: Bench, ahead_by: timedelta) -> None:
    bench.source_is(retention=Retention.LIMITED, look_back=10 * DAY)
    bench.connected_at = NOW - DAY
    await bench.run()
    bench.clock.moment = NOW + 4 * DAY + ahead_by
    await bench.run()
    assert SpanState.LOST in {state for _, _, state in await bench.spans()}
    bench.clock.moment = NOW + 4 * DAY
    await bench.run()
    assert await bench.spans() == [
        (START, TODAY + 4 * DAY, SpanState.FINAL),
        (TODAY + 4 * DAY, NOW + 4 * DAY, SpanState.PROVISIONAL),
    ]


async def test_what_it_called_lost_when_the_broker_answered_nothing_is_read_too(bench: Bench) -> None:
    bench.source_is(retention=Retention.LIMITED, look_back=10 * DAY)
    await bench.run()
    bench.clock.moment = NOW + 34 * DAY
    bench.answer = lambda request: [BrokerUnavailableError("down")]
    await bench.run()
    bench.failing_since = bench.clock.moment
    bench.clock.moment = NOW + 4 * DAY
    bench.answer = lambda request: [page(request)]
    await bench.run()
    assert SpanState.LOST not in {state for _, _, state in await bench.spans()}


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
