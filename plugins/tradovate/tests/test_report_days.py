"""Days beside a window: what was traded then is another window's, and what it cost says how sure a fill's fees are."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from brokersync.plugin import FeesState, Finality, TradePage
from brokersync_tradovate import report_reading

from .test_reports import REPORT, read, row, script, text

FEES = (("Commission", "-1.58"), ("Exchange Fee", "-2.76"))


def told(
    world: Any, exports: Any, *times: str, trade_date: str | None = None, fees: Any = FEES, **changes: str
) -> list[dict[str, str]]:
    """Fills at these times with their fees, of which the last one has `fees` and is changed."""
    stamps = [
        {
            "_timestamp": f"{time}.500Z",
            "Timestamp": f"{time[5:7]}/{time[8:10]}/2026 {time[11:]}",
            "_tradeDate": time[:10],
        }
        for time in times
    ]
    fills = [row(21 + number, **stamp) for number, stamp in enumerate(stamps)]
    fills[-1] |= ({"_tradeDate": trade_date} if trade_date is not None else {}) | changes
    charged = [FEES] * (len(times) - 1) + [fees]
    cash = [
        exports.cash(*fee, Timestamp=stamp["Timestamp"])
        for stamp, own in zip(stamps, charged, strict=True)
        for fee in own
    ]
    script(world, text(*fills), cash=exports.cash_history(*cash))
    return fills


def states(page: TradePage) -> dict[str, FeesState]:
    return {one.booking_id: one.trade.fees_state for one in page.bookings if one.trade}


async def test_a_fill_before_a_window_confirms_fees_and_is_another_windows(world: Any, exports: Any) -> None:
    told(world, exports, "2026-02-26 15:00:00", "2026-03-05 15:00:00")

    first, last = await read(world)

    assert (states(first), first.rows) == ({"fill:22": FeesState.FINAL}, 1)
    assert (dict(last.unmapped), len(last.covered)) == ({}, 1)


async def test_a_fill_that_no_other_confirms_stays_an_estimate_and_its_row_says_why(world: Any, exports: Any) -> None:
    told(world, exports, "2026-03-05 15:00:00")

    first, last = await read(world)

    assert states(first) == {"fill:21": FeesState.ESTIMATED}
    assert first.bookings[0].trade is not None
    assert first.bookings[0].trade.raw["cashHistory"]["doubt"] == "no other fill of the contract shows the same fees"
    assert dict(last.unmapped) == {}


async def test_fees_that_differ_from_those_of_other_fills_are_counted(world: Any, exports: Any) -> None:
    told(world, exports, "2026-03-04 15:00:00", "2026-03-05 15:00:00", fees=(FEES[0], ("Exchange Fee", "-5.52")))

    first, last = await read(world)

    assert set(states(first).values()) == {FeesState.ESTIMATED}
    assert last.unmapped == {"fills whose fees are not those of other fills of the contract": 2}


async def test_a_bad_row_before_a_window_is_held_by_the_window_before(world: Any, exports: Any) -> None:
    told(world, exports, "2026-03-05 15:00:00", "2026-03-02 15:00:00", _qty="x")

    first, _ = await read(world)

    assert ([one.booking_id for one in first.bookings], first.quarantined) == (["fill:21"], ())


async def test_a_fill_before_the_days_that_were_asked_for_is_lost_by_no_window(world: Any, exports: Any) -> None:
    told(world, exports, "2026-02-23 15:00:00")

    first, _ = await read(world)

    assert [one.booking_id for one in first.bookings] == ["fill:21"]


@pytest.mark.parametrize(
    ("opened", "first"),
    [
        ("2026-02-27T18:00:00Z", "2/27/2026"),
        ("2025-02-27T18:00:00Z", "2/24/2026"),
        ("2026-03-10T18:00:00Z", "3/3/2026"),
        (None, "2/24/2026"),
    ],
)
async def test_no_day_is_asked_for_on_which_the_account_was_not_open(
    world: Any, opened: str | None, first: str
) -> None:
    script(world, "\r\n")
    world.broker.on("live", "account/list", [{"id": 11, "name": "77001", "timestamp": opened}])

    await read(world)

    asked = [one.draft.json["params"][0] for one in world.broker.sent if one.path == REPORT]
    assert asked == 2 * [{"name": "startDate", "value": first}]


@pytest.mark.parametrize(
    ("now", "trade_date", "final_until"),
    [
        ("2026-03-31T12:00", "2026-03-30", "2026-03-29"),
        ("2026-04-01T00:00", "2026-03-30", "2026-03-31"),
        ("2026-04-02T00:00", "2026-04-01", "2026-03-29"),
        ("2026-04-03T00:00", "2026-04-01", "2026-04-02"),
        ("2026-04-03T23:59", "2026-04-02", "2026-03-29"),
        ("2026-04-04T00:00", "2026-04-02", "2026-04-02"),
        ("2026-04-03T23:59", "", "2026-03-29"),
        ("2026-04-04T00:00", "", "2026-04-02"),
        ("2026-04-03T23:59", "2099-01-01", "2026-03-29"),
        ("2026-04-04T00:00", "2099-01-01", "2026-04-02"),
    ],
)
async def test_a_day_is_read_again_while_fees_of_its_fills_may_be_booked(
    world: Any, exports: Any, now: str, trade_date: str, final_until: str
) -> None:
    """Of an evening fill, which has the next day's trade date or a later one, four days on at most: Thursday's before a
    holiday on Friday has Monday's."""
    told(world, exports, "2026-03-29 22:30:00", trade_date=trade_date)
    world.clock.moment = datetime.fromisoformat(now).replace(tzinfo=UTC)

    *_, last = await read(world)

    final = [span for span in last.covered if span.finality is Finality.FINAL]
    assert [span.window.end.date().isoformat() for span in final] == [final_until]


@pytest.mark.parametrize(
    ("now", "state", "final_until"),
    [
        ("2026-04-02T12:00", FeesState.ESTIMATED, "2026-03-29"),
        ("2026-04-03T00:00", FeesState.FINAL, "2026-04-02"),
    ],
)
async def test_a_day_is_read_again_while_the_only_fill_that_may_confirm_its_fees_has_some_to_come(
    world: Any, exports: Any, now: str, state: FeesState, final_until: str
) -> None:
    """Of a Sunday's evening, whose own fees are all booked, and two evenings later."""
    fills = told(world, exports, "2026-03-29 22:30:00", "2026-03-31 22:30:00", trade_date="2026-04-01")
    fills[0]["_tradeDate"] = "2026-03-30"
    cash = [exports.cash(*fee, Timestamp=one["Timestamp"]) for one in fills for fee in FEES]
    script(world, text(*fills), cash=exports.cash_history(*cash))
    world.clock.moment = datetime.fromisoformat(now).replace(tzinfo=UTC)

    first, last = await read(world)

    assert states(first)["fill:21"] is state
    final = [span for span in last.covered if span.finality is Finality.FINAL]
    assert [span.window.end.date().isoformat() for span in final] == [final_until]


@pytest.mark.parametrize("work", ["FillsReport", "charges_by_fill"])
async def test_reading_and_joining_thousands_of_rows_holds_up_nothing_else(
    world: Any, exports: Any, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """Of a worker that stands still for longer than its lease, another takes it to be dead."""
    goes_on, done, loop = threading.Event(), getattr(report_reading, work), asyncio.get_running_loop()

    def slow(*args: Any, **options: Any) -> Any:
        loop.call_soon_threadsafe(goes_on.set)
        assert goes_on.wait(5), "the loop stands still"
        return done(*args, **options)

    monkeypatch.setattr(report_reading, work, slow)
    told(world, exports, "2026-03-04 15:00:00", "2026-03-05 15:00:00")

    first, _ = await read(world)

    assert set(states(first).values()) == {FeesState.FINAL}


@pytest.mark.parametrize("work", ["FillsReport", "charges_by_fill"])
async def test_a_read_that_is_cancelled_ends_its_work_at_the_next_row(
    world: Any, exports: Any, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """A loop that ends waits for its threads."""
    loop, begun, cancelled, ended = asyncio.get_running_loop(), asyncio.Event(), threading.Event(), asyncio.Event()
    done, outcomes = getattr(report_reading, work), list[str]()

    def watched(*args: Any, **options: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        assert cancelled.wait(5)
        try:
            done(*args, **options)
            outcomes.append("done")
        except BaseException as error:
            outcomes.append(type(error).__name__)
            raise
        finally:
            loop.call_soon_threadsafe(ended.set)

    told(world, exports, "2026-03-04 15:00:00", "2026-03-05 15:00:00")
    monkeypatch.setattr(report_reading, work, watched)
    reading = asyncio.create_task(read(world))
    await asyncio.wait_for(begun.wait(), 5)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    cancelled.set()
    await asyncio.wait_for(ended.wait(), 5)

    assert outcomes == ["_UnwantedError"]
