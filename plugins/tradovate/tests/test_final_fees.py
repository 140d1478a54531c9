"""Whenever a broker books fees, and whatever days one asks for: fees that are called final are what the fill cost."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.plugin import FeesState, RequestDraft, TimeWindow, TradeRequest

from .conftest import Exports, World
from .test_reports import REPORT, row, script, text

_A_DAY = timedelta(days=1)
_FIRST = date(2026, 3, 2)  # a Monday
_SOURCES = {"exchange": "Exchange Fee", "clearing": "Clearing Fee", "regulatory": "Nfa Fee"}
_COMMISSION = Decimal("0.79")
_exports = Exports()


@attrs.frozen
class Booked:
    """A fee of a fill: when it is booked, and what for."""

    at: datetime
    kind: str
    amount: Decimal
    contract: str


@attrs.frozen
class Sale:
    number: int
    at: datetime
    quantity: int
    contract: str

    @property
    def trade_date(self) -> date:
        day = self.at.date() + (_A_DAY if self.at.hour >= 22 else timedelta(0))
        return day + timedelta(days=max(0, 7 - day.isoweekday())) if day.isoweekday() > 5 else day


def _at(day: date, hours: int, seconds: int = 0) -> datetime:
    return datetime.combine(day, time(hours), UTC) + timedelta(seconds=seconds)


# when the others than the commission are booked: each kind has its own habit, which no fill changes
_HABITS = {
    "at once": lambda sale: sale.at,
    "a second later": lambda sale: sale.at + timedelta(seconds=1),
    "at the end of trading": lambda sale: max(sale.at, _at(sale.trade_date, 21)),
    "at the close": lambda sale: _at(sale.trade_date, 22),
    "on the next noon": lambda sale: _at(sale.trade_date + _A_DAY, 12),
}
_CLOCKS = [(0, 0), (12, 0), (14, 0), (14, 1), (14, 2), (15, 0), (21, 0), (22, 0), (22, 0), (22, 5), (23, 0)]


def _invented(chance: Random) -> tuple[list[Sale], list[Booked], dict[int, dict[str, Decimal]]]:
    """Sales on some days, what was booked for them, and what each cost."""
    clocks = chance.choice([_CLOCKS, [(22, 0)], [(14, 0), (14, 1), (14, 2)]])
    places = {
        (_at(_FIRST + timedelta(days=day), *chance.choice(clocks)), chance.choice(["ZNM6"] * 4 + ["ZNU6"]))
        for day in chance.choices([0, 1, 2, 3, 4, 6, 7, 8], k=chance.randint(2, 10))
    }
    sizes = chance.choice([[1], [1, 2], [1, 2, 3, 4]])
    sales = [Sale(21 + number, at, chance.choice(sizes), name) for number, (at, name) in enumerate(sorted(places))]
    habits = [*_HABITS, *[chance.choice(["at once", "at once", "at the close"])] * chance.choice([1, 5, 50])]
    rates = {
        kind: (chance.choice([Decimal("0.02"), Decimal("0.10"), Decimal("1.38")]), _HABITS[chance.choice(habits)])
        for kind in chance.sample(sorted(_SOURCES), k=chance.randint(1, 3))
    }
    changes_on = _FIRST + timedelta(days=chance.choice([3, 7, *[99] * 8]))
    booked, truth = [], {}
    for sale in sales:
        truth[sale.number] = {"commission": _COMMISSION * sale.quantity}
        booked.append(Booked(sale.at, "Commission", _COMMISSION * sale.quantity, sale.contract))
        for kind, (rate, habit) in rates.items():
            amount = (rate + Decimal("0.01") if sale.at.date() >= changes_on else rate) * sale.quantity
            truth[sale.number][kind] = amount
            booked.append(Booked(habit(sale), _SOURCES[kind], amount, sale.contract))
    return sales, booked, truth


def _tell(world: Any, sales: list[Sale], booked: list[Booked]) -> None:
    """Both reports for the days that are asked for, as far as they have come."""
    script(world, "")

    def answer(draft: RequestDraft) -> Any:
        asked = {one["name"]: one["value"] for one in draft.json["params"]}
        first, last = (datetime.strptime(asked[name], "%m/%d/%Y").date() for name in ("startDate", "endDate"))  # noqa: DTZ007  a date

        def is_in(moment: datetime) -> bool:
            return first <= moment.date() <= last and moment <= world.clock.now()

        if draft.json["name"] == "Fills":
            return {"data": text(*(_fill(one) for one in sales if is_in(one.at)))}
        return {"data": _exports.cash_history(*(_cash(one) for one in booked if is_in(one.at)))}

    world.broker.on("reporting-live", REPORT, answer)


def _fill(sale: Sale) -> dict[str, str]:
    return row(
        sale.number,
        _timestamp=f"{sale.at:%Y-%m-%d %H:%M:%S}.125Z",
        Timestamp=f"{sale.at:%m/%d/%Y %H:%M:%S}",
        _tradeDate=f"{sale.trade_date}",
        _qty=str(sale.quantity),
        commission=str(_COMMISSION * sale.quantity),
        Contract=sale.contract,
    )


def _cash(one: Booked) -> dict[str, str]:
    return _exports.cash(one.kind, str(-one.amount), Timestamp=f"{one.at:%m/%d/%Y %H:%M:%S}", Contract=one.contract)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10**9),
    start=st.sampled_from([-1, 0, 0, 1, 3, 5]),
    days=st.sampled_from([1, 3, 6, 30, 30]),
    later=st.sampled_from([1, 3, 6, 12, 12, 12]),
    hour=st.sampled_from([0, 12, 21, 23]),
)
def test_fees_that_are_called_final_are_what_the_fill_cost(
    seed: int, start: int, days: int, later: int, hour: int
) -> None:
    sales, booked, truth = _invented(Random(seed))
    first = _FIRST + timedelta(days=start)
    window = TimeWindow(_at(first, 0), _at(first + timedelta(days=days), 0))
    world = World()
    world.clock.moment = _at(first + timedelta(days=later), hour)
    _tell(world, sales, booked)
    for name, fees in asyncio.run(_final(world, window)).items():
        assert fees == truth[name]


async def _final(world: World, window: TimeWindow) -> dict[int, dict[str, Decimal]]:
    request = TradeRequest(source="reports", window=window, accounts=(world.account(),))
    pages = [page async for page in world.provider.get_trades(world.auth, request)]
    assert not any(page.quarantined for page in pages)
    trades = [one.trade for page in pages for one in page.bookings if one.trade]
    return {
        int(one.trade_id.removeprefix("fill:")): {str(fee.kind): fee.amount for fee in one.fees}
        for one in trades
        if one.fees_state is FeesState.FINAL
    }
