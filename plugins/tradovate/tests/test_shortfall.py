"""A report that tells less than the other one: counted, and asked for again in growing pauses."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from brokersync.plugin import BrokerResponseError, FeesState, Finality, TradePage

from .test_report_days import states
from .test_reports import MARCH, REPORT, read, row, script, text

UNTOLD = "fills with a commission of which the Cash History tells no fee"
UNSOLD = "commissions of the Cash History where the Fills report tells no fill"
SHORT = "fills that lack a fee in the Cash History which others of the contract had within a week"
FEES = (("Commission", "-1.58"), ("Exchange Fee", "-2.76"))
DAYS = ("2026-03-04", "2026-03-05", "2026-03-06", "2026-03-20")


def fill(number: int, day: str) -> dict[str, str]:
    shown = f"{date.fromisoformat(day):%m/%d/%Y} 14:31:02"
    return row(number, _timestamp=f"{day} 14:31:02.500Z", Timestamp=shown, _tradeDate=day)


FILLS = [fill(21 + number, day) for number, day in enumerate(DAYS)]


def cash(exports: Any, *of: dict[str, str]) -> str:
    return str(exports.cash_history(*(exports.cash(*fee, Timestamp=one["Timestamp"]) for one in of for fee in FEES)))


def finals(page: TradePage) -> list[tuple[date, date]]:
    return [
        (span.window.start.date(), span.window.end.date()) for span in page.covered if span.finality is Finality.FINAL
    ]


def whole(page: TradePage) -> bool:
    ends = [(span.window.start, span.window.end) for span in page.covered]
    return (
        ends[0][0] == MARCH.start
        and ends[-1][1] == MARCH.end
        and [end for _, end in ends[:-1]] == [start for start, _ in ends[1:]]
    )


@pytest.mark.parametrize("nothing", ["", "\r\n", "header"])
async def test_an_empty_cash_history_is_counted_and_its_days_are_read_again(
    world: Any, exports: Any, nothing: str
) -> None:
    script(world, text(*FILLS), cash=exports.cash_history() if nothing == "header" else nothing)

    first, last = await read(world)

    assert set(states(first).values()) == {FeesState.PENDING}
    assert last.unmapped == {UNTOLD: 4}
    assert finals(last) == [(date(2026, 3, 3), date(2026, 3, 4)), (date(2026, 3, 21), date(2026, 4, 2))]
    assert whole(last)


async def test_a_cash_history_that_was_cut_between_two_rows_is_asked_for_again(world: Any, exports: Any) -> None:
    script(world, text(*FILLS), cash=cash(exports, *FILLS[:2]))

    first, last = await read(world)

    assert [one.value for one in states(first).values()] == ["final", "estimated", "pending", "pending"]
    assert last.unmapped[UNTOLD] == 2
    assert finals(last) == [(date(2026, 3, 3), date(2026, 3, 5)), (date(2026, 3, 21), date(2026, 4, 2))]

    script(world, text(*FILLS), cash=cash(exports, *FILLS))
    first, last = await read(world)
    assert [one.value for one in states(first).values()] == ["final", "final", "final", "estimated"]
    assert (dict(last.unmapped), finals(last)) == ({}, [(MARCH.start.date(), MARCH.end.date())])


@pytest.mark.parametrize("told", [1, 2])
async def test_a_fill_that_lacks_a_fee_which_others_of_its_contract_had_waits_for_it(
    world: Any, exports: Any, told: int
) -> None:
    fees = (*FEES, ("Clearing Fee", "-0.38"))
    short = [exports.cash(*fee, Timestamp=FILLS[2]["Timestamp"]) for fee in fees[:told]]
    charged = [exports.cash(*fee, Timestamp=one["Timestamp"]) for one in FILLS[:2] for fee in fees]
    script(world, text(*FILLS[:3]), cash=exports.cash_history(*charged, *short))

    first, last = await read(world)
    assert [one.value for one in states(first).values()] == ["final", "estimated", "estimated"]
    assert last.unmapped[SHORT] == 1
    assert finals(last) == [(date(2026, 3, 3), date(2026, 3, 5)), (date(2026, 3, 7), date(2026, 4, 2))]

    world.clock.moment += timedelta(days=64)
    _, last = await read(world)
    assert last.unmapped[SHORT] == 1
    assert finals(last) == [(MARCH.start.date(), MARCH.end.date())]


async def test_a_fee_that_was_booked_at_another_time_is_one_that_no_fill_lacks(world: Any, exports: Any) -> None:
    later = exports.cash(*FEES[1], Timestamp=FILLS[2]["Timestamp"].replace("14:31:02", "21:00:00"))
    alone = exports.cash(*FEES[0], Timestamp=FILLS[2]["Timestamp"])
    charged = [exports.cash(*fee, Timestamp=one["Timestamp"]) for one in FILLS[:2] for fee in FEES]
    script(world, text(*FILLS[:3]), cash=exports.cash_history(*charged, alone, later))
    _, last = await read(world)
    assert SHORT not in last.unmapped


async def test_after_a_day_fees_are_estimates_and_after_64_not_waited_for(world: Any, exports: Any) -> None:
    script(world, text(*FILLS), cash="")
    for hours in (0, 6, 6, 6, 5):
        world.clock.moment += timedelta(hours=hours)
        first, last = await read(world)
        assert set(states(first).values()) == {FeesState.PENDING}

    world.clock.moment += timedelta(hours=1)
    first, last = await read(world)

    assert set(states(first).values()) == {FeesState.ESTIMATED}
    assert last.unmapped == {UNTOLD: 4}
    assert finals(last) == [(date(2026, 3, 3), date(2026, 3, 4)), (date(2026, 3, 21), date(2026, 4, 2))]

    world.clock.moment += timedelta(days=63)
    first, last = await read(world)

    assert set(states(first).values()) == {FeesState.ESTIMATED}
    assert last.unmapped == {UNTOLD: 4}
    assert finals(last) == [(MARCH.start.date(), MARCH.end.date())]


async def test_fees_that_are_not_all_booked_yet_are_missed_by_nobody(world: Any) -> None:
    world.clock.moment = datetime(2026, 3, 21, 12, tzinfo=UTC)
    script(world, text(fill(21, "2026-03-20")), cash="")

    _, last = await read(world)

    assert last.unmapped == {}


async def test_fees_that_are_booked_at_another_time_are_not_missing(world: Any, exports: Any) -> None:
    charged = exports.cash("Commission", "-1.58", Timestamp="03/04/2026 22:00:00")
    script(world, text(FILLS[0]), cash=exports.cash_history(charged))

    first, last = await read(world)

    assert (states(first), UNTOLD in last.unmapped) == ({"fill:21": FeesState.ESTIMATED}, False)


@pytest.mark.parametrize("commission", ["", "0", "0.00"])
async def test_a_fill_without_a_commission_lacks_nothing(world: Any, commission: str) -> None:
    script(world, text(FILLS[0] | {"commission": commission}), cash="")

    _, last = await read(world)

    assert last.unmapped == {}
    assert finals(last) == [(MARCH.start.date(), MARCH.end.date())]


async def test_a_fills_report_that_was_cut_between_two_rows_is_asked_for_again(world: Any, exports: Any) -> None:
    script(world, text(*FILLS[:3]), cash=cash(exports, *FILLS))
    _, last = await read(world)
    assert last.unmapped[UNSOLD] == 1
    assert finals(last) == [(date(2026, 3, 3), date(2026, 3, 20)), (date(2026, 3, 21), date(2026, 4, 2))]

    world.clock.moment += timedelta(days=400)
    _, last = await read(world)
    assert last.unmapped[UNSOLD] == 1
    assert finals(last) == [(date(2026, 3, 3), date(2026, 3, 20)), (date(2026, 3, 21), date(2026, 4, 2))]


async def test_a_commission_that_may_be_of_a_fill_at_another_time_lacks_no_fill(world: Any, exports: Any) -> None:
    later = [one | {"Timestamp": one["Timestamp"].replace("14:31:02", "21:00:00")} for one in FILLS]
    script(world, text(*FILLS), cash=cash(exports, *later))
    _, last = await read(world)
    assert UNSOLD not in last.unmapped

    script(world, text(*FILLS[1:]), cash=cash(exports, *later))
    _, last = await read(world)
    assert last.unmapped[UNSOLD] == 1


async def test_an_empty_fills_report_is_short_where_the_cash_history_tells_of_fills(world: Any, exports: Any) -> None:
    script(world, "\r\n", cash=cash(exports, *FILLS))
    *_, last = await read(world)
    assert last.unmapped[UNSOLD] == 4
    assert finals(last) == [(date(2026, 3, 3), date(2026, 3, 4)), (date(2026, 3, 21), date(2026, 4, 2))]


@pytest.mark.parametrize("fills", [FILLS[:3], []])
@pytest.mark.parametrize("answer", [(403, '""'), (502, '""')])
async def test_what_was_left_out_is_not_forgotten_while_the_cash_history_can_not_be_read(
    world: Any, exports: Any, fills: list[dict[str, str]], answer: tuple[int, str]
) -> None:
    script(world, text(*FILLS[:3]), cash=cash(exports, *FILLS))
    await read(world)
    world.clock.moment += timedelta(days=2)
    world.broker.on(
        "reporting-live", REPORT, lambda draft: {"data": text(*fills)} if draft.json["name"] == "Fills" else answer
    )

    for _ in range(2):
        *_, last = await read(world)
        assert last.unmapped[UNSOLD] == 1
        assert all(end <= date(2026, 3, 20) or start > date(2026, 3, 20) for start, end in finals(last))
        world.clock.moment += timedelta(hours=6)


async def test_a_fill_that_costs_another_commission_in_the_cash_history_hides_no_fill_that_was_left_out(
    world: Any, exports: Any
) -> None:
    beside = [fill(31, DAYS[3]) | {"_timestamp": f"{DAYS[3]} 15:00:00.500Z", "Timestamp": "03/20/2026 15:00:00"}]
    told = cash(exports, *FILLS[:3]) + cash(exports, FILLS[3]).replace("-1.58", "-1.59").split("\r\n", 1)[1]
    told += cash(exports, *beside).split("\r\n", 1)[1]
    script(world, text(*FILLS), cash=told)
    _, last = await read(world)
    assert last.unmapped[UNSOLD] == 1
    assert finals(last) == [(date(2026, 3, 3), date(2026, 3, 20)), (date(2026, 3, 21), date(2026, 4, 2))]


def without_contract(report: str) -> str:
    head, *rows = report.splitlines()
    names, last = head.split(","), rows[-1].split(",")
    last[names.index("Contract")] = ""
    return "\r\n".join([head, *rows[:-1], ",".join(last), ""])


@pytest.mark.parametrize("damaged", [lambda report: report.rstrip() + ",oops\r\n", without_contract])
async def test_a_row_that_tells_no_contract_or_no_second_excuses_no_more_than_one_fill_that_was_left_out(
    world: Any, exports: Any, damaged: Any
) -> None:
    script(world, damaged(text(FILLS[0], FILLS[3])), cash=cash(exports, *FILLS))
    *_, last = await read(world)
    assert last.unmapped[UNSOLD] == 2
    assert all(end <= date(2026, 3, 5) or start > date(2026, 3, 6) for start, end in finals(last))

    script(world, damaged(text(*FILLS)), cash=cash(exports, *FILLS))
    *_, last = await read(world)
    assert UNSOLD not in last.unmapped


async def test_one_fills_report_without_fills_does_not_end_the_wait_for_refused_fees(world: Any) -> None:
    def refused(fills: list[dict[str, str]]) -> Any:
        return lambda draft: {"data": text(*fills)} if draft.json["name"] == "Fills" else (403, '""')

    script(world, "")
    for fills in (FILLS, [], FILLS):
        world.broker.on("reporting-live", REPORT, refused(fills))
        *_, last = await read(world)
        assert sum(last.unmapped.values()) == 4
        assert finals(last) == []
        world.clock.moment += timedelta(hours=6)


@pytest.mark.parametrize("report", ["Fills", "Cash History"])
async def test_a_report_that_was_cut_within_a_row_is_damaged(world: Any, exports: Any, report: str) -> None:
    charged = cash(exports, *FILLS)
    fills = text(*FILLS)
    if report == "Fills":
        script(world, fills[: fills.rindex(",", 0, -20)], cash=charged)
        with pytest.raises(BrokerResponseError, match="cut off"):
            await read(world)
        return
    script(world, fills, cash=charged[: charged.rindex(",", 0, -20)])
    first, last = await read(world)
    assert set(states(first).values()) == {FeesState.PENDING}
    assert any("cut off" in words and "until it does" in words for words in last.unmapped)
    assert finals(last) == []
