"""A source that keeps so many days only drops the first of them while they are read."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from brokersync.errors import BrokerRateLimitError, BrokerUnavailableError
from brokersync.manifest import Calendar, CalendarUnit, Retention, SourceScope
from brokersync.records import SpanState
from brokersync.types import Finality, TradeRequest

from .bench import DAY, NOW, START, TODAY, A, Bench, Step, fill, page, step

FINAL = SpanState.FINAL


@pytest.fixture
def limited(bench: Bench) -> Bench:
    bench.source_is(retention=Retention.LIMITED, look_back=5 * DAY)
    return bench


def broken_off(request: TradeRequest) -> list[Step]:
    return [step(fill("1"), cursor="page 2"), BrokerUnavailableError("down")]


async def test_a_place_is_given_up_when_rows_before_it_were_dropped(limited: Bench) -> None:
    limited.answer = broken_off
    await limited.run()
    limited.clock.moment = NOW + DAY
    limited.answer = lambda request: [page(request, fill("2"))]
    await limited.run()
    assert [(request.cursor, request.window.start) for request in limited.requests] == [
        (None, TODAY + DAY),
        (None, START + DAY),
    ]
    assert (await limited.spans())[0] == (START, START + DAY, SpanState.LOST)


async def test_a_place_in_a_window_that_is_still_whole_is_kept(limited: Bench) -> None:
    limited.source_is(look_back=9 * DAY)
    limited.answer = broken_off
    await limited.run()
    limited.clock.moment = NOW + DAY
    limited.answer = lambda request: [page(request, fill("2"))]
    await limited.run()
    assert limited.requests[0].cursor == "page 2"


async def test_a_place_that_was_left_after_the_drop_is_kept(limited: Bench) -> None:
    ready = TODAY + DAY + timedelta(hours=1)
    limited.answer = lambda request: [step(cursor="ticket", resume_at=ready)]
    await limited.run()
    limited.clock.moment = ready
    limited.answer = lambda request: [page(request, fill("1"))]
    await limited.run()
    assert limited.requests[0].cursor == "ticket"
    assert (await limited.spans())[0] == (START, TODAY, FINAL)


async def test_pages_before_and_after_the_drop_prove_nothing_and_are_read_again(limited: Bench) -> None:
    def midnight() -> None:
        limited.clock.moment = TODAY + DAY

    limited.answer = lambda request: [step(fill("1"), cursor="page 2"), midnight, page(request, fill("3"))]
    await limited.run()
    assert await limited.ids() == ["1", "3"]
    assert await limited.spans() == []
    limited.answer = lambda request: [page(request, fill("2"), fill("3"))]
    await limited.run()
    assert (await limited.spans())[:2] == [(START, START + DAY, SpanState.LOST), (START + DAY, TODAY + DAY, FINAL)]


@pytest.mark.parametrize("retention", [Retention.LIMITED, Retention.SESSION])
async def test_an_answer_at_the_very_end_of_a_day_proves_nothing_for_the_broker_may_call_it_the_next(
    bench: Bench, retention: Retention
) -> None:
    bench.source_is(retention=retention, look_back=5 * DAY, scope=SourceScope.LOGIN)
    bench.connected_at = NOW
    bench.clock.moment = TODAY + DAY - timedelta(seconds=2)
    bench.answer = lambda request: [page(request, finality=Finality.PROVISIONAL)]
    await bench.run()
    assert await bench.spans() == []


async def test_a_window_that_is_never_read_within_a_day_is_asked_for_in_halves(limited: Bench) -> None:
    limited.source_is(look_back=40 * DAY, finality_lag=timedelta(0), open_day=False)
    limited.since, limited.accounts = None, (attrs.evolve(A, opened_at=None),)

    def answer(request: TradeRequest) -> list[Step]:
        if request.window.length > 25 * DAY:
            return [step(fill("1"), cursor=f"{request.cursor}+"), BrokerRateLimitError("slow", retry_after=DAY / 2)]
        return [page(request, fill("2"))]

    limited.answer = answer
    for _ in range(6):
        await limited.run()
        limited.clock.moment += DAY
    read = [end - start for start, end, state in await limited.spans() if state is FINAL]
    assert sum(read, timedelta(0)) >= 40 * DAY


async def test_a_source_that_counts_in_instants_is_read_from_place_to_place(limited: Bench) -> None:
    limited.source_is(calendar=Calendar(unit=CalendarUnit.INSTANT))
    limited.answer = broken_off
    await limited.run()
    limited.clock.moment = NOW + timedelta(minutes=5)
    limited.answer = lambda request: [page(request, fill("2"))]
    await limited.run()
    assert limited.requests[0].cursor == "page 2"
    assert SpanState.FINAL in {state for _, _, state in await limited.spans()}
