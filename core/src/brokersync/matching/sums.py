"""Rows that carry the id of one fill and have the quantity of several: what the others may be."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Final

from brokersync.matching.items import PRECISE, Fill, FillKey, Leg, sum_of
from brokersync.matching.times import SECOND
from brokersync.matching.values import Doubt, MatchRule
from brokersync.matching.words import sum_reason

# one order is filled within a session, mostly at once
_NEAR: Final = 12 * 3600 * SECOND
_FEW: Final = 50


def say_what_looks_like_a_sum(legs: Iterable[Leg], fills: Iterable[Fill]) -> None:
    """Name the fills that no row is linked to, and that add up to a row's quantity with those whose ids it carries."""
    short = [leg for leg in legs if _is_short(leg)]
    places: defaultdict[tuple[object, ...], list[Fill]] = defaultdict(list)
    for fill in fills if short else ():
        if fill.free and not fill.cancelled:
            for place in _places(fill):
                places[place].append(fill)
    for free in places.values():
        free.sort(key=_in_time)
    for leg in short:
        _say(leg, places)


def _is_short(leg: Leg) -> bool:
    answer = leg.answer
    if answer is None or answer.rule is not MatchRule.BROKER_ID or Doubt.QUANTITY not in answer.doubts:
        return False
    return leg.quantity > sum_of(answer.fills, "").quantity


def _places(fill: Fill) -> list[tuple[object, ...]]:
    """Where else fills of one row may be found: in its order, then among those of its instrument."""
    trade = fill.trade
    place = (*fill.key[:3], trade.side, trade.instrument.symbol)
    return [(*place, trade.order_id), place] if trade.order_id else [place]


def _say(leg: Leg, places: Mapping[tuple[object, ...], Sequence[Fill]]) -> None:
    answer = leg.answer
    if answer is None or any(fill.cancelled for fill in answer.fills):
        return
    own = sorted(answer.fills, key=_in_time)
    for place in _places(own[0]):
        rest = _rest(own, places.get(place, ()), leg.quantity)
        if rest:
            doubts = answer.doubts if Doubt.SUM in answer.doubts else (*answer.doubts, Doubt.SUM)
            candidates = (*answer.candidates, *rest)
            leg.answer = answer._replace(reason=answer.reason + sum_reason(rest), doubts=doubts, candidates=candidates)
            return


def _rest(own: Sequence[Fill], free: Sequence[Fill], quantity: Decimal) -> list[Fill]:
    """The free fills of a run in order of time that has this quantity and all of `own` in it.

    Of several such runs it is the one that was filled in the shortest time.
    """
    first, last = own[0].moment, own[-1].moment
    low = max(bisect_left(free, first - _NEAR, key=_moment), bisect_left(free, first, key=_moment) - _FEW)
    high = min(bisect_right(free, last + _NEAR, key=_moment), bisect_right(free, last, key=_moment) + _FEW)
    if high - low > 3 * _FEW:
        return []
    near = sorted((*free[low:high], *own), key=_in_time)
    until = list(accumulate((fill.trade.quantity for fill in near), PRECISE.add, initial=Decimal(0)))
    begins = {until[start]: start for start in range(near.index(own[0]) + 1)}
    ends = range(near.index(own[-1]) + 1, len(near) + 1)
    runs = [
        (near[end - 1].moment - near[start].moment, start, end)
        for end in ends
        if (start := begins.get(PRECISE.subtract(until[end], quantity))) is not None
    ]
    _, start, end = min(runs, default=(0, 0, 0))
    return [fill for fill in near[start:end] if fill not in own]


def _moment(fill: Fill) -> int:
    return fill.moment


def _in_time(fill: Fill) -> tuple[int, FillKey]:
    return fill.moment, fill.key
