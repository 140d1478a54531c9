"""The ledger closes no span that a page did not prove."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
import pytest

from brokersync.errors import (
    BrokerDataUnavailableError,
    BrokerError,
    BrokerRateLimitError,
    BrokerUnavailableError,
    DataUnavailableReason,
)
from brokersync.manifest import Calendar, CalendarUnit, SourceScope
from brokersync.records import SpanState
from brokersync.types import CoveredSpan, TimeWindow, TradePage, TradeRequest

from .bench import DAY, NOW, START, TODAY, A, B, Bench, Step, fill, page, problems, step

FINAL, PROVISIONAL, LOST, UNAVAILABLE = SpanState.FINAL, SpanState.PROVISIONAL, SpanState.LOST, SpanState.UNAVAILABLE
EXPIRED, BEFORE = DataUnavailableReason.EXPIRED, DataUnavailableReason.BEFORE_ACCOUNT
NO_SUCH_DATA = DataUnavailableReason.NO_SUCH_DATA


def unavailable(reason: DataUnavailableReason) -> BrokerError:
    return BrokerDataUnavailableError("not here", reason=reason)


async def test_an_error_behind_a_page_that_covers_leaves_the_rest_open(bench: Bench) -> None:
    bench.source_is(open_day=False)
    bench.answer = lambda request: [
        page(request, fill("1"), window=TimeWindow(START, START + 2 * DAY), cursor="a"),
        BrokerUnavailableError("down"),
    ]
    await bench.run()
    assert await bench.spans() == [(START, START + 2 * DAY, FINAL)]


async def test_a_page_proves_nothing_that_came_after_it_was_made(bench: Bench) -> None:
    bench.source_is(open_day=False)
    made = TODAY - DAY + timedelta(hours=5)
    bench.answer = lambda request: [page(request, fill("1"), as_of=min(made, NOW))]
    await bench.run()
    assert await bench.spans() == [(START, TODAY - DAY, FINAL), (TODAY - DAY, made, PROVISIONAL)]
    made = NOW
    await bench.run()
    assert bench.requests[-1].window.start <= TODAY - DAY
    assert await bench.spans() == [(START, TODAY, FINAL)]


@pytest.mark.parametrize("last", [NOW, None])
async def test_a_page_proves_nothing_that_came_after_an_earlier_one_was_made(
    bench: Bench, last: datetime | None
) -> None:
    bench.source_is(open_day=False)
    made = TODAY - DAY + timedelta(hours=5)
    bench.answer = lambda request: [
        TradePage(bookings=(fill("new", at=made - timedelta(hours=1)),), cursor="2", as_of=made),
        page(request, fill("old"), as_of=last),
    ]
    await bench.run()
    assert await bench.spans() == [(START, TODAY - DAY, FINAL), (TODAY - DAY, made, PROVISIONAL)]


async def test_a_reading_that_was_left_is_bounded_by_the_pages_before(bench: Bench) -> None:
    bench.source_is(open_day=False)
    made = TODAY - DAY + timedelta(hours=5)
    first = TradePage(bookings=(fill("new", at=made - timedelta(hours=1)),), cursor="2", as_of=made)
    bench.answer = lambda request: (
        [first, BrokerUnavailableError("down")] if request.cursor is None else [page(request, as_of=NOW)]
    )
    await bench.run()
    await bench.run()
    assert bench.requests[-1].cursor == "2"
    assert await bench.spans() == [(START, TODAY - DAY, FINAL), (TODAY - DAY, made, PROVISIONAL)]


async def test_a_page_bounds_no_later_one_where_it_covers_what_it_tells_of(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(open_day=False, scope=SourceScope.LOGIN)
    made = START + DAY

    def claim(account: str, window: TimeWindow) -> tuple[CoveredSpan, ...]:
        return (CoveredSpan(account_id=account, environment="live", window=window),)

    bench.answer = lambda request: [
        TradePage(bookings=(fill("a"),), covered=claim("A", TimeWindow(START, made)), as_of=made, cursor="2"),
        TradePage(covered=claim("A", TimeWindow(made, TODAY)), as_of=NOW, cursor="3"),
        TradePage(covered=claim("B", request.window), as_of=NOW),
    ]
    await bench.run()
    assert await bench.spans("A") == await bench.spans("B") == [(START, TODAY, FINAL)]


async def test_a_stale_page_that_covers_less_than_it_tells_of_bounds_what_it_does_not_cover(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(open_day=False, scope=SourceScope.LOGIN)
    made = TODAY - DAY + timedelta(hours=5)

    def claim(account: str, window: TimeWindow) -> CoveredSpan:
        return CoveredSpan(account_id=account, environment="live", window=window)

    bench.answer = lambda request: [
        TradePage(
            bookings=(fill("b", "B"), fill("c", "C")), covered=(claim("B", request.window),), as_of=made, cursor="2"
        ),
        TradePage(covered=(claim("A", request.window),), as_of=NOW),
    ]
    await bench.run()
    assert await bench.spans("A") == [(START, TODAY - DAY, FINAL), (TODAY - DAY, made, PROVISIONAL)]


async def test_an_answer_that_ends_without_covering_all_leaves_the_rest_open(bench: Bench) -> None:
    bench.source_is(open_day=False)
    bench.answer = lambda request: [page(request, window=TimeWindow(START + DAY, START + 2 * DAY))]
    await bench.run()
    assert await bench.spans() == [(START + DAY, START + 2 * DAY, FINAL)]
    await bench.run()
    assert [request.window for request in bench.requests] == [
        TimeWindow(START + 2 * DAY, TODAY),
        TimeWindow(START, START + DAY),
    ]


async def test_a_page_proves_nothing_of_an_account_that_was_not_asked_for(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(open_day=False)

    def answer(request: TradeRequest) -> list[Step]:
        if request.accounts == (B,):
            return []
        claims = tuple(CoveredSpan(account_id=name, environment="live", window=request.window) for name in "AB")
        return [TradePage(covered=claims)]

    bench.answer = answer
    await bench.run()
    assert await bench.spans("A") == [(START, TODAY, FINAL)]
    assert await bench.spans("B") == []


async def test_a_login_tells_of_accounts_that_it_was_not_asked_for(bench: Bench) -> None:
    bench.source_is(scope=SourceScope.LOGIN, open_day=False)
    claims = tuple(CoveredSpan(account_id=name, environment="live", window=TimeWindow(START, TODAY)) for name in "AB")
    bench.answer = lambda request: [TradePage(covered=claims)]
    await bench.run()
    assert await bench.spans("B") == [(START, TODAY, FINAL)]


async def test_a_reading_that_goes_on_proves_nothing_of_an_account_that_came_up_since(bench: Bench) -> None:
    bench.source_is(scope=SourceScope.LOGIN, open_day=False)
    bench.answer = lambda request: [step(fill("1"), cursor="a"), BrokerUnavailableError("down")]
    await bench.run()
    bench.accounts = (A, B)
    seen: list[tuple[str | None, int]] = []

    def answer(request: TradeRequest) -> list[Step]:
        seen.append((request.cursor, len(request.accounts)))
        return [page(request)] if request.cursor else [step(fill("0", "B")), BrokerUnavailableError("down")]

    bench.answer = answer
    await bench.run()
    assert seen[0] == ("a", 2)
    assert await bench.spans("A") == [(START, TODAY, FINAL)]
    assert await bench.spans("B") == []
    bench.answer = lambda request: [page(request, fill("0", "B"))]
    bench.clock.moment += timedelta(hours=2)
    await bench.run()
    assert await bench.spans("B") == [(START, TODAY, FINAL)]


async def test_a_bookmark_is_not_handed_to_a_request_for_a_hole_behind_it(bench: Bench) -> None:
    bench.source_is(longest_window=2 * DAY, open_day=False)
    bench.since = START - DAY
    bench.accounts = (attrs.evolve(A, opened_at=START - DAY),)
    hole = TimeWindow(START + DAY, START + 3 * DAY)
    bench.answer = lambda request: [
        BrokerUnavailableError("down") if request.window == hole else page(request, bookmark=str(request.window.end))
    ]
    await bench.run()
    assert len(await bench.spans()) == 2
    bench.clock.moment += 2 * DAY
    await bench.run()
    handed = {request.window: request.bookmark for request in bench.requests}
    assert handed[hole] is None
    assert handed[TimeWindow(TODAY, TODAY + 2 * DAY)] is not None


async def test_a_bookmark_is_not_handed_to_a_request_that_holds_a_hole(bench: Bench) -> None:
    bench.source_is(open_day=False)
    bench.answer = lambda request: [page(request, window=TimeWindow(START, START + DAY), bookmark="1")]
    await bench.run()
    assert await bench.store.bookmark("c", "fills", "live/A") is None, "rows before it were not read"
    bench.answer = lambda request: [page(request, bookmark="5")]
    await bench.run()
    assert await bench.store.bookmark("c", "fills", "live/A") == "5"
    bench.accounts = (attrs.evolve(A, opened_at=START - 9 * DAY),)
    bench.since = START - 9 * DAY
    bench.answer = lambda request: [page(request, window=TimeWindow(START - 9 * DAY, START - 5 * DAY))]
    await bench.run()
    bench.source_is(reread=20 * DAY)
    await bench.run()
    assert [(request.window.start, request.bookmark) for request in bench.requests] == [(START - 9 * DAY, None)]


async def test_the_bookmark_of_a_login_counts_only_when_all_its_accounts_were_read(bench: Bench) -> None:
    bench.source_is(scope=SourceScope.LOGIN, open_day=False)
    bench.accounts = (A, B)
    only_a = CoveredSpan(account_id="A", environment="live", window=TimeWindow(START, TODAY))
    bench.answer = lambda request: [TradePage(covered=(only_a,), bookmark="9")]
    await bench.run()
    assert await bench.store.bookmark("c", "fills", "") is None


async def test_a_broker_that_gave_rows_and_then_says_that_there_are_none_is_not_believed(bench: Bench) -> None:
    bench.clock.moment = NOW + 60 * DAY
    bench.source_is(longest_window=DAY)
    first = TimeWindow(START, START + DAY)

    def answer(request: TradeRequest) -> list[Step]:
        return [step(fill("1"), cursor="a"), unavailable(NO_SUCH_DATA)] if request.window == first else [page(request)]

    bench.answer = answer
    report = (await bench.run()).report
    assert problems(report) == ["BrokerDataUnavailableError"]
    assert (await bench.spans())[0] == (START + DAY, TODAY + 60 * DAY, FINAL)


async def test_a_broker_that_gave_rows_is_not_believed_when_it_goes_on_either(bench: Bench) -> None:
    bench.clock.moment = NOW + 60 * DAY
    bench.source_is(open_day=False)
    bench.answer = lambda request: [step(fill("1"), cursor="a"), BrokerRateLimitError("later")]
    await bench.run()
    bench.clock.moment += 30 * DAY
    bench.answer = lambda request: [unavailable(NO_SUCH_DATA)] if request.cursor else []
    await bench.run()
    assert await bench.spans() == []


@pytest.mark.parametrize(("reason", "state"), [(EXPIRED, LOST), (BEFORE, UNAVAILABLE)])
async def test_a_window_that_reaches_too_far_back_is_given_up_only_as_far_as_it_does(
    bench: Bench, reason: DataUnavailableReason, state: SpanState
) -> None:
    bench.source_is(open_day=False)
    bench.since = START - 300 * DAY
    bench.accounts = (attrs.evolve(A, opened_at=bench.since),)
    border = START - 77 * DAY
    bench.answer = lambda request: [unavailable(reason) if request.window.start < border else page(request)]
    outcome = await bench.run()
    assert problems(outcome.report) == []
    assert await bench.spans() == [(START - 300 * DAY, border, state), (border, TODAY, FINAL)]
    assert len(bench.requests) <= 10
    await bench.run()
    assert bench.requests == []


async def test_a_window_of_which_nothing_can_be_had_is_given_up_in_few_requests(bench: Bench) -> None:
    bench.source_is(open_day=False)
    bench.since = START - 300 * DAY
    bench.accounts = (attrs.evolve(A, opened_at=bench.since),)
    bench.answer = lambda request: [unavailable(EXPIRED)]
    await bench.run()
    assert await bench.spans() == [(START - 300 * DAY, TODAY, LOST)]
    assert len(bench.requests) <= 10


async def test_a_search_that_a_limit_breaks_off_goes_on_with_what_is_left(bench: Bench) -> None:
    bench.source_is(open_day=False)
    border = START + 3 * DAY
    allowed = [2]

    def answer(request: TradeRequest) -> list[Step]:
        if not allowed[0]:
            return [BrokerRateLimitError("later")]
        allowed[0] -= 1
        return [unavailable(EXPIRED) if request.window.start < border else page(request)]

    bench.answer = answer
    for _ in range(5):
        await bench.run()
        allowed[0] = 2
    assert await bench.spans() == [(START, border, LOST), (border, TODAY, FINAL)]


async def test_a_search_goes_down_to_minutes_where_the_source_counts_in_instants(bench: Bench) -> None:
    bench.source_is(calendar=Calendar(unit=CalendarUnit.INSTANT))
    border = NOW - timedelta(hours=7)
    bench.answer = lambda request: [unavailable(EXPIRED) if request.window.start < border else page(request)]
    await bench.run()
    (lost, *_) = await bench.spans()
    assert lost[::2] == (START, LOST)
    assert timedelta(0) <= lost[1] - border <= timedelta(minutes=2)
    assert len(bench.requests) <= 15
