"""Matching by the ids of orders: all that an order did on one side of one instrument, or parts of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeAlias

from brokersync.matching.items import (
    MOST_CANDIDATES,
    Answer,
    Fill,
    Leg,
    contradictions,
    differences,
    has_price,
    spelled_alike,
    sum_of,
)
from brokersync.matching.values import Doubt, MatchRule, Verdict
from brokersync.matching.words import differs, order_part_reason, order_reason

_Place: TypeAlias = tuple[Hashable, ...]


def by_order_id(legs: Iterable[Leg], fills: Sequence[Fill]) -> None:
    """Answer the legs whose row keeps an order's id: one for all of a leg of the order, or rows for its parts."""
    of_place = _legs_of_places(legs, _places(legs, fills, lambda fill: fill.free))
    for some, there in of_place:
        days = sum_of(there, "").days()
        # some brokers give an order's number again, so rows of the order's own days come first
        for by_day in (True, False):
            _settle([leg for leg in some if (leg.day in days) is by_day], [fill for fill in there if fill.free])


def say_what_is_of_an_order(legs: Iterable[Leg], fills: Sequence[Fill]) -> None:
    """Name the fills that no row is linked to, for rows of their order that are not what they add up to."""
    for some, there in _legs_of_places(legs, _places(legs, fills, lambda fill: fill.row_id is None)):
        whole = sum_of(there, "")
        for leg in some:
            differing = differences(leg, whole)
            if Doubt.DAY not in differing:
                said = order_part_reason(leg, there) + differs(leg, whole, differing)
                doubts = (*differing, Doubt.AMBIGUOUS)
                leg.answer = Answer(
                    Verdict.LIKELY, MatchRule.ORDER_ID, said, (), doubts, tuple(there[:MOST_CANDIDATES])
                )


def _places(
    legs: Iterable[Leg], fills: Iterable[Fill], wanted: Callable[[Fill], bool]
) -> Mapping[str, Mapping[_Place, list[Fill]]]:
    """The fills of the orders whose ids the open legs keep: of one account, order, side and instrument each."""
    names = {leg.row.order_id for leg in legs if _is_open(leg)}
    found: defaultdict[str, defaultdict[_Place, list[Fill]]] = defaultdict(lambda: defaultdict(list))
    for fill in fills if names else ():
        trade = fill.trade
        if trade.order_id and trade.order_id in names and not fill.cancelled and wanted(fill):
            found[trade.order_id][*fill.key[:3], trade.order_id, trade.side, trade.instrument.symbol].append(fill)
    return found


def _is_open(leg: Leg) -> bool:
    # a round trip is of two orders, and of its two sides it is not said whose order that is
    return leg.answer is None and leg.row.order_id is not None and leg.row.exit_price is None


def _legs_of_places(
    legs: Iterable[Leg], places: Mapping[str, Mapping[_Place, list[Fill]]]
) -> list[tuple[list[Leg], list[Fill]]]:
    """Which open legs are of which place; a leg that may be of several is of none."""
    found: defaultdict[_Place, list[Leg]] = defaultdict(list)
    for leg in legs:
        if _is_open(leg):
            fitting = {
                place: there[0]
                for place, there in places.get(leg.row.order_id or "", {}).items()
                if leg.scope.holds(there[0].key) and not contradictions(leg, there[0])
            }
            exact = [place for place, fill in fitting.items() if spelled_alike(leg, fill)]
            chosen = exact or list(fitting)
            if len(chosen) == 1:
                found[chosen[0]].append(leg)
    return [(some, places[some[0].row.order_id or ""][place]) for place, some in found.items()]


def _settle(legs: Sequence[Leg], fills: Sequence[Fill]) -> None:
    """The whole for one leg; else fills by themselves, then those of one price, then what is left for who is left."""
    if not legs or not fills:
        return
    if not _link_whole(legs, fills):
        _link_equals(legs, fills)
        _link_prices(_open(legs), _free(fills))
        _link_whole(_open(legs), _free(fills))


def _open(legs: Iterable[Leg]) -> list[Leg]:
    return [leg for leg in legs if leg.answer is None]


def _free(fills: Iterable[Fill]) -> list[Fill]:
    return [fill for fill in fills if fill.free]


def _link_whole(legs: Sequence[Leg], fills: Sequence[Fill]) -> bool:
    if len(legs) != 1 or not fills or legs[0].quantity != sum_of(fills, "").quantity:
        return False
    _link(legs[0], fills)
    return True


def _link_equals(legs: Iterable[Leg], fills: Iterable[Fill]) -> None:
    equal: defaultdict[tuple[object, ...], tuple[list[Leg], list[Fill]]] = defaultdict(lambda: ([], []))
    for leg in legs:
        equal[leg.quantity, leg.price][0].append(leg)
    for fill in fills:
        equal[fill.trade.quantity, fill.trade.price][1].append(fill)
    for some, there in equal.values():
        if len(some) == len(there):
            in_time = sorted(some, key=lambda leg: (leg.day, leg.moment or 0, leg.row.row_id))
            for leg, fill in zip(in_time, sorted(there, key=lambda one: (one.moment, one.key)), strict=True):
                _link(leg, [fill])


def _link_prices(legs: Sequence[Leg], fills: Iterable[Fill]) -> None:
    of_price: defaultdict[object, list[Fill]] = defaultdict(list)
    for fill in fills:
        of_price[fill.trade.price].append(fill)
    wholes = {price: sum_of(there, "") for price, there in of_price.items()}
    claims: defaultdict[object, list[Leg]] = defaultdict(list)
    for leg in legs:
        # a whole number is what many prices round to
        fitting = [leg.price] if leg.price in wholes else [at for at, whole in wholes.items() if has_price(leg, whole)]
        if len(fitting) == 1:
            claims[fitting[0]].append(leg)
    for price, some in claims.items():
        if len(some) == 1 and some[0].quantity == wholes[price].quantity:
            _link(some[0], wholes[price].fills)


def _link(leg: Leg, fills: Sequence[Fill]) -> None:
    for fill in fills:
        fill.row_id = leg.row.row_id
    whole = sum_of(fills, "")
    doubts = differences(leg, whole)
    reason = order_reason(leg, fills, price_differs=Doubt.PRICE in doubts)
    reason += differs(leg, whole, [doubt for doubt in doubts if doubt is not Doubt.PRICE])
    verdict = Verdict.LIKELY if doubts else Verdict.SAME
    if len(fills) > 1:
        doubts = (*doubts, Doubt.SUM)
    leg.answer = Answer(verdict, MatchRule.ORDER_ID, reason, tuple(fills), doubts)
