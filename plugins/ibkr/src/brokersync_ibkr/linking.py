"""What an exercised or assigned option and its delivery have in common: IBKR gives them no id to share."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from brokersync.plugin import BrokerTrade, TradeEvent
from brokersync_ibkr.identity import plain
from brokersync_ibkr.vocabulary import OPTION_CATEGORIES

_LINKED_EVENTS = frozenset({TradeEvent.EXERCISE, TradeEvent.ASSIGNMENT})


class Links(NamedTuple):
    """The names that a leg is found by, and those of them by which it looks for the other one."""

    names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


_NO_LINKS = Links()


def links_of(trade: BrokerTrade, fields: Mapping[str, str]) -> Links:
    """What the row itself says of an option's exercise or assignment, or of what that delivered.

    The two agree in instant, size, price and contract: the delivery happens at the strike.
    """
    if trade.event not in _LINKED_EVENTS:
        return _NO_LINKS
    is_option = fields.get("assetCategory") in OPTION_CATEGORIES
    price = trade.instrument.strike if is_option else trade.price
    if price is None:
        return Links()
    size = trade.quantity * (trade.instrument.multiplier or Decimal(1))
    common = f"{trade.executed_at.isoformat()}:{plain(size)}:{plain(price)}"
    conid = fields.get("underlyingConid" if is_option else "conid")
    symbol = fields.get("underlyingSymbol" if is_option else "symbol")
    contracts = [("conid", conid), ("symbol", symbol)]
    if is_option:
        # where it names no contract number, the symbol is what is left
        contracts = contracts[:1] if conid else contracts[1:]
    keys = [f"{kind}:{contract}:{common}" for kind, contract in contracts if contract]
    options, deliveries = (tuple(f"{side} of {key}" for key in keys) for side in ("option", "delivery"))
    return Links((*options, *deliveries), deliveries if is_option else options)
