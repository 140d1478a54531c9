"""Rows for which nothing is left, though something would fit: is it linked to others, or only open for them?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from brokersync.matching.by_content import Level, doubts_of
from brokersync.matching.choosing import Claim
from brokersync.matching.content import TOLERANCES, Index, Tolerance
from brokersync.matching.items import MOST_CANDIDATES, Answer, Fill, Leg, Target
from brokersync.matching.targets import KINDS, orders, singles
from brokersync.matching.times import SECOND
from brokersync.matching.values import Doubt, MatchRule, Verdict
from brokersync.matching.words import fits_too_reason, left_reason, part_reason, taken_reason


def say_what_is_open(legs: Sequence[Leg], fills: Sequence[Fill]) -> None:
    """Name what would fit, were it not open for other rows or linked to them in part."""
    for claim, level in _would_fit(legs, fills, _is_open):
        targets = claim.targets
        candidates = tuple(dict.fromkeys(fill for target in targets for fill in target.fills if _unlinked(fill)))
        doubts = (*doubts_of(claim.legs[0], targets, level, 0), Doubt.AMBIGUOUS)
        reason = left_reason(claim.legs[0], candidates, _fills(targets), doubts)
        answer = Answer(Verdict.LIKELY, MatchRule.CONTENT, reason, (), doubts, candidates[:MOST_CANDIDATES])
        for leg in claim.legs:
            leg.answer = answer


def say_what_is_taken(legs: Sequence[Leg], fills: Sequence[Fill]) -> None:
    """A row for which there is nothing left, though something would fit, may be there twice."""
    for claim, _ in _would_fit(legs, fills, lambda target: not any(map(_unlinked, target.fills))):
        found = _fills(claim.targets)
        answer = Answer(Verdict.NEW, MatchRule.TAKEN, taken_reason(found), candidates=tuple(found[:MOST_CANDIDATES]))
        for leg in claim.legs:
            leg.answer = answer


def say_what_fits_as_well(legs: Iterable[Leg], fills: Sequence[Fill]) -> None:
    """Name the order to which no row is linked, and that fits as well as the single fill a row is linked to."""
    linked = [leg for leg in legs if _is_of_one_fill(leg)]
    targets = orders((fill for fill in fills if not fill.cancelled), _unlinked) if linked else []
    for tolerance in TOLERANCES if targets else ():
        asked = {attrs.evolve(leg, answer=None): leg for leg in linked if _tolerates(leg, tolerance)}
        index = Index(asked, targets, tolerance)
        for precision in KINDS[1].precisions:
            for claim in index.find(precision, only_free=False):
                for leg in claim.legs:
                    _add_rivals(asked[leg], claim)


def say_what_is_a_part(legs: Sequence[Leg], fills: Iterable[Fill]) -> None:
    """A row that would be the same but for a smaller quantity: journals split fills where they pair them."""
    alike: defaultdict[tuple[object, ...], list[Leg]] = defaultdict(list)
    for leg in legs:
        if leg.answer is None and leg.moment is not None:
            alike[leg.scope, leg.spellings.exact, leg.moment // SECOND, leg.side, leg.price, leg.quantity].append(leg)
    known: defaultdict[tuple[object, ...], list[Fill]] = defaultdict(list)
    live = (fill for fill in fills if not fill.cancelled) if alike else ()
    for target in singles(live, _unlinked):
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
            whole = tuple(found[key] for key in sorted(found))[:MOST_CANDIDATES]
            reason = part_reason(equal[0], whole)
            for leg in equal:
                leg.answer = Answer(Verdict.LIKELY, MatchRule.PART, reason, (), (Doubt.AMBIGUOUS,), whole)


def _would_fit(
    legs: Iterable[Leg], fills: Sequence[Fill], wanted: Callable[[Target], bool]
) -> Iterator[tuple[Claim, Level]]:
    """What open legs would fit, were everything free; the caller answers them as they come."""
    open_legs = [leg for leg in legs if leg.answer is None]
    if not open_legs or all(fill.free for fill in fills):
        return
    live = [fill for fill in fills if not fill.cancelled]
    for kind in KINDS:
        targets = [*kind.of(live, lambda _: True), *kind.of(live, _unlinked)]
        if kind is KINDS[0]:
            targets = singles(fills, lambda _: True)
        targets = [target for target in targets if wanted(target)]
        for tolerance in TOLERANCES if targets else ():
            index = Index(open_legs, targets, tolerance)
            for precision in kind.precisions:
                for claim in index.find(precision, only_free=False):
                    yield claim, Level(precision, tolerance)


def _is_open(target: Target) -> bool:
    return not target.free and any(map(_unlinked, target.fills))


def _unlinked(fill: Fill) -> bool:
    return fill.row_id is None


def _fills(targets: Iterable[Target]) -> list[Fill]:
    return sorted({fill for target in targets for fill in target.fills}, key=lambda fill: fill.key)


def _is_of_one_fill(leg: Leg) -> bool:
    answer = leg.answer
    if answer is None or answer.rule is not MatchRule.CONTENT or len(answer.fills) != 1:
        return False
    to_the_instant = leg.moment is not None and leg.moment % SECOND and leg.moment == answer.fills[0].moment
    return not to_the_instant and not answer.fills[0].cancelled


def _tolerates(leg: Leg, tolerance: Tolerance) -> bool:
    doubts = leg.answer.doubts if leg.answer else ()
    return (Doubt.SYMBOL in doubts or not tolerance.symbol) and (Doubt.ROUNDED in doubts or not tolerance.price)


def _add_rivals(leg: Leg, claim: Claim) -> None:
    answer = leg.answer
    if answer is None:
        return
    shifted = Doubt.SHIFTED in answer.doubts
    rivals = _fills(target for target, shift in claim.options.values() if shifted or not shift)
    rivals = [fill for fill in rivals if fill not in answer.fills and fill not in answer.candidates]
    if rivals:
        leg.answer = answer._replace(
            reason=answer.reason + fits_too_reason(rivals),
            doubts=tuple(dict.fromkeys((*answer.doubts, Doubt.AMBIGUOUS))),
            candidates=(*answer.candidates, *rivals),
        )
