"""A request read to its end through the plugin's own generator, as core's engine reads it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

import attrs

from brokersync.errors import BrokerResponseError
from brokersync.manifest import CalendarUnit, Retention, SourceScope, SourceSpec
from brokersync.sync.days import day_floor, next_day
from brokersync.testing.contract.expecting import content
from brokersync.types import (
    BrokerAccount,
    BrokerTrade,
    CoveredSpan,
    QuarantinedRow,
    TimeWindow,
    TradeBooking,
    TradePage,
    TradeRequest,
)

MOST_PAGES: Final = 5000
_TRIED = timedelta(days=20)

Ask = Callable[[TradeRequest], AsyncGenerator[TradePage, None]]
Wait = Callable[[datetime], Awaitable[None] | None]


@attrs.define(slots=False)
class Reading:
    """The pages of one request, and the error that ended it."""

    request: TradeRequest
    pages: list[TradePage] = attrs.field(factory=list, repr=False)
    error: BaseException | None = None

    @property
    def asked(self) -> tuple[str, frozenset[str]]:
        """The source and the accounts that it was asked for."""
        return self.request.source, frozenset(one.account_id for one in self.request.accounts)

    @property
    def bookings(self) -> list[TradeBooking]:
        return [booking for page in self.pages for booking in page.bookings]

    @property
    def trades(self) -> list[BrokerTrade]:
        return [booking.trade for booking in self.bookings if booking.trade is not None]

    @property
    def quarantined(self) -> list[QuarantinedRow]:
        return [row for page in self.pages for row in page.quarantined]

    @property
    def covered(self) -> list[CoveredSpan]:
        return [span for page in self.pages for span in page.covered]

    @property
    def unmapped(self) -> int:
        return sum(count for page in self.pages for count in page.unmapped.values())

    @property
    def disposed(self) -> int:
        return sum(page.disposed for page in self.pages)

    @property
    def ids(self) -> list[str]:
        """The names of all bookings, sorted, as often as they came."""
        return sorted(booking.booking_id for booking in self.bookings)

    @cached_property
    def contents(self) -> dict[str, TradeBooking]:
        """Each booking without its raw row, by its name and, where a name came again, its turn; of a whole reading."""
        alike: dict[str, list[TradeBooking]] = {}
        for booking in map(content, self.bookings):
            alike.setdefault(booking.booking_id, []).append(booking)
        return {
            name + "'" * turn: booking
            for name, ones in alike.items()
            for turn, booking in enumerate(sorted(ones, key=repr) if len(ones) > 1 else ones)
        }

    def __str__(self) -> str:
        accounts = ", ".join(one.account_id for one in self.request.accounts) or "the login"
        window = self.request.window
        return f"{self.request.source} of {accounts}, {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M}"


async def read(ask: Ask, request: TradeRequest, *, wait: Wait, most: int = MOST_PAGES) -> Reading:
    """All pages of a request, from cursor to cursor; an error that the plugin raises is kept in the reading.

    `wait` is told until when the broker needs time. More than `most` pages are an error of the plugin.
    """
    reading, seen = Reading(request), {request.cursor}
    while True:
        last = await _follow(ask, request, reading, most)
        if reading.error is not None or last is None or last.cursor is None:
            return reading
        if last.resume_at is not None:
            waiting = wait(last.resume_at)
            if waiting is not None:
                await waiting
        elif last.cursor in seen:
            reading.error = BrokerResponseError("The broker's paging does not move on.")
            return reading
        seen.add(last.cursor)
        request = attrs.evolve(request, cursor=last.cursor)


async def _follow(ask: Ask, request: TradeRequest, reading: Reading, most: int) -> TradePage | None:
    last: TradePage | None = None
    try:
        async with aclosing(ask(request)) as pages:
            async for page in pages:
                reading.pages.append(page)
                last = page
                if len(reading.pages) > most:
                    raise RuntimeError(f"it gave more than {most} pages")
                if page.resume_at is not None:
                    break
    except Exception as error:  # noqa: BLE001  a check tells what the plugin raised, whatever it is
        reading.error = error
    return last


def sources_of(sources: tuple[SourceSpec, ...]) -> list[SourceSpec]:
    """Those that are asked for over the network."""
    return [source for source in sources if not source.files]


def tried_window(source: SourceSpec, now: datetime, longest: timedelta = _TRIED) -> TimeWindow:
    """A span of the source that can be asked for now, of some days where it has them."""
    calendar = source.calendar
    if calendar.unit is CalendarUnit.INSTANT:
        return TimeWindow(now - min(longest, source.longest_window or longest), now)
    today = day_floor(now, calendar)
    if source.retention is Retention.SESSION:
        return TimeWindow(today, next_day(today, calendar))
    settled = day_floor(now - source.finality_lag, calendar)
    end = next_day(today, calendar) if source.open_day else settled
    days = min(longest, source.longest_window or longest, source.look_back or longest)
    start = day_floor(end - days + timedelta(hours=2), calendar)
    return TimeWindow(start, end) if start < end else TimeWindow(day_floor(end - timedelta(hours=1), calendar), end)


def requests(
    sources: tuple[SourceSpec, ...], accounts: tuple[BrokerAccount, ...], now: datetime, **more: Any
) -> Iterator[TradeRequest]:
    """What is asked of each source of each account, or once for the whole login."""
    for source in sources_of(sources):
        window = tried_window(source, now, **more)
        if source.scope is SourceScope.LOGIN:
            yield TradeRequest(source=source.name, window=window, accounts=accounts)
            continue
        for account in accounts:
            yield TradeRequest(source=source.name, window=window, accounts=(account,))
