"""Which trades belong together, where their rows have only loose names in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import attrs

from brokersync.types import BrokerTrade, TradeStatus


def linked(told: Sequence[tuple[BrokerTrade, Sequence[str]]]) -> list[BrokerTrade]:
    """The trades, each given with its row's loose names, with `related` as trade ids.

    A loose name in `related` stands for the one trade that has the name and does not look for it itself. Where two have
    it or two look for it, it stands for none, and a cancelled trade takes no part.
    """
    if not any(trade.related for trade, _ in told):
        return [trade for trade, _ in told]
    seekers: defaultdict[str, list[str]] = defaultdict(list)
    bearers: defaultdict[str, list[str]] = defaultdict(list)
    for trade, names in told:
        if trade.status is TradeStatus.ACTIVE:
            for name in set(names):
                (seekers if name in trade.related else bearers)[name].append(trade.trade_id)
    certain = {name: ids[0] for name, ids in bearers.items() if len(ids) == len(seekers[name]) == 1}
    return [attrs.evolve(trade, related=_resolved(trade, names, certain)) for trade, names in told]


def _resolved(trade: BrokerTrade, names: Sequence[str], certain: Mapping[str, str]) -> tuple[str, ...]:
    sought = [name for name in trade.related if name in names]
    if not sought:
        return trade.related
    found = [certain[name] for name in sought if name in certain] if trade.status is TradeStatus.ACTIVE else []
    return tuple(dict.fromkeys([*(name for name in trade.related if name not in names), *found]))
