"""However a span is cut, and wherever a reading goes on: the same trades, each once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from brokersync import TimeWindow, get_broker_provider
from brokersync.plugin import BrokerCursorError, TradeBooking, TradePage, TradeRequest
from brokersync.testing import RunningSandbox

from .logins import KEY, log_in
from .stage import Clock

START, END = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)


class Reader:
    """Asks the provider itself, as core does."""

    def __init__(self, provider: Any, auth: Any, account: Any, clock: Clock) -> None:
        self._provider, self._auth, self._account, self._clock = provider, auth, account, clock

    async def page(self, window: TimeWindow, cursor: str | None = None) -> TradePage:
        request = TradeRequest(source="executions", window=window, accounts=(self._account,), cursor=cursor)
        return await self._clock.patiently(lambda: self._answer(request))

    async def _answer(self, request: TradeRequest) -> TradePage:
        async with aclosing(self._provider.get_trades(self._auth, request)) as answer:
            (page,) = [one async for one in answer]
        assert isinstance(page, TradePage)
        return page

    async def pages(self, window: TimeWindow) -> list[TradePage]:
        found = [await self.page(window)]
        while found[-1].cursor is not None:
            found.append(await self.page(window, found[-1].cursor))
        return found

    async def names(self, window: TimeWindow) -> list[str]:
        return [row.booking_id for page in await self.pages(window) for row in page.bookings]


@pytest.fixture
async def reader(sandbox: RunningSandbox, clock: Clock) -> AsyncIterator[Reader]:
    async with get_broker_provider(KEY, settings=sandbox.settings(), clock=clock) as provider:
        auth = await clock.patiently(lambda: log_in(provider, sandbox.logins[0]))
        accounts = await clock.patiently(lambda: provider.get_accounts(auth))
        yield Reader(provider, auth, accounts[0], clock)


def selected_at(booking: TradeBooking) -> datetime:
    """The time that the source selects by: with `selects_by = "booked"` that of booking, which stands in `raw`."""
    assert booking.trade is not None
    return booking.trade.executed_at


@pytest.mark.parametrize("days", [1, 10, 27])
async def test_two_halves_of_a_span_hold_what_the_span_holds(reader: Reader, days: int) -> None:
    cut = START + timedelta(days=days)

    whole = await reader.names(TimeWindow(START, END))
    halves = [*await reader.names(TimeWindow(START, cut)), *await reader.names(TimeWindow(cut, END))]

    assert len(whole) > 40
    assert sorted(halves) == sorted(whole)


@pytest.mark.parametrize("later", [0, 1])
async def test_a_trade_at_the_very_edge_is_in_one_half_only(reader: Reader, later: int) -> None:
    (page, *_) = await reader.pages(TimeWindow(START, END))
    # in the middle, and no row that only cancels another
    booking = [one for one in page.bookings if one.trade is not None][9]
    cut = selected_at(booking) + timedelta(milliseconds=later)

    before = await reader.names(TimeWindow(START, cut))
    after = await reader.names(TimeWindow(cut, END))

    assert (booking.booking_id in before, booking.booking_id in after) == (later == 1, later == 0)


async def test_a_span_is_covered_as_soon_as_it_was_read(reader: Reader) -> None:
    window = TimeWindow(START, END)
    (*others, last) = await reader.pages(window)

    assert [one.window for one in last.covered] == [window]
    assert not any(page.covered for page in others)
    assert all(page.rows == len(page.bookings) for page in [*others, last])


async def test_a_reading_goes_on_from_any_cursor_as_if_it_had_never_stopped(reader: Reader) -> None:
    window = TimeWindow(START, END)
    pages = await reader.pages(window)

    assert len(pages) > 1
    for before, page in pairwise(pages):
        assert await reader.page(window, before.cursor) == page


async def test_a_cursor_that_is_unknown_begins_the_span_anew(reader: Reader) -> None:
    with pytest.raises(BrokerCursorError):
        await reader.page(TimeWindow(START, END), "no cursor of the broker's")
