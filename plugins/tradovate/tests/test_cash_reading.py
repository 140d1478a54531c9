"""A day whose Cash History fails holds up its own fees, and those that it may tell of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

import pytest

from brokersync.plugin import FeesState, RequestDraft

from .test_report_days import states
from .test_reports import REPORT, read, script, text
from .test_shortfall import UNSOLD, cash, fill, finals

DAYS = [date(2026, 3, 3) + timedelta(days=one) for one in range(29)]
Rows: TypeAlias = Sequence[dict[str, str]]
FILLS = [fill(21 + number, day.isoformat()) for number, day in enumerate(DAYS)]


def tell(world: Any, exports: Any, *bad: date, fills: Rows = FILLS, booked: Rows = FILLS) -> list[tuple[date, date]]:
    """Both reports, of which the Cash History fails for any days that these are among; what it is asked for."""
    script(world, "")
    asked: list[tuple[date, date]] = []

    def answer(draft: RequestDraft) -> Any:
        if draft.json["name"] == "Fills":
            return {"data": text(*fills)}
        first, last = (
            datetime.strptime(one["value"], "%m/%d/%Y").replace(tzinfo=UTC).date() for one in draft.json["params"][:2]
        )
        asked.append((first, last))
        if any(first <= day <= last for day in bad):
            return 502, json.dumps("")
        return {
            "data": cash(exports, *(one for one in booked if first <= date.fromisoformat(one["_tradeDate"]) <= last))
        }

    world.broker.on("reporting-live", REPORT, answer)
    return asked


@pytest.mark.parametrize("day", [DAYS[0], DAYS[7], DAYS[14], DAYS[28]])
async def test_one_day_that_always_fails_keeps_no_other_from_its_fees(world: Any, exports: Any, day: date) -> None:
    asked = tell(world, exports, day)

    first, last = await read(world)

    told = {one: states(first)[f"fill:{21 + number}"] for number, one in enumerate(DAYS)}
    assert [one for one, state in told.items() if state is FeesState.PENDING] == [day]
    beside = {one for one in DAYS if -1 <= (one - day).days <= 7}
    assert {one for one, state in told.items() if state is not FeesState.FINAL} == beside
    assert last.unmapped == {
        "days of which Tradovate gives no Cash History: reported fees are estimates around them until it does": 1
    }
    assert sum((end - start).days for start, end in finals(last)) == 30 - len(beside)
    assert len(asked) <= 14


async def test_a_fill_that_was_left_out_of_a_day_is_counted_while_the_cash_history_of_that_day_fails(
    world: Any, exports: Any
) -> None:
    day = DAYS[14]
    without = [one for one, of in zip(FILLS, DAYS, strict=True) if of != day]
    tell(world, exports, fills=without)
    await read(world)
    for _ in range(3):
        world.clock.moment += timedelta(hours=12)
        tell(world, exports, day, fills=without)
        *_, last = await read(world)
        assert last.unmapped[UNSOLD] == 1
        assert all(end <= day or start > day for start, end in finals(last))


async def test_a_day_without_fills_of_which_no_cash_history_is_given_is_read_again(world: Any, exports: Any) -> None:
    day = DAYS[14]
    tell(world, exports, day, fills=FILLS[:1], booked=FILLS[:1])
    *_, last = await read(world)
    assert finals(last) == [(date(2026, 3, 3), day), (day + timedelta(days=1), date(2026, 4, 2))]

    world.clock.moment += timedelta(days=65)
    *_, last = await read(world)
    assert finals(last) == [(date(2026, 3, 3), date(2026, 4, 2))]


async def test_a_day_that_has_failed_is_asked_for_alone_and_in_pauses(world: Any, exports: Any) -> None:
    day = DAYS[14]
    tell(world, exports, day)
    await read(world)

    asked = tell(world, exports, day)
    world.clock.moment += timedelta(minutes=20)
    await read(world)
    assert len(asked) == 2
    assert all(not start <= day <= end for start, end in asked)

    asked.clear()
    world.clock.moment += timedelta(minutes=20)
    await read(world)
    assert (len(asked), asked[-1]) == (3, (day, day))

    tell(world, exports)
    world.clock.moment += timedelta(hours=2)
    first, last = await read(world)
    assert set(states(first).values()) == {FeesState.FINAL}
    assert dict(last.unmapped) == {}


async def test_a_history_that_fails_as_a_whole_and_in_both_halves_is_asked_for_no_further(
    world: Any, exports: Any
) -> None:
    asked = tell(world, exports, *DAYS)

    first, _ = await read(world)

    assert set(states(first).values()) == {FeesState.PENDING}
    assert len(asked) == 3
