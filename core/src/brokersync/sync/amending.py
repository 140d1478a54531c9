"""What an amendment leaves unsaid: it tells more of what stands, so what it does not tell stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import attrs

from brokersync.sync.fees import fees_of
from brokersync.types import (
    BookingEffect,
    BrokerTrade,
    FeesMode,
    FeesState,
    Instrument,
    PositionEffect,
    TimePrecision,
    TradeBooking,
)

_Value = TypeVar("_Value", BrokerTrade, Instrument)

_OF_THE_TRADE: Final = ("order_id", "group_id", "leg", "trade_date", "tags")
_OF_THE_INSTRUMENT: Final = (
    *("broker_id", "currency", "multiplier", "exchange", "isin", "figi", "cusip"),
    *("underlying", "expiry", "strike", "right"),
)
# cash is of a quantity, a price and costs: where one of them is another now, so is the cash
_OF_THE_MONEY: Final = ("side", "quantity", "price", "price_unit", "fees")


def whole(steps: Sequence[TradeBooking]) -> TradeBooking:
    """The last of the rows that replace each other, whole: an amendment with what the rows before it told."""
    first = max((at for at, row in enumerate(steps) if row.effect is not BookingEffect.AMEND), default=0)
    stands = steps[first]
    for at in range(first + 1, len(steps)):
        stands = _amended([*steps[: at - 1], stands], steps[at])
    return stands


def _amended(steps: Sequence[TradeBooking], last: TradeBooking) -> TradeBooking:
    before = steps[-1]
    if last.trade is None or before.trade is None:
        raise AssertionError("only a cancel has no trade")
    known, trade = before.trade, _with_fees(last.trade, last.fees_mode, before.trade, steps)
    trade = _filled(trade, known, _OF_THE_TRADE)
    if trade.position_effect is PositionEffect.UNKNOWN:
        trade = attrs.evolve(trade, position_effect=known.position_effect)
    if _of_one_instrument(trade.instrument, known.instrument):
        trade = attrs.evolve(trade, instrument=_filled(trade.instrument, known.instrument, _OF_THE_INSTRUMENT))
    if _is_coarser(trade, known):
        trade = attrs.evolve(trade, executed_at=known.executed_at, time_precision=known.time_precision)
    if all(getattr(trade, name) == getattr(known, name) for name in _OF_THE_MONEY):
        trade = _filled(trade, known, ("net_cash", "accrued_interest"))
    if trade.related or not known.related:
        return attrs.evolve(last, trade=trade)
    # those that are still looked for are loose names of the row that told them
    loose = tuple(dict.fromkeys([*last.loose_refs, *before.loose_refs]))
    return attrs.evolve(last, trade=attrs.evolve(trade, related=known.related), loose_refs=loose)


def _with_fees(trade: BrokerTrade, mode: FeesMode, known: BrokerTrade, before: Sequence[TradeBooking]) -> BrokerTrade:
    """The trade of an amendment, with the costs that stood where it tells none: that there are none is one of 0.

    They are for good as far as they were, unless it says that there are others to come.
    """
    stood = fees_of(before, [], cancelled=False)
    if trade.fees or not stood:
        return trade
    # parts are summed up over all rows of the execution
    fees = () if mode is FeesMode.PART else stood
    state = known.fees_state if trade.fees_state is FeesState.FINAL else trade.fees_state
    return attrs.evolve(trade, fees=fees, fees_state=state)


def _filled(value: _Value, known: _Value, names: Sequence[str]) -> _Value:
    unsaid: dict[str, Any] = {name: getattr(known, name) for name in names if getattr(value, name) in (None, ())}
    return attrs.evolve(value, **unsaid)


def _of_one_instrument(one: Instrument, other: Instrument) -> bool:
    return (one.symbol, one.asset_class) == (other.symbol, other.asset_class)


def _is_coarser(trade: BrokerTrade, known: BrokerTrade) -> bool:
    """Whether it tells no more than the day of a time that is known."""
    return (
        trade.time_precision is TimePrecision.DAY
        and known.time_precision is not TimePrecision.DAY
        and trade.trade_date == known.trade_date
        and trade.trade_date is not None
    )
