"""An amendment tells more of what stands: what it leaves unsaid stays, in whatever order the rows come."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from brokersync.types import (
    AssetClass,
    Fee,
    FeesMode,
    FeesState,
    Instrument,
    PositionEffect,
    TimePrecision,
    TradeBooking,
)

from .rows import AMEND, CANCEL, CANCELLED, REPLACE, START, fee, folded, only, row

DAY = date(2026, 3, 2)
FACTS: dict[str, Any] = {
    "order_id": "O1",
    "group_id": "G1",
    "leg": 2,
    "trade_date": DAY,
    "tags": ("algo",),
    "position_effect": PositionEffect.CLOSE,
    "net_cash": Decimal("-1.5"),
    "accrued_interest": Decimal("0.1"),
    "related": ("exec:9",),
    "fees": (fee("0.5"),),
    "fees_state": FeesState.ESTIMATED,
}


def told(booking: TradeBooking, **facts: Any) -> TradeBooking:
    assert booking.trade is not None
    return attrs.evolve(booking, trade=attrs.evolve(booking.trade, **facts))


FIRST = told(row("a", key="x", order=(1,)), **FACTS)


def later(effect: Any = AMEND, price: str = "1", order: int = 2, **facts: Any) -> TradeBooking:
    return told(row(f"b{order}", effect, key="x", price=price, order=(order,)), **facts)


@pytest.mark.parametrize("name", sorted(FACTS))
def test_what_an_amendment_leaves_unsaid_stays(name: str) -> None:
    assert getattr(only(FIRST, later()), name) == FACTS[name]
    assert getattr(only(FIRST, later(), later(order=3)), name) == FACTS[name]


@pytest.mark.parametrize("name", sorted(set(FACTS) - {"fees_state"}))
def test_a_replacement_is_the_whole_trade(name: str) -> None:
    assert getattr(only(FIRST, later(REPLACE)), name) != FACTS[name]
    assert getattr(only(FIRST, later(REPLACE), later(order=3)), name) != FACTS[name]


def test_what_an_amendment_tells_stands() -> None:
    facts: dict[str, Any] = {"order_id": "O2", "trade_date": date(2026, 3, 3), "fees": (fee("0.7"),)}
    one = only(FIRST, later(price="2", **facts))
    assert {name: getattr(one, name) for name in facts} == facts
    assert (one.price, one.fees_state) == (2, FeesState.FINAL)


def test_cash_goes_with_the_price_that_it_was_of() -> None:
    one = only(FIRST, later(price="2"))
    assert (one.net_cash, one.accrued_interest) == (None, None)


def test_costs_that_came_to_nothing_are_a_cost_of_nothing() -> None:
    nothing: tuple[Fee, ...] = (fee("0"),)
    one = only(FIRST, later(fees=nothing))
    assert (one.fees, one.fees_state) == (nothing, FeesState.FINAL)


def test_costs_that_nobody_has_told_yet_end_with_the_amendment() -> None:
    first = told(row("a", key="x", order=(1,)), fees_state=FeesState.PENDING)
    assert only(first, later()).fees_state is FeesState.FINAL


@pytest.mark.parametrize("mode", FeesMode)
def test_costs_that_an_amendment_awaits_are_not_for_good(mode: FeesMode) -> None:
    first = row("a", key="x", fees=(fee("1"),), mode=mode, order=(1,))
    awaiting = told(row("b", AMEND, key="x", mode=mode, order=(2,)), fees_state=FeesState.PENDING)
    one = only(first, awaiting)
    assert (one.fees, one.fees_state) == ((fee("1"),), FeesState.PENDING)


def test_parts_are_summed_up_once() -> None:
    parts = [
        row(name, effect, key="x", fees=fees, mode=FeesMode.PART, order=(number,))
        for number, (name, effect, fees) in enumerate(
            [("a", row("a").effect, (fee("1"),)), ("b", AMEND, (fee("2"),)), ("c", AMEND, ())], start=1
        )
    ]
    assert only(*parts).fees == (fee("3"),)
    # one that says totals and tells none leaves what was summed up
    assert only(*parts, row("d", AMEND, key="x", order=(4,))).fees == (fee("3"),)


def test_the_instrument_is_completed_unless_it_is_another_one() -> None:
    known = Instrument(
        symbol="ES", asset_class=AssetClass.FUTURE, currency="USD", multiplier=Decimal(50), broker_id="7"
    )
    poor = Instrument(symbol="ES", asset_class=AssetClass.FUTURE)
    other = Instrument(symbol="NQ", asset_class=AssetClass.FUTURE)
    first = told(row("a", key="x", order=(1,)), instrument=known)
    assert only(first, later(instrument=poor)).instrument == known
    assert only(first, later(instrument=other)).instrument == other


def test_a_day_does_not_replace_the_time_that_is_known_of_it() -> None:
    midnight = START.replace(hour=0)
    of_day: dict[str, Any] = {"executed_at": midnight, "time_precision": TimePrecision.DAY}
    one = only(FIRST, later(trade_date=DAY, **of_day))
    assert (one.executed_at, one.time_precision) == (START, TimePrecision.SECOND)
    moved = only(FIRST, later(trade_date=DAY + timedelta(days=1), **of_day))
    assert (moved.executed_at, moved.time_precision) == (midnight, TimePrecision.DAY)


def test_a_related_trade_is_looked_for_by_the_row_that_told_of_it() -> None:
    first = told(row("a", key="x", order=(1,), loose_refs=("l",)), related=("l",))
    trades = {one.trade_id: one.related for one in folded(first, later(), row("o", loose_refs=("l",)))}
    assert trades == {"x": ("o",), "o": ()}


def test_a_bust_of_an_amended_trade_keeps_what_both_told() -> None:
    one = only(FIRST, later(price="2"), row("c", CANCEL, refs=("b2",), order=(3,)))
    assert (one.status, one.price, one.order_id) == (CANCELLED, 2, "O1")
