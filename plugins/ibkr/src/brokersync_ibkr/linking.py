"""Which option was exercised or assigned into which delivery, where a statement leaves no doubt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import TypeAlias

import attrs

from brokersync.plugin import TradeBooking, TradeEvent
from brokersync_ibkr.vocabulary import OPTION_CATEGORIES

_LINKED_EVENTS = frozenset({TradeEvent.EXERCISE, TradeEvent.ASSIGNMENT})
_Key: TypeAlias = tuple[object, ...]


def is_leg(booking: TradeBooking) -> bool:
    """Whether this is an option's exercise or assignment, or what it delivered."""
    return booking.trade is not None and booking.trade.event in _LINKED_EVENTS


def linked(legs: Sequence[TradeBooking]) -> list[TradeBooking]:
    """The legs, with `related` set where one option and one delivery agree in all.

    They agree in account, instant, size and price: the delivery happens at the strike. IBKR gives them no common id.
    """
    options: defaultdict[_Key, list[int]] = defaultdict(list)
    deliveries: defaultdict[_Key, list[int]] = defaultdict(list)
    for position, leg in enumerate(legs):
        is_option = leg.raw.get("assetCategory") in OPTION_CATEGORIES
        for key in _keys(leg, is_option=is_option):
            (options if is_option else deliveries)[key].append(position)
    result = list(legs)
    for key, matching in options.items():
        delivered = deliveries.get(key, [])
        if len(matching) == len(delivered) == 1:
            _link(result, matching[0], delivered[0])
    return result


def _keys(leg: TradeBooking, *, is_option: bool) -> list[_Key]:
    trade = leg.trade
    if trade is None:
        return []
    instrument = trade.instrument
    size = trade.quantity * (instrument.multiplier or Decimal(1))
    price = instrument.strike if is_option else trade.price
    common = (leg.account_id, trade.executed_at, size, price)
    conid = leg.raw.get("underlyingConid" if is_option else "conid")
    symbol = leg.raw.get("underlyingSymbol" if is_option else "symbol")
    # where the option names no contract number, its symbol is what is left
    names = [("symbol", symbol)] if is_option and not conid else [("conid", conid)]
    return [(*common, *name) for name in (names if is_option else [("conid", conid), ("symbol", symbol)]) if name[1]]


def _link(legs: list[TradeBooking], option: int, delivery: int) -> None:
    ids = [leg.trade.trade_id if leg.trade else "" for leg in (legs[option], legs[delivery])]
    for position, other in ((option, ids[1]), (delivery, ids[0])):
        trade = legs[position].trade
        if trade is not None:
            legs[position] = attrs.evolve(legs[position], trade=attrs.evolve(trade, related=(other,)))
