"""The rules in their order, strongest first, and one answer for each row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

from brokersync.matching.by_id import by_broker_id, by_order_id
from brokersync.matching.choosing import Link, Tie
from brokersync.matching.content import TOLERANCES, Index, Tolerance, tells
from brokersync.matching.items import (
    Answer,
    Fill,
    Leg,
    Target,
    fills_of,
    legs_of,
    sum_of,
    target_of,
    to_the_second,
)
from brokersync.matching.minutes import learn_minutes
from brokersync.matching.sums import say_what_looks_like_a_sum
from brokersync.matching.times import SECOND, Precision
from brokersync.matching.values import Doubt, ExistingTrade, Match, MatchRule, NamedTrade, TradeKey, Verdict
from brokersync.matching.words import (
    content_reason,
    nothing_reason,
    part_reason,
    round_trip_reason,
    taken_reason,
    tie_reason,
)

_MOST_CANDIDATES = 10


def match_rows(rows: Iterable[ExistingTrade], trades: Iterable[NamedTrade]) -> tuple[Match, ...]:
    """An answer for each row, in the order of the rows, which decides nothing else.

    A trade is linked to one row at most. Raises `ValueError` for a row id or a trade that comes twice.
    """
    rows = tuple(rows)
    ordered = {row.row_id: legs_of(row) for row in sorted(rows, key=lambda row: row.row_id)}
    if len(ordered) < len(rows):
        raise ValueError("the ids of the rows are not unique")
    legs = [leg for of_row in ordered.values() for leg in of_row]
    fills = fills_of(trades)
    by_broker_id(legs, fills)
    by_order_id(legs, fills)
    _by_content(legs, fills)
    say_what_looks_like_a_sum(legs, fills)
    return tuple(_match(row, ordered[row.row_id]) for row in rows)


def _by_content(legs: Sequence[Leg], fills: Sequence[Fill]) -> None:
    live = [fill for fill in fills if not fill.cancelled]
    learn_minutes(legs, lambda: [*_singles(live), *_orders(live)])
    minutes = (Precision.MINUTE, Precision.OTHER_MINUTE)
    for targets, precisions in (
        (lambda: _singles(live), tuple(Precision)),
        (lambda: _orders(live), (Precision.SECOND, *minutes, Precision.DAY)),
        (lambda: _clusters(live), (Precision.SECOND, *minutes)),
        (lambda: _singles(fill for fill in fills if fill.cancelled), tuple(Precision)),
    ):
        _link_all(legs, targets, precisions)
    _say_what_is_taken(legs, fills)
    _say_what_is_a_part(legs, live)


def _link_all(legs: Sequence[Leg], targets: Callable[[], list[Target]], precisions: Sequence[Precision]) -> None:
    open_legs = [leg for leg in legs if leg.answer is None]
    free = targets() if open_legs else []
    if not free:
        return
    by_day = any(target.by_day for target in free)
    indexes: dict[Tolerance, Index] = {}
    for precision in precisions:
        if not any(leg.answer is None and tells(leg, precision, by_day=by_day) for leg in open_legs):
            continue
        for tolerance in TOLERANCES:
            # made when it is needed, for what is still open then
            if tolerance not in indexes:
                open_legs = [leg for leg in open_legs if leg.answer is None]
                free = [target for target in free if target.free]
                indexes[tolerance] = Index(open_legs, free, tolerance)
            links, ties = indexes[tolerance].choose(precision)
            for link in links:
                _settle(link, _doubts(link.leg, [link.target], precision, tolerance, link.shift))
            _leave_open(ties, precision, tolerance)


def _settle(link: Link, doubts: tuple[Doubt, ...]) -> None:
    for fill in link.target.fills:
        fill.row_id = link.leg.row.row_id
    reason = content_reason(link.leg, link.target, link.shift, doubts)
    link.leg.answer = Answer(Verdict.LIKELY, MatchRule.CONTENT, reason, link.target.fills, doubts)


def _leave_open(ties: Iterable[Tie], precision: Precision, tolerance: Tolerance) -> None:
    wanted: defaultdict[Fill, list[tuple[str, ...]]] = defaultdict(list)
    for tie in ties:
        doubts = (*_doubts(tie.legs[0], tie.targets, precision, tolerance, 0), Doubt.AMBIGUOUS)
        fills = tuple(fill for target in tie.targets for fill in target.fills)
        reason = tie_reason(tie.legs[0], len(tie.legs), tie.targets, doubts)
        answer = Answer(Verdict.LIKELY, MatchRule.CONTENT, reason, (), doubts, fills[:_MOST_CANDIDATES])
        for leg in tie.legs:
            leg.answer = answer
        row_ids = tuple(sorted({leg.row.row_id for leg in tie.legs}))
        for fill in fills:
            wanted[fill].append(row_ids)
    for fill, claims in wanted.items():
        fill.wanted_by = claims[0] if len(claims) == 1 else tuple(sorted(set().union(*claims)))


def _doubts(
    leg: Leg, targets: Sequence[Target], precision: Precision, tolerance: Tolerance, shift: int
) -> tuple[Doubt, ...]:
    first = targets[0]
    minutes = precision.by_minute and not all(to_the_second(leg, target, shift) for target in targets)
    by_day = precision is Precision.DAY
    return _named_doubts(minutes, by_day, tolerance, shift != 0, len(first.fills) > 1, first.fills[0].cancelled)


@cache
def _named_doubts(
    minutes: bool, by_day: bool, tolerance: Tolerance, shifted: bool, is_sum: bool, cancelled: bool
) -> tuple[Doubt, ...]:
    found = {
        Doubt.MINUTES: minutes,
        Doubt.DATE_ONLY: by_day,
        Doubt.SHIFTED: shifted,
        Doubt.ROUNDED: tolerance.price,
        Doubt.SYMBOL: tolerance.symbol,
        Doubt.SUM: is_sum,
        Doubt.CANCELLED: cancelled,
    }
    return tuple(doubt for doubt, holds in found.items() if holds)


def _singles(fills: Iterable[Fill]) -> list[Target]:
    return [target_of(fill) for fill in fills if fill.free]


def _orders(fills: Iterable[Fill]) -> list[Target]:
    """The orders none of whose fills is linked yet."""

    def order(fill: Fill) -> tuple[str, ...]:
        key = fill.key
        return (key.provider, key.environment, key.account_id, fill.trade.order_id or "")

    return list(_sums((fill for fill in fills if fill.trade.order_id), order, "fills of one order"))


def _clusters(fills: Iterable[Fill]) -> list[Target]:
    """What was filled in one second, where no order binds it together."""

    def second(fill: Fill) -> tuple[object, ...]:
        key, trade = fill.key, fill.trade
        return (
            key.provider, key.environment, key.account_id, trade.instrument.symbol, trade.side, fill.moment // SECOND
        )  # fmt: skip

    return list(_sums(fills, second, "fills of the same second"))


def _sums(fills: Iterable[Fill], of: Callable[[Fill], tuple[object, ...]], what: str) -> Iterator[Target]:
    groups: defaultdict[tuple[object, ...], list[Fill]] = defaultdict(list)
    for fill in fills:
        groups[of(fill)].append(fill)
    for group in groups.values():
        alike = len({(fill.trade.side, fill.trade.instrument.symbol) for fill in group}) == 1
        if len(group) > 1 and alike and all(fill.free for fill in group):
            yield sum_of(group, what)


def _say_what_is_taken(legs: Sequence[Leg], fills: Sequence[Fill]) -> None:
    """A row for which there is nothing left, though something would fit, may be there twice."""
    open_legs = [leg for leg in legs if leg.answer is None]
    if not open_legs:
        return
    index = Index(open_legs, [target_of(fill) for fill in fills if not fill.free], TOLERANCES[0])
    for precision in Precision:
        for claim in index.find(precision, free=False):
            found = sorted((target.fills[0] for target, _ in claim.options.values()), key=lambda fill: fill.key)
            candidates = tuple(found[:_MOST_CANDIDATES])
            answer = Answer(Verdict.NEW, MatchRule.TAKEN, taken_reason(found), candidates=candidates)
            for leg in claim.legs:
                leg.answer = answer


def _say_what_is_a_part(legs: Sequence[Leg], fills: Iterable[Fill]) -> None:
    """A row that would be the same but for a smaller quantity: journals split fills where they pair them."""
    alike: defaultdict[tuple[object, ...], list[Leg]] = defaultdict(list)
    for leg in legs:
        if leg.answer is None and leg.moment is not None:
            alike[leg.scope, leg.spellings.exact, leg.moment // SECOND, leg.side, leg.price, leg.quantity].append(leg)
    known: defaultdict[tuple[object, ...], list[Fill]] = defaultdict(list)
    for target in _singles(fills) if alike else ():
        for name in target.spellings.exact:
            known[name, target.moments[0] // SECOND, target.side, target.price].append(target.fills[0])
    for (_, _, *place, _), equal in alike.items():
        found = {
            fill.key: fill
            for name in equal[0].spellings.exact
            for fill in known.get((name, *place), ())
            if equal[0].scope.holds(fill.key) and equal[0].quantity < fill.trade.quantity
        }
        if found:
            whole = tuple(found[key] for key in sorted(found))[:_MOST_CANDIDATES]
            reason = part_reason(equal[0], whole)
            for leg in equal:
                leg.answer = Answer(Verdict.LIKELY, MatchRule.PART, reason, (), (Doubt.AMBIGUOUS,), whole)


def _match(row: ExistingTrade, legs: Sequence[Leg]) -> Match:
    answers = [leg.answer or Answer(Verdict.NEW, MatchRule.NONE, nothing_reason()) for leg in legs]
    answer = answers[0] if len(answers) == 1 else _of_round_trip(answers)
    return Match(
        row_id=row.row_id,
        verdict=answer.verdict,
        trades=_keys(answer.fills),
        reason=answer.reason,
        rule=answer.rule,
        doubts=answer.doubts,
        candidates=_keys(answer.candidates)[:_MOST_CANDIDATES],
    )


def _of_round_trip(answers: Sequence[Answer]) -> Answer:
    """Entry and exit as one answer: as sure as the less sure half, and new only when neither half is known."""
    entry, exit_ = answers
    found = [answer for answer in answers if answer.verdict is not Verdict.NEW]
    doubts = [doubt for answer in answers for doubt in answer.doubts]
    if len(found) == 1:
        doubts.append(Doubt.HALF)
    all_same = all(answer.verdict is Verdict.SAME for answer in answers)
    verdict = Verdict.SAME if all_same else Verdict.LIKELY if found else Verdict.NEW
    return Answer(
        verdict,
        max((answer.rule for answer in answers), key=list(MatchRule).index) if not found else found[-1].rule,
        round_trip_reason(entry.reason, exit_.reason),
        entry.fills + exit_.fills,
        tuple(dict.fromkeys([Doubt.ROUND_TRIP, *doubts])),
        entry.candidates + exit_.candidates,
    )


def _keys(fills: Iterable[Fill]) -> tuple[TradeKey, ...]:
    return tuple(TradeKey(*key) for key in sorted({fill.key for fill in fills}))
