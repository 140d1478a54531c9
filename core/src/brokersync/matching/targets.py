"""What one row may stand for: a fill, or fills that something binds together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from brokersync.matching.items import Fill, Target, sum_of, target_of
from brokersync.matching.times import SECOND, Precision

_Wanted: TypeAlias = Callable[[Fill], bool]


class Kind(NamedTuple):
    """One kind of targets, made of such fills as are wanted, and how exactly rows are compared with it."""

    of: Callable[[Iterable[Fill], _Wanted], list[Target]]
    precisions: Sequence[Precision]


def singles(fills: Iterable[Fill], wanted: _Wanted) -> list[Target]:
    return [target_of(fill) for fill in fills if wanted(fill)]


def orders(fills: Iterable[Fill], wanted: _Wanted) -> list[Target]:
    """What is left of each order, apart for its sides and instruments."""
    return list(_sums(filter(wanted, fills), _order, "fills of one order"))


def prices(fills: Iterable[Fill], wanted: _Wanted) -> list[Target]:
    """What an order did at one price, where it did more at others."""

    found: defaultdict[tuple[object, ...], list[Fill]] = defaultdict(list)
    for fill in filter(wanted, fills):
        found[_order(fill)].append(fill)
    mixed = (fill for group in found.values() if len({one.trade.price for one in group}) > 1 for fill in group)
    return list(_sums(mixed, lambda fill: (*_order(fill), fill.trade.price), "fills of one order at one price"))


def clusters(fills: Iterable[Fill], wanted: _Wanted) -> list[Target]:
    """What was filled in one second, where no order binds it together."""

    def second(fill: Fill) -> tuple[object, ...]:
        return (*_place(fill), fill.moment // SECOND)

    return list(_sums(filter(wanted, fills), second, "fills of the same second"))


_BY_MINUTE = (Precision.SECOND, Precision.MINUTE, Precision.OTHER_MINUTE)
# in the order in which rows are compared with them
KINDS = (
    Kind(singles, tuple(Precision)),
    Kind(orders, (*_BY_MINUTE, Precision.DAY)),
    Kind(prices, (*_BY_MINUTE, Precision.DAY)),
    Kind(clusters, _BY_MINUTE),
)


def _place(fill: Fill) -> tuple[object, ...]:
    key, trade = fill.key, fill.trade
    return key.provider, key.environment, key.account_id, trade.instrument.symbol, trade.side


def _order(fill: Fill) -> tuple[object, ...]:
    # what no order is said of is of none, which is one of its own
    return (*_place(fill), fill.trade.order_id or fill.key)


def _sums(fills: Iterable[Fill], of: Callable[[Fill], tuple[object, ...]], what: str) -> Iterator[Target]:
    groups: defaultdict[tuple[object, ...], list[Fill]] = defaultdict(list)
    for fill in fills:
        groups[of(fill)].append(fill)
    return (sum_of(group, what) for group in groups.values() if len(group) > 1)
