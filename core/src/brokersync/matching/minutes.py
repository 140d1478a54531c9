"""Journals that keep no seconds: recognised by all of their rows, and by what those fit better."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from brokersync.matching.choosing import Claim
from brokersync.matching.content import TOLERANCES, Index
from brokersync.matching.items import Leg, Target
from brokersync.matching.times import CUT_MINUTES, MINUTE, ROUNDED_MINUTES, Precision


def learn_minutes(legs: Iterable[Leg], targets: Callable[[], Sequence[Target]]) -> None:
    """Note of each leg whose journal keeps minutes only how it comes by them.

    All rows of a broker are one journal. Where both ways explain as many rows, its times count as cut off.
    """
    journals: defaultdict[str, list[Leg]] = defaultdict(list)
    for leg in legs:
        if leg.moment is not None:
            journals[leg.scope.provider].append(leg)
    for timed in journals.values():
        if any(leg.moment is not None and leg.moment % MINUTE for leg in timed):
            continue
        for leg in timed:
            leg.minutes = CUT_MINUTES
        open_legs = [leg for leg in timed if leg.answer is None]
        if open_legs and _are_rounded(open_legs, targets()):
            for leg in timed:
                leg.minutes = ROUNDED_MINUTES


def _are_rounded(legs: Sequence[Leg], targets: Sequence[Target]) -> bool:
    """Of rows that count as cut off, whether they fit the trades better when they are taken as rounded."""
    for tolerance in TOLERANCES:
        index = Index(legs, targets, tolerance)
        cut, rounded = (_explained(index.find(how)) for how in (Precision.MINUTE, Precision.OTHER_MINUTE))
        if cut != rounded:
            return rounded > cut
    return False


def _explained(claims: Iterable[Claim]) -> int:
    """How many legs can have a trade at all, with their times off by one and the same shift."""
    found: Counter[int] = Counter()
    for claim in claims:
        for shift, number in Counter(shift for _, shift in claim.options.values()).items():
            found[shift] += min(number, len(claim.legs))
    return max(found.values(), default=0)
