"""Matching by content, pass after pass: the strictest that fits decides, and what it leaves open is open for looser."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from brokersync.matching.choosing import Claim, Link, choose_beside, with_spare
from brokersync.matching.content import TOLERANCES, Index, Tolerance, tells
from brokersync.matching.items import MOST_CANDIDATES, Answer, Fill, Leg, Target, is_free, to_the_second
from brokersync.matching.minutes import learn_minutes
from brokersync.matching.targets import KINDS, Kind, orders, singles
from brokersync.matching.times import Precision
from brokersync.matching.values import Doubt, MatchRule, Verdict
from brokersync.matching.words import content_reason, tie_reason


class Level(NamedTuple):
    """How exactly a leg was compared with what it may stand for."""

    precision: Precision
    tolerance: Tolerance


def by_content(legs: Sequence[Leg], fills: Sequence[Fill]) -> None:
    """Answer the legs that fit free fills, or sums of them, and that nothing else claims as well."""
    live = [fill for fill in fills if not fill.cancelled]
    learn_minutes(legs, lambda: [*singles(live, is_free), *orders(live, is_free)])
    for kind in KINDS:
        _link_all(legs, live, kind)
    _link_all(legs, [fill for fill in fills if fill.cancelled], KINDS[0])


def _link_all(legs: Sequence[Leg], fills: Sequence[Fill], kind: Kind) -> None:
    open_legs = [leg for leg in legs if leg.answer is None]
    free = kind.of(fills, is_free) if open_legs else []
    if not free:
        return
    by_day = any(target.by_day for target in free)
    indexes: dict[Tolerance, Index] = {}
    levels: dict[Leg, Level] = {}
    held: list[Claim] = []
    for precision in kind.precisions:
        if not any(leg.answer is None and tells(leg, precision, by_day=by_day) for leg in open_legs):
            continue
        for tolerance in TOLERANCES:
            # made when it is needed, for what is still open then
            if tolerance not in indexes:
                open_legs = [leg for leg in open_legs if leg.answer is None]
                free = [target for target in free if target.free]
                indexes[tolerance] = Index(open_legs, free, tolerance)
            claims = indexes[tolerance].find(precision)
            if claims:
                levels |= {leg: Level(precision, tolerance) for claim in claims for leg in claim.legs}
                held = _decide(claims, held, levels)
    _want(held)


def _decide(claims: Sequence[Claim], held: Sequence[Claim], levels: Mapping[Leg, Level]) -> list[Claim]:
    """Link what is forced, and answer what is open; of that, what looser rows may still decide."""
    links, ties = choose_beside(claims, held)
    for link in links:
        _settle(link, levels[link.leg])
    for tie in ties:
        _say_open(tie, levels)
    spare, closed = with_spare(ties)
    _want(closed)
    return spare


def _settle(link: Link, level: Level) -> None:
    for fill in link.target.fills:
        fill.row_id = link.leg.row.row_id
    doubts = doubts_of(link.leg, [link.target], level, link.shift)
    reason = content_reason(link.leg, link.target, link.shift, doubts)
    link.leg.answer = Answer(Verdict.LIKELY, MatchRule.CONTENT, reason, link.target.fills, doubts)


def _say_open(tie: Claim, levels: Mapping[Leg, Level]) -> None:
    targets = tie.targets
    fills = tuple(fill for target in targets for fill in target.fills)[:MOST_CANDIDATES]
    alike: defaultdict[Level, list[Leg]] = defaultdict(list)
    for leg in tie.legs:
        alike[levels[leg]].append(leg)
    for level, legs in alike.items():
        doubts = (*doubts_of(legs[0], targets, level, 0), Doubt.AMBIGUOUS)
        reason = tie_reason(legs[0], len(tie.legs), targets, doubts)
        answer = Answer(Verdict.LIKELY, MatchRule.CONTENT, reason, (), doubts, fills)
        for leg in legs:
            leg.answer = answer


def _want(ties: Iterable[Claim]) -> None:
    """Keep for these rows what it is open for which of them it is."""
    wanted: defaultdict[Fill, list[tuple[str, ...]]] = defaultdict(list)
    for tie in ties:
        row_ids = tuple(sorted({leg.row.row_id for leg in tie.legs}))
        for target, _ in tie.options.values():
            for fill in target.fills:
                wanted[fill].append(row_ids)
    for fill, claims in wanted.items():
        fill.wanted_by = claims[0] if len(claims) == 1 else tuple(sorted(set().union(*claims)))


def doubts_of(leg: Leg, targets: Sequence[Target], level: Level, shift: int) -> tuple[Doubt, ...]:
    """What had to be tolerated for these to be what the leg stands for."""
    first, (precision, tolerance) = targets[0], level
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
