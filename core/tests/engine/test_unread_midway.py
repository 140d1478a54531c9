"""Equal rows without ids of which a plugin understands none, and a newer one all, while their window is half read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from brokersync.errors import BrokerCursorError, BrokerResponseError, BrokerUnavailableError
from brokersync.records import Deferred
from brokersync.store.quarantine import number_in_quarantine
from brokersync.types import QuarantinedRow, TradeBooking, TradePage, TradeRequest

from .bench import START, Bench, Step, fill, page

RAW: dict[str, Any] = {"row": "equal"}
UNREAD = QuarantinedRow(reason="odd", raw=RAW, account_id="A", environment="live")
READ = TradeBooking.of(fill("n", named=False).trade, raw=RAW)  # type: ignore[arg-type]  # a fill has a trade


def unread(request: TradeRequest) -> list[Step]:
    if request.cursor is None:
        return [TradePage(quarantined=(UNREAD, UNREAD), cursor="2"), BrokerUnavailableError("down")]
    return [page(request, quarantined=(UNREAD,))]


def read(request: TradeRequest) -> list[Step]:
    return [page(request, *([READ] if request.cursor else [READ] * 3))]


async def test_rows_that_are_not_understood_stay_as_many_where_their_reading_is_gone_on_with(bench: Bench) -> None:
    bench.source_is(open_day=False)
    bench.answer = unread
    await bench.run()
    await bench.run()
    assert bench.requests[-1].cursor == "2"
    assert len(await bench.store.quarantined("o")) == 3


async def test_a_plugin_that_understands_the_rest_counts_on_from_what_was_not_understood(bench: Bench) -> None:
    bench.source_is(open_day=False)
    bench.answer = unread
    await bench.run()
    bench.answer = read
    await bench.run()
    assert bench.requests[-1].cursor == "2"
    assert await bench.ids() == ["n#3"]
    assert len(await bench.store.quarantined("o")) == 2
    bench.clock.moment += timedelta(days=1)
    await bench.run(again_from=START)
    assert await bench.ids() == ["n", "n#2", "n#3"]
    assert await bench.store.quarantined("o") == ()


async def test_an_older_plugin_that_goes_on_counts_on_from_what_was_understood(bench: Bench) -> None:
    bench.source_is(open_day=False)
    bench.answer = lambda request: (
        [page(request, quarantined=(UNREAD,))]
        if request.cursor
        else [TradePage(bookings=(READ,), cursor="2"), BrokerUnavailableError("down")]
    )
    await bench.run()
    await bench.run()
    assert await bench.ids() == ["n"]
    (row,) = await bench.store.quarantined_raw("o", "paper", "fills")
    assert number_in_quarantine(row.digest, RAW, ("live", "A"), 9) == 2


async def test_no_two_rows_get_one_name_where_some_before_them_were_not_understood(bench: Bench) -> None:
    bench.source_is(open_day=False)
    other = attrs.evolve(READ, raw={"row": "other"})
    bench.answer = unread
    await bench.run()
    bench.answer = lambda request: [page(request, READ, other, READ, other)]
    await bench.run()
    assert await bench.ids() == ["n#3", "n#4", "n#5", "n#6"]


OTHER = attrs.evolve(READ, raw={"row": "looks different"})


async def overwritten(bench: Bench) -> None:
    """A row has taken the name of another in a reading that was broken off, and is out of quarantine by that."""
    bench.source_is(open_day=False)
    bench.answer = lambda request: [page(request, OTHER, quarantined=(UNREAD,))]
    await bench.run()
    bench.answer = lambda request: [TradePage(bookings=(READ,), cursor="2"), BrokerUnavailableError("down")]
    bench.clock.moment += timedelta(days=1)
    await bench.run(again_from=START)
    assert (await bench.ids(), await bench.store.quarantined("o")) == (["n"], ())


async def test_a_reading_of_rows_without_ids_that_is_given_up_is_made_once_more(bench: Bench) -> None:
    await overwritten(bench)
    bench.answer = lambda request: [BrokerUnavailableError("down")]
    for _ in range(12):
        bench.clock.moment += timedelta(days=1)
        assert isinstance(await bench.run(), Deferred)
    assert await bench.store.open_requests("c") == ()
    bench.answer = lambda request: [page(request, READ, OTHER)]
    bench.clock.moment += timedelta(days=1)
    await bench.run()
    assert await bench.ids() == ["n", "n#2"]
    assert [state.value for _, _, state in await bench.spans()] == ["final"]


async def test_so_is_one_whose_cursor_leads_nowhere_and_that_fails_from_its_start(bench: Bench) -> None:
    await overwritten(bench)
    bench.answer = lambda request: [BrokerCursorError("unknown") if request.cursor else BrokerUnavailableError("down")]
    bench.clock.moment += timedelta(days=1)
    await bench.run()
    bench.answer = lambda request: [page(request, READ, OTHER)]
    bench.clock.moment += timedelta(days=1)
    await bench.run()
    assert await bench.ids() == ["n", "n#2"]


async def test_so_is_one_whose_place_another_window_takes(bench: Bench) -> None:
    bench.source_is(longest_window=timedelta(days=3))
    await overwritten(bench)
    (begun,) = await bench.store.open_requests("c")
    bench.answer = lambda request: (
        [BrokerResponseError("odd")] if request.window.overlap(begun.window) else [page(request)]
    )
    bench.clock.moment += timedelta(days=1)
    await bench.run()
    assert await bench.store.open_requests("c") == ()
    bench.answer = lambda request: [page(request, *([READ, OTHER] if begun.window.start in request.window else []))]
    bench.clock.moment += timedelta(days=1)
    await bench.run()
    assert await bench.ids() == ["n", "n#2"]
