"""Matching by the names that the broker itself gave to executions and trades."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from brokersync.matching.items import Answer, Fill, Leg, agree, contradictions, differences, sum_of
from brokersync.matching.values import Doubt, MatchRule, Verdict
from brokersync.matching.words import differs, id_reason


def by_broker_id(legs: Sequence[Leg], fills: Sequence[Fill]) -> None:
    """Answer the legs whose row keeps an id of a trade or of one of its bookings.

    A name means the trade that is called so before those that have only a booking of that name.
    """
    wanted = {name for leg in legs for name in leg.row.trade_ids}
    if not wanted:
        return
    called = _index(fills, wanted, lambda fill: fill.names[:1])
    booked = _index(fills, wanted, lambda fill: fill.names)
    named = {leg: _named(leg, called, booked) for leg in legs}
    claims: defaultdict[Fill, list[Leg]] = defaultdict(list)
    for leg, (sure, _) in named.items():
        for fill in sure:
            claims[fill].append(leg)
    winners = {fill: _winner(fill, claimants) for fill, claimants in claims.items()}
    for fill, winner in winners.items():
        fill.row_id = winner.row.row_id if winner else None
        fill.wanted_by = () if winner else _row_ids(claims[fill])
    for fill, claimants in _doubtful(named).items():
        if fill.free:
            fill.wanted_by = _row_ids(claimants)
    own = {leg: [fill for fill in sure if winners[fill] is leg] for leg, (sure, _) in named.items()}
    rests = _rests_of_orders(own, _orders(fills))
    for leg, (sure, unsure) in named.items():
        if sure or unsure:
            lost = [fill for fill in sure if winners[fill] is not leg]
            leg.answer = _answer(leg, own[leg], lost, unsure, rests.get(leg, []))


def _doubtful(named: Mapping[Leg, tuple[list[Fill], list[Fill]]]) -> Mapping[Fill, list[Leg]]:
    found: defaultdict[Fill, list[Leg]] = defaultdict(list)
    for leg, (_, unsure) in named.items():
        for fill in unsure:
            found[fill].append(leg)
    return found


def _orders(fills: Iterable[Fill]) -> Mapping[tuple[str, ...], list[Fill]]:
    found: defaultdict[tuple[str, ...], list[Fill]] = defaultdict(list)
    for fill in fills:
        if fill.trade.order_id and not fill.cancelled:
            found[_order_of(fill)].append(fill)
    return found


def _order_of(fill: Fill) -> tuple[str, ...]:
    return (*fill.key[:3], fill.trade.order_id or "")


def _rests_of_orders(
    own: Mapping[Leg, list[Fill]], orders: Mapping[tuple[str, ...], list[Fill]]
) -> Mapping[Leg, list[Fill]]:
    """The other fills of their order, for rows that kept the id of one and have the quantity of all."""
    rests = {leg: rest for leg, fills in own.items() if (rest := _rest_of_order(leg, fills, orders))}
    wanted = Counter(fill for rest in rests.values() for fill in rest)
    for leg, rest in list(rests.items()):
        if any(wanted[fill] > 1 for fill in rest):
            del rests[leg]
            continue
        for fill in rest:
            fill.row_id = leg.row.row_id
    return rests


def _rest_of_order(leg: Leg, own: list[Fill], orders: Mapping[tuple[str, ...], list[Fill]]) -> list[Fill]:
    if len(own) != 1 or not own[0].trade.order_id or leg.quantity <= own[0].trade.quantity:
        return []
    rest = [fill for fill in orders.get(_order_of(own[0]), ()) if fill.free and fill.trade.side is own[0].trade.side]
    return rest if rest and sum_of([*own, *rest], "").quantity == leg.quantity else []


def _row_ids(legs: Iterable[Leg]) -> tuple[str, ...]:
    return tuple(sorted({leg.row.row_id for leg in legs}))


def _index(
    fills: Iterable[Fill], wanted: set[str], names_of: Callable[[Fill], Iterable[str]]
) -> defaultdict[str, list[Fill]]:
    """Fills by the wanted names, as they are and without the kind of name that stands before a colon."""
    found: defaultdict[str, list[Fill]] = defaultdict(list)
    for fill in fills:
        for name in {form for full in names_of(fill) for form in (full, full.partition(":")[2])} & wanted:
            found[name].append(fill)
    return found


def _named(
    leg: Leg, called: defaultdict[str, list[Fill]], booked: defaultdict[str, list[Fill]]
) -> tuple[list[Fill], list[Fill]]:
    """The fills that the row's ids name beyond doubt, and those between which a name leaves the choice."""
    sure: dict[Fill, None] = {}
    unsure: dict[Fill, None] = {}
    one_of_two = leg.row.exit_price is not None
    for name in sorted(set(leg.row.trade_ids)):
        for index in (called, booked):
            fills = [
                fill
                for fill in index.get(name, ())
                if leg.scope.holds(fill.key) and not (one_of_two and fill.trade.side is not leg.side)
            ]
            if len(fills) > 1:
                fills = [fill for fill in fills if agree(leg, fill)] or fills
            if fills:
                (sure if len(fills) == 1 else unsure).update(dict.fromkeys(fills))
                break
    return list(sure), [fill for fill in unsure if fill not in sure]


def _winner(fill: Fill, claimants: Sequence[Leg]) -> Leg | None:
    """Of several rows with one id, the only one that agrees with the trade in all."""
    if len(claimants) == 1:
        return claimants[0]
    agreeing = [leg for leg in claimants if agree(leg, fill)]
    return agreeing[0] if len(agreeing) == 1 else None


def _answer(leg: Leg, own: list[Fill], lost: list[Fill], unsure: list[Fill], rest: list[Fill]) -> Answer:
    reason = id_reason(own, unsure, lost, rest)
    own = own + rest
    odd = [fill for fill in own if contradictions(leg, fill)]
    doubts = [doubt for fill in odd[:1] for doubt in contradictions(leg, fill)]
    if own:
        whole = sum_of([*odd, *(fill for fill in own if fill not in odd)], "")
        doubts += differences(leg, whole)
        reason += differs(leg, whole, doubts)
    clear = bool(own) and not doubts and not unsure
    if len(own) > 1:
        doubts.append(Doubt.SUM)
    if lost or unsure:
        doubts.append(Doubt.AMBIGUOUS)
    verdict = Verdict.SAME if clear else Verdict.LIKELY
    return Answer(verdict, MatchRule.BROKER_ID, reason, tuple(own), tuple(doubts), tuple(lost + unsure))
