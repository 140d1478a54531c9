"""Who gets what, where rows and trades fit each other: forced choices are made, the others are left open."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import attrs

from brokersync.matching.items import Leg, Target


@attrs.define(eq=False)
class Claim:
    """Legs that nothing tells apart, and what they may stand for, with how far the time is off."""

    legs: list[Leg]
    options: dict[int, tuple[Target, int]]

    @property
    def targets(self) -> list[Target]:
        return sorted((target for target, _ in self.options.values()), key=lambda target: target.fills[0].key)


@attrs.frozen(eq=False)
class Link:
    leg: Leg
    target: Target
    shift: int


def choose(claims: Sequence[Claim]) -> tuple[list[Link], list[Claim]]:
    """The links that are forced, and what is left open. A leg in neither lost its options to others."""
    links: list[Link] = []
    ties: list[Claim] = []
    wanted = Counter(number for claim in claims for number in claim.options)
    shared: list[Claim] = []
    for claim in claims:
        if _is_clear(claim) and all(wanted[number] == 1 for number in claim.options):
            links += _paired(claim)
        else:
            shared.append(claim)
    for together in _components(shared):
        if len(together) > 1 or any(shift for _, shift in together[0].options.values()):
            open_, tied = _with_one_shift(together)
            if tied:
                ties += together
                continue
        else:
            open_ = together
        _peel(open_, links, ties)
    return links, ties


def choose_beside(claims: Sequence[Claim], held: Sequence[Claim]) -> tuple[list[Link], list[Claim]]:
    """The same, beside what was left open for rows that tell more: these lose none of it to others."""
    if not held:
        return choose(claims)
    links: list[Link] = []
    ties: list[Claim] = []
    others: list[Claim] = []
    first = {id(claim) for claim in held}
    for together in _components([*held, *claims]):
        before = [claim for claim in together if id(claim) in first]
        if not before:
            others += together
        elif len(before) == len(together):
            ties += together
        else:
            forced, open_ = choose(_merged(together))
            served = {link.leg for link in forced} | {leg for claim in open_ for leg in claim.legs}
            if all(leg in served for claim in before for leg in claim.legs):
                links += forced
                ties += open_
            else:
                ties += together
    forced, open_ = choose(others)
    return links + forced, ties + open_


def with_spare(ties: Sequence[Claim]) -> tuple[list[Claim], list[Claim]]:
    """Those where one row more or less could force a choice, and those for whose rows there are not enough targets."""
    spare: list[Claim] = []
    closed: list[Claim] = []
    for together in _components(ties):
        options = {number for claim in together for number in claim.options}
        as_they_are = not any(shift for claim in together for _, shift in claim.options.values())
        enough = len(options) > sum(len(claim.legs) for claim in together)
        (spare if enough and as_they_are else closed).extend(together)
    return spare, closed


def _merged(claims: Iterable[Claim]) -> list[Claim]:
    """Legs that may be the same are one claim, however their times are told."""
    found: dict[frozenset[tuple[int, int]], Claim] = {}
    for claim in claims:
        same = frozenset((number, shift) for number, (_, shift) in claim.options.items())
        found.setdefault(same, Claim([], dict(claim.options))).legs.extend(claim.legs)
    return list(found.values())


def _is_clear(claim: Claim) -> bool:
    """Whether the claim alone leaves no choice: as many options as legs, and the time off by the same for all."""
    return len(claim.options) == len(claim.legs) and len({shift for _, shift in claim.options.values()}) == 1


def _components(claims: Sequence[Claim]) -> list[list[Claim]]:
    """The claims in groups that share no option."""
    parents: dict[int, int] = {}

    def root(node: int) -> int:
        while (parent := parents.setdefault(node, node)) != node:
            parents[node] = node = parents[parent]
        return node

    for claim in claims:
        first = root(next(iter(claim.options)))
        for option in claim.options:
            parents[root(option)] = first
    groups: defaultdict[int, list[Claim]] = defaultdict(list)
    for claim in claims:
        groups[root(next(iter(claim.options)))].append(claim)
    return list(groups.values())


def _with_one_shift(claims: list[Claim]) -> tuple[list[Claim], bool]:
    """The claims with the options that the fewest assumptions leave, and whether two assumptions are equally good.

    Times as they are stand before any shift, and one shift that explains all rows before several.
    """
    covering = [_shifts_that_cover(claim) for claim in claims]
    common = set.intersection(*covering)
    if 0 in common:
        return [_only(claim, 0) for claim in claims], False
    if not any(0 in shifts for shifts in covering):
        if len(common) > 1:
            return [], True
        return ([_only(claim, *common) for claim in claims] if common else claims), False
    if common:
        return [], True
    exact = [_only(claim, 0) for claim, shifts in zip(claims, covering, strict=True) if 0 in shifts]
    taken = {option for claim in exact for option in claim.options}
    others = [claim for claim, shifts in zip(claims, covering, strict=True) if 0 not in shifts]
    for claim in others:
        claim.options = {number: option for number, option in claim.options.items() if number not in taken}
    return exact + [claim for claim in others if claim.options], False


def _shifts_that_cover(claim: Claim) -> set[int]:
    counts: defaultdict[int, int] = defaultdict(int)
    for _, shift in claim.options.values():
        counts[shift] += 1
    return {shift for shift, count in counts.items() if count >= len(claim.legs)}


def _only(claim: Claim, shift: int) -> Claim:
    return Claim(claim.legs, {number: option for number, option in claim.options.items() if option[1] == shift})


def _peel(claims: list[Claim], links: list[Link], ties: list[Claim]) -> None:
    """Link claims that have as many options as legs, as long as that leaves no choice; then the rest is a tie."""
    while claims:
        forced = [claim for claim in claims if len(claim.options) == len(claim.legs)]
        wanted: defaultdict[int, int] = defaultdict(int)
        for claim in forced:
            for number in claim.options:
                wanted[number] += 1
        clear = [claim for claim in forced if all(wanted[number] == 1 for number in claim.options)]
        if not clear:
            merged = _merged(claims)
            if len(merged) < len(claims):
                claims = merged
                continue
            ties += claims
            return
        taken = {number for claim in clear for number in claim.options}
        for claim in clear:
            links += _paired(claim)
        left = [claim for claim in claims if taken.isdisjoint(claim.options) or len(claim.options) != len(claim.legs)]
        for claim in left:
            claim.options = {number: option for number, option in claim.options.items() if number not in taken}
        claims = [claim for claim in left if claim.options]


def _paired(claim: Claim) -> Iterable[Link]:
    """Equal rows and equal fills, each in their own order: which gets which makes no difference."""
    if len(claim.legs) == 1:
        ((target, shift),) = claim.options.values()
        return [Link(claim.legs[0], target, shift)]
    legs = sorted(claim.legs, key=lambda leg: (leg.moment or 0, leg.row.row_id))
    options = sorted(claim.options.values(), key=lambda option: (option[0].moments, option[0].fills[0].key))
    return [Link(leg, target, shift) for leg, (target, shift) in zip(legs, options, strict=True)]
