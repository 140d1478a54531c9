"""Matching by content: the same economics at the same time, then within what real journals suffer from."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from brokersync.enums import Side
from brokersync.matching.choosing import Claim
from brokersync.matching.items import Leg, Scope, Target, digits, rounded
from brokersync.matching.times import (
    CUT_MINUTES,
    INSTANTS,
    MINUTE,
    ROUNDED_MINUTES,
    SECOND,
    SECONDS,
    Precision,
    Told,
)

_HOUR = 3600
# the offsets of the world's zones, either way: a local time taken for UTC, or the other way round
_BROKEN_HOURS = (3.5, 4.5, 5.5, 5.75, 6.5, 8.75, 9.5, 10.5, 12.75, 13.75)
_HOURS = (*range(1, 15), *_BROKEN_HOURS)
_SHIFTS = frozenset(int(hours * _HOUR) * SECOND for hours in _HOURS)
_FARTHEST = int(max(_HOURS)) * _HOUR
_PHASE = 900  # every one of them is a multiple of a quarter of an hour
_FEW = 8

_EXACT = -1
# the price stands beside the number of decimals it was rounded to; whether it buys is cheaper to look up than the side
_Economics: TypeAlias = tuple[Scope, str, bool, Decimal, int, Decimal]


class Tolerance(NamedTuple):
    """What else than the time may differ."""

    symbol: bool
    price: bool


TOLERANCES = tuple(Tolerance(symbol, price) for symbol in (False, True) for price in (False, True))


class _Group:
    """Targets of equal economics, found by their time; where they are few, by looking at each."""

    __slots__ = ("_days", "_times", "targets")

    def __init__(self) -> None:
        self.targets: list[tuple[int, Target]] = []
        self._times: dict[Told, dict[int, list[tuple[int, int]]]] | None = None
        self._days: dict[int, list[tuple[int, int]]] | None = None

    def at(self, told: Told, time: int, *, shifted: bool) -> Iterator[tuple[int, int]]:
        """The places in `targets` of those at `time`, with the seconds by which `time` is later."""
        reach = _FARTHEST * SECOND // told.unit if shifted else 0
        for at, place in self._near(told, time, reach):
            shift = (time - at) * told.unit
            if shift == 0 or (shifted and abs(shift) in _SHIFTS):
                yield place, shift // SECOND

    def on(self, day: int) -> Sequence[tuple[int, int]]:
        """The places in `targets` of those on `day`, with how far the day is off."""
        if self._days is None:
            self._days = defaultdict(list)
            for place, (_, target) in enumerate(self.targets):
                for one, off in target.days().items():
                    self._days[one].append((place, off))
        return self._days.get(day, ())

    def _near(self, told: Told, time: int, reach: int) -> Iterable[tuple[int, int]]:
        """Times and places of targets, among them all that are as far from `time` as zones are."""
        if len(self.targets) <= _FEW:
            return [
                (time, place)
                for place, (_, target) in enumerate(self.targets)
                if not target.by_day
                for time in told.times(target.moments)
            ]
        if self._times is None:
            self._times = {}
        if told not in self._times:
            self._times[told] = self._by_phase(told)
        known = self._times[told].get(time % (_PHASE * SECOND // told.unit), [])
        return known[bisect_left(known, (time - reach, -1)) : bisect_right(known, (time + reach, len(self.targets)))]

    def _by_phase(self, told: Told) -> dict[int, list[tuple[int, int]]]:
        phases: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for place, (_, target) in enumerate(self.targets):
            if not target.by_day:
                for time in told.times(target.moments):
                    phases[time % (_PHASE * SECOND // told.unit)].append((time, place))
        for known in phases.values():
            known.sort()
        return phases


class Index:
    """The targets that the legs at hand may stand for, by what must agree under one tolerance."""

    def __init__(self, legs: Iterable[Leg], targets: Sequence[Target], tolerance: Tolerance) -> None:
        self._tolerance = tolerance
        self._groups: defaultdict[_Economics, _Group] = defaultdict(_Group)
        self._legs: list[tuple[Leg, list[_Group]]] = []
        legs = list(legs)
        scopes = {(leg.scope.environment is None, leg.scope.account_id is None) for leg in legs}
        exact = {name for leg in legs for name in leg.spellings.exact}
        loose = {name for leg in legs for name in leg.spellings.loose}
        places = {digits(leg.price) for leg in legs} if tolerance.price else set()
        for target in targets:
            # a row's exact spelling meets a trade's loose one, or the other way round; two loose ones never meet
            names = [f"={name}" for name in target.spellings.exact if name in (loose if tolerance.symbol else exact)]
            if tolerance.symbol:
                names += [f"~{name}" for name in target.spellings.loose if name in exact]
            if names:
                self._add(target, names, places, scopes)
        amounts = {key[3:] for key in self._groups}
        for leg in legs if amounts else ():
            to = digits(leg.price) if tolerance.price else _EXACT
            if (leg.quantity, to, leg.price) in amounts:
                groups = [self._groups[key] for key in self._keys(leg, to) if key in self._groups]
                if groups:
                    self._legs.append((leg, groups))

    def _add(self, target: Target, names: list[str], places: set[int], scopes: set[tuple[bool, bool]]) -> None:
        key, buys = target.fills[0].key, target.side is Side.BUY
        prices = [(_EXACT, target.price)]
        if self._tolerance.price:
            finer = [to for to in places if to < digits(target.price)]
            prices = [(to, price) for to in finer for price in rounded(target.price, to) if price != target.price]
        for anywhere, any_account in scopes:
            scope = Scope(key.provider, None if anywhere else key.environment, None if any_account else key.account_id)
            for name in names:
                for to, price in prices:
                    self._groups[scope, name, buys, target.quantity, to, price].targets.append((id(target), target))

    def _keys(self, leg: Leg, to: int) -> list[_Economics]:
        names = [f"={name}" for name in leg.spellings.exact]
        if self._tolerance.symbol:
            names = [f"={name}" for name in leg.spellings.loose] + [f"~{name}" for name in leg.spellings.exact]
        return [(leg.scope, name, leg.side is Side.BUY, leg.quantity, to, leg.price) for name in names]

    def find(self, precision: Precision, *, only_free: bool = True) -> list[Claim]:
        """What the legs without an answer may stand for, as far as their time is told so exactly.

        Legs that nothing tells apart are looked up once, together. A target is one option under each tolerance.
        """
        alike: defaultdict[tuple[object, ...], list[Leg]] = defaultdict(list)
        groups_of: dict[tuple[object, ...], list[_Group]] = {}
        for leg, groups in self._legs:
            time = _time(leg, precision) if leg.answer is None else None
            if time is not None:
                key: tuple[object, ...] = (time, leg.moment is None, leg.row.zone_doubtful, *map(id, groups))
                alike[key].append(leg)
                groups_of[key] = groups
        claims: dict[tuple[object, ...], Claim] = {}
        for place, legs in alike.items():
            options = self._options(legs[0], groups_of[place], precision, only_free=only_free)
            if options:
                # a row that names its account and one that does not may mean the same
                same = (place[0], place[2], frozenset((number, shift) for number, (_, shift) in options.items()))
                claims.setdefault(same, Claim([], options)).legs.extend(legs)
        return list(claims.values())

    def _options(
        self, leg: Leg, groups: Iterable[_Group], precision: Precision, *, only_free: bool
    ) -> dict[int, tuple[Target, int]]:
        time, told = _time(leg, precision), _told(leg, precision)
        options: dict[int, tuple[Target, int]] = {}
        if time is None:
            return options
        shifted = leg.row.zone_doubtful
        for group in groups:
            found = group.on(time) if told is None else group.at(told, time, shifted=shifted)
            for place, shift in found:
                number, target = group.targets[place]
                if (target.free or not only_free) and _may_be(leg, target, precision, shift):
                    known = options.get(number)
                    if known is None or abs(shift) < abs(known[1]):
                        options[number] = (target, shift)
        return options


def tells(leg: Leg, precision: Precision, *, by_day: bool) -> bool:
    """Whether a leg can be compared so exactly; `by_day` says whether there are trades with no more than a day."""
    return (leg.moment is None or by_day) if precision is Precision.DAY else _time(leg, precision) is not None


def _time(leg: Leg, precision: Precision) -> int | None:
    """A leg's time in units of `precision`, or nothing where it is told otherwise."""
    if precision is Precision.DAY:
        return leg.day
    told = _told(leg, precision)
    if told is None or leg.moment is None:
        return None
    # a full second is what a cut off instant looks like, and a full minute what a time without seconds does
    if told.unit == MINUTE and leg.moment % MINUTE:
        return None
    if told is INSTANTS and leg.moment % SECOND == 0:
        return None
    return leg.moment // told.unit


def _told(leg: Leg, precision: Precision) -> Told | None:
    """How the leg's journal tells times, as far as they are to be compared so exactly."""
    if precision is Precision.INSTANT:
        return INSTANTS
    if precision is Precision.SECOND:
        return SECONDS if leg.minutes is None else None
    if precision is Precision.MINUTE:
        return leg.minutes or CUT_MINUTES
    if precision is Precision.OTHER_MINUTE and leg.minutes is not None:
        return CUT_MINUTES if leg.minutes is ROUNDED_MINUTES else ROUNDED_MINUTES
    return None


def _may_be(leg: Leg, target: Target, precision: Precision, shift: int) -> bool:
    if precision is not Precision.DAY:
        return True
    # a time on either side is compared by the day only where the other side tells no more
    return (leg.moment is None or target.by_day) and (shift == 0 or leg.row.zone_doubtful)
