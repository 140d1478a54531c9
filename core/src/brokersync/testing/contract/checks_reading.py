"""Checks of reading: windows, cursors, pages, coverage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

import attrs

from brokersync.enums import Finality, IdQuality
from brokersync.manifest import CalendarUnit, Retention
from brokersync.sync.days import day_floor
from brokersync.testing.answers import Body
from brokersync.testing.contract.alterations import FORM_OF_TIME
from brokersync.testing.contract.base import OVER_THE_NETWORK, ContractBase
from brokersync.testing.contract.changing import (
    answers_of,
    changed,
    drawn,
    expect_same,
    main_rows,
    native_ids,
    put,
    samples,
)
from brokersync.testing.contract.expecting import expect, told
from brokersync.testing.contract.paging import MANY_PAGES
from brokersync.testing.contract.reading import Reading, sources_of
from brokersync.testing.contract.times import time_in, unseen_form
from brokersync.testing.contract.written import HOW_ROWS_ARE_KNOWN
from brokersync.types import TimeWindow, TradeBooking

_MOST_CUTS: Final = 6
_Place: TypeAlias = tuple[TradeBooking, str, str, Callable[[datetime], str]]


class ReadingChecks(ContractBase):
    """Of `get_trades`."""

    async def test_a_second_reading_gives_the_same(self) -> None:
        """Twice by one provider, and by one that knows nothing yet."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            for before in readings:
                expect_same(await stage.read(auth, before.request), before, "a second reading differs")
                stage.open()
                expect_same(await stage.read(auth, before.request), before, "a fresh provider reads it otherwise")

    async def test_a_second_sync_changes_nothing(self) -> None:
        """What is read again is known again."""
        self.needs(sources_of(self.manifest.sources), OVER_THE_NETWORK)
        async with self.stage() as stage, stage.service() as service:
            connection = await self.connect(service)
            first = await service.sync(connection)
            expect(first.added, "the first sync brings no trade")
            before = await service.trades()
            again = await service.sync(connection)
            expect(
                (again.added, again.modified, again.removed) == (0, 0, 0),
                f"a second sync adds {again.added}, modifies {again.modified} and removes {again.removed} trades",
            )
            expect(await service.trades() == before, "a second sync changes trades")

    async def test_windows_may_be_cut_anywhere(self) -> None:
        """Two windows side by side hold what the one over both of them holds."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            tried = False
            for whole in samples(readings):
                for cut in self._cuts(whole):
                    tried = True
                    window = whole.request.window
                    halves = [
                        await stage.read(auth, attrs.evolve(whole.request, window=part))
                        for part in (TimeWindow(window.start, cut), TimeWindow(cut, window.end))
                    ]
                    what = f"cut at {cut:%Y-%m-%d %H:%M:%S.%f}, the two halves hold other rows"
                    expect_same(_joined(whole, halves), whole, what)
            if not tried:
                self.cannot_try("the sources have no window that could be cut")

    async def test_a_row_at_the_edge_of_a_window_is_kept(self) -> None:
        """A trade at the very start of a window is in it."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            tried, answers = False, list[Body]()
            for sample in samples(readings):
                before, found = await answers_of(stage, auth, sample.request)
                answers += found
                start = sample.request.window.start
                for booking, path, name, write in _times(before, found, self.wall_times)[:2]:
                    change = put(path, name, native_ids(booking), _always(write(start)))
                    again, made = await changed(stage, auth, sample.request, change)
                    tried = tried or made > 0
                    after = next((one for one in again.bookings if one.booking_id == booking.booking_id), None)
                    expect(
                        again.error is None and after is not None,
                        f"{booking.booking_id} at the start of the window, {start}, is lost: {told(again.error)}",
                    )
            unseen = unseen_form(answers, self.wall_times) if answers else None
            expect(
                unseen is None,
                f"`wall_times` of the suite's class declares {unseen!r}, and no cell of any answer is written so: no"
                " time was moved to the edge in this form; declare the one that the broker writes, or none",
            )
            if not tried:
                self.cannot_try(
                    f"no time of a trade is in a form that the suite can write, which is {FORM_OF_TIME}, or"
                    f" one that `wall_times` of the suite's class declares; {HOW_ROWS_ARE_KNOWN}"
                )

    async def test_coverage_claims_only_what_was_read(self) -> None:
        """Inside what was asked, and nothing of a reading that broke off whose rows did not come."""
        async with self.stage(**MANY_PAGES) as stage:
            auth, readings = await self.readings(stage)
            for whole in readings:
                _check_spans(whole, stage.clock.now())
            for whole in samples(readings):
                stage.open()
                since = len(stage.server.exchanges)
                await stage.read(auth, whole.request)
                count = len(stage.server.exchanges) - since
                for after in drawn(self.random("broken", whole.request.source), list(range(count)), 12):
                    stage.open()
                    stage.server.show("status_400", after=after, times=None)
                    broken = await stage.read(auth, whole.request)
                    stage.server.clear()
                    _check_claims(broken, whole, f"request {after + 1} of {count} is refused")

    async def test_what_was_read_to_its_end_is_covered(self) -> None:
        """For each account that was asked for, with trades or without."""
        self.needs(sources_of(self.manifest.sources), OVER_THE_NETWORK)
        for mean in (4, 0):
            async with self.stage(trades_per_day=mean) as stage:
                auth = await self.log_in(stage)
                for request in stage.requests(await stage.accounts(auth)):
                    reading = await stage.read(auth, request)
                    expect(reading.error is None, f"{reading} failed with {told(reading.error)}")
                    covered = {span.account_id for span in reading.covered}
                    for account in request.accounts:
                        expect(
                            account.account_id in covered,
                            f"{reading} was read with {len(reading.bookings)} rows, and of {account.account_id} nothing"
                            " is covered: it will be asked for again and again",
                        )

    def _cuts(self, whole: Reading) -> list[datetime]:
        source = self.manifest.source(whole.request.source)
        window = whole.request.window
        if source.retention is Retention.SESSION:
            return []
        moments = [booking.trade.executed_at for booking in whole.bookings if booking.trade is not None]
        if source.calendar.unit is CalendarUnit.INSTANT:
            found = {moment + late for moment in moments for late in (timedelta(0), timedelta(milliseconds=1))}
        else:
            found = {day_floor(moment, source.calendar) for moment in moments}
        inside = sorted(one for one in found if window.start < one < window.end)
        return drawn(self.random("cuts", source.name), inside, _MOST_CUTS)


def _joined(whole: Reading, halves: list[Reading]) -> Reading:
    """Both halves as one reading; a row with an id of the broker's may come in both."""
    error = next((half.error for half in halves if half.error is not None), None)
    joined = Reading(whole.request, [page for half in halves for page in half.pages], error)
    known: set[str] = set()
    pages = []
    for page in joined.pages:
        kept = [one for one in page.bookings if one.id_quality is IdQuality.SYNTHETIC or one.booking_id not in known]
        known |= {one.booking_id for one in kept}
        pages.append(attrs.evolve(page, bookings=tuple(kept)))
    return Reading(whole.request, pages, error)


def _check_spans(reading: Reading, now: datetime) -> None:
    asked = {(one.environment, one.account_id) for one in reading.request.accounts}
    asked |= {(one.environment, one.account_id) for page in reading.pages for one in page.accounts}
    for span in reading.covered:
        window = span.window
        expect(
            reading.request.window.start <= window.start and window.end <= reading.request.window.end,
            f"{reading} covers {window.start} to {window.end}, which was not asked for",
        )
        expect((span.environment, span.account_id) in asked, f"{reading} covers the account {span.account_id}")
        expect(
            span.finality is not Finality.FINAL or window.start < now,
            f"{reading} covers {window.start} to {window.end} as final, and it is {now}",
        )


def _check_claims(broken: Reading, whole: Reading, why: str) -> None:
    """What is covered of a reading that met a refusal holds all rows that the whole reading has there."""
    came = Counter(broken.ids) + Counter(row.row_id or "" for row in broken.quarantined)
    for span in broken.covered:
        for booking in whole.bookings:
            if _lies_in(booking, span.account_id, span.window):
                expect(
                    came[booking.booking_id],
                    f"{why}, and {broken} covers {span.window.start} to {span.window.end} all the same, without"
                    f" {booking.booking_id}: an error, or nothing covered",
                )
    expect(
        broken.error is not None or set(broken.ids) == set(whole.ids) or not broken.covered,
        f"{why}, and {broken} ends without an error, with {len(broken.ids)} of {len(whole.ids)} rows",
    )


def _lies_in(booking: TradeBooking, account_id: str, window: TimeWindow) -> bool:
    trade = booking.trade
    return trade is not None and booking.account_id == account_id and trade.executed_at in window


def _times(reading: Reading, found: list[Body], forms: Iterable[str]) -> list[_Place]:
    """Cells that hold the time of a booking in a form that the suite can write, and how it is written there."""
    places = []
    for booking in reading.bookings:
        if booking.trade is None:
            continue
        for table, row in main_rows(found, native_ids(booking)):
            for name, value in row.items():
                told = time_in(value, forms)
                if told is not None and told[0] == booking.trade.executed_at:
                    places.append((booking, table.path, name, told[1]))
    return places


def _always(text: str) -> Callable[[Any], Any]:
    return lambda _: text
