"""The leaky bucket: bursts up to the amount, then a steady rate. aiolimiter decides; the waits are foreseen here."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from typing import cast, final

from aiolimiter import AsyncLimiter

from brokersync.provider import Clock
from brokersync.ratelimit.meter import Barriers

_ROUNDING = 1e-9
_SHORTEST_WAIT = 1e-6


class _Time:
    """All that aiolimiter wants of a loop while nobody queues inside it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def time(self) -> float:
        return self._clock.monotonic()

    def is_closed(self) -> bool:
        return False


class _ClockedLimiter(AsyncLimiter):
    """An `AsyncLimiter` on our clock, forgiving the last digit of its own sums."""

    def __init__(self, amount: int, period: float, clock: Clock) -> None:
        super().__init__(amount, period)
        self._event_loop = cast("asyncio.AbstractEventLoop", _Time(clock))

    def fill(self, level: float, now: float) -> None:
        """Begin with a level, which may be above what it holds."""
        self._level, self._last_check = level, now

    def has_capacity(self, amount: float = 1) -> bool:
        return super().has_capacity(amount - _ROUNDING)


@final
class LeakyBucket:
    """At most `amount` calls at once, leaking `amount` per `period` seconds."""

    __slots__ = (
        "_amount", "_barriers", "_clock", "_granted", "_level", "_limiter", "_period", "_planned", "_rate", "_since",
        "_tail",
    )  # fmt: skip

    def __init__(self, amount: int, period: float, clock: Clock) -> None:
        self._limiter = _ClockedLimiter(amount, period, clock)
        self._clock, self._period = clock, period
        self._amount = amount
        self._rate = amount / period
        self._level, self._since = 0.0, clock.monotonic()
        self._granted = 0
        self._planned: list[tuple[float, int]] = []
        self._barriers = Barriers()
        self._tail: tuple[float, float] | None = None  # the level behind the last plan, if nothing moved since

    def earliest(self, start: float, now: float, weight: int, spared: int) -> float:
        """See `Meter`."""
        at, weight = max(start, now, self._barriers.of(spared)), weight + spared
        if self._tail is not None and self._tail[0] <= at:
            return at + self._drain(self._after(self._tail[1], self._tail[0], at) + weight)
        level, since, index = self._now(now), now, 0
        while True:
            while index < len(self._planned) and self._planned[index][0] <= at:
                planned, planned_weight = self._planned[index]
                level = self._after(level, since, planned) + planned_weight
                since, index = max(since, planned), index + 1
            at += self._drain(self._after(level, since, at) + weight)
            if index < len(self._planned) and self._planned[index][0] <= at:
                at = self._planned[index][0]
                continue
            overflow = self._overflow(index, at, self._after(level, since, at) + weight)
            if overflow is None:
                return at
            at = overflow

    def ready(self, now: float, weight: int, spared: int) -> float:
        """See `Meter`."""
        weight += spared
        if self._limiter.has_capacity(self._granted + weight):
            return now
        return now + max(self._drain(self._now(now) + weight), _SHORTEST_WAIT)

    def plan(self, at: float, weight: int, spared: int, alone: float) -> None:
        """See `Meter`."""
        self._barriers.raise_to(alone, spared)
        self._planned.insert(bisect_right(self._planned, at, key=_instant), (at, weight))
        if self._tail is None and len(self._planned) == 1:
            self._tail = at, self._after(self._level + self._granted, self._since, at) + weight
        elif self._tail is not None:
            last, level = self._tail
            self._tail = (at, self._after(level, last, at) + weight) if at >= last else None

    def unplan(self, at: float, weight: int) -> None:
        self._planned.remove((at, weight))
        if not self._planned:
            self._tail = None

    def reopen(self) -> None:
        """See `Meter`."""
        self._barriers = Barriers()
        self._tail = None

    def grant(self, weight: int) -> None:
        self._granted += weight

    def revoke(self, weight: int) -> None:
        self._granted -= weight

    def settle(self, now: float, weight: float, *, planned: bool) -> None:
        """See `Meter`."""
        if not self._limiter.has_capacity(weight):
            raise RuntimeError("a call was granted that the bucket has no room for")
        self._level, self._since = self._after(self._level, self._since, now) + weight, now
        if not planned:
            self._tail = None
        step = self._limiter.acquire(weight)
        try:
            step.send(None)  # with capacity it never suspends, so one step is all of it
        except StopIteration:
            return
        raise AssertionError("it waits though it has capacity")

    def spend(self, now: float, at: float, weight: int) -> None:
        """See `Meter`."""
        level = self._after(self._level, self._since, now) + weight
        # fuller than full it would hold up its process for as long as others kept all of the limit used
        self._level, self._since, self._tail = min(level, max(self._amount - self._granted, 0)), now, None
        self._limiter.fill(self._level, now)

    def move(self, at: float, to: float, weight: int) -> None:
        """See `Meter`; what is late by less than a call takes to leak is one call too many at most."""

    def lower(self, now: float, left: int, seconds: float) -> bool:
        """See `Meter`; how soon more is left again, its rate says."""
        missing = self._amount - left - self._now(now)
        if missing <= 0:
            return False
        self.settle(now, missing, planned=False)
        return True

    def used(self, now: float) -> float:
        """See `Meter`."""
        return self._after(self._level, self._since, now)

    def allow(self, now: float, amount: int) -> None:
        """See `Meter`; what was granted has its place."""
        level = self._after(self._level, self._since, now)
        self._amount = max(amount, self._granted)
        if self._granted:
            level = min(level, self._amount - self._granted)
        self._rate, self._level, self._since, self._tail = self._amount / self._period, level, now, None
        self._limiter = _ClockedLimiter(self._amount, self._period, self._clock)
        self._limiter.fill(level, now)

    def idle(self, now: float) -> bool:
        """See `Meter`."""
        return not self._planned and self._now(now) <= 0

    def _now(self, now: float) -> float:
        return self._after(self._level, self._since, now) + self._granted

    def _after(self, level: float, since: float, at: float) -> float:
        return max(level - max(at - since, 0.0) * self._rate, 0.0)

    def _drain(self, level: float) -> float:
        """How long until this level fits again."""
        over = level - self._amount
        return over / self._rate if over > _ROUNDING else 0.0

    def _overflow(self, index: int, since: float, level: float) -> float | None:
        """The first planned call that would no longer fit."""
        for at, weight in self._planned[index:]:
            level = self._after(level, since, at) + weight
            if level > self._amount + _ROUNDING:
                return at
            since = at
        return None


def _instant(planned: tuple[float, int]) -> float:
    return planned[0]
