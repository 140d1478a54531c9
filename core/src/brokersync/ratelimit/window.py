"""The strict rolling window: never more than the amount in any span of the period, wherever the span starts."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from typing import final

from brokersync.ratelimit.meter import Barriers


@final
class RollingWindow:
    """At most `amount` calls in any `period` seconds; a call of weight n counts as n calls of one instant."""

    __slots__ = ("_amount", "_barriers", "_floor", "_floor_room", "_granted", "_leaving", "_period", "_planned")

    def __init__(self, amount: int, period: float) -> None:
        self._amount = amount
        self._period = period
        self._leaving: deque[float] = deque()  # when each call made stops counting
        self._granted = 0
        self._planned: list[float] = []
        self._barriers = Barriers()
        self._floor_room, self._floor = -1, -math.inf

    def earliest(self, start: float, now: float, weight: int, spared: int) -> float:
        """See `Meter`."""
        self._forget(now)
        room = self._amount - weight - spared
        if len(self._leaving) + self._granted + len(self._planned) <= room:
            return start
        floor = max(now, self._barriers.of(spared))
        if room == self._floor_room:  # else each newcomer would walk past everybody who waits already
            floor = max(floor, self._floor)
        at = self._search(max(start, floor), now, room)
        if start <= floor:
            self._floor_room, self._floor = room, at
        return at

    def ready(self, now: float, weight: int, spared: int) -> float:
        """See `Meter`."""
        self._forget(now)
        room = self._amount - weight - spared - self._granted
        if room < 0:
            return self._end(now)
        blocking = len(self._leaving) - room - 1
        return self._leaving[blocking] if blocking >= 0 else now

    def plan(self, at: float, weight: int, spared: int, alone: float) -> None:
        """See `Meter`."""
        self._barriers.raise_to(alone, spared)
        index = bisect_right(self._planned, at)
        self._planned[index:index] = [at] * weight

    def unplan(self, at: float, weight: int) -> None:
        index = bisect_left(self._planned, at)
        del self._planned[index : index + weight]

    def reopen(self) -> None:
        """See `Meter`."""
        self._barriers = Barriers()
        self._floor_room, self._floor = -1, -math.inf

    def grant(self, weight: int) -> None:
        self._granted += weight

    def revoke(self, weight: int) -> None:
        self._granted -= weight

    def settle(self, now: float, weight: int, *, planned: bool) -> None:
        """See `Meter`."""
        end = self._end(now)
        if weight == 1:
            self._leaving.append(end)
        else:
            self._leaving.extend([end] * weight)

    def spend(self, now: float, at: float, weight: int) -> None:
        """See `Meter`."""
        self._forget(now)
        end = self._end(at)
        if not self._leaving or self._leaving[-1] <= end:
            self._leaving.extend([end] * weight)
        else:
            for _ in range(weight):
                insort(self._leaving, end)

    def move(self, at: float, to: float, weight: int) -> None:
        """See `Meter`."""
        old, new = self._end(at), self._end(to)
        place = bisect_left(self._leaving, old)
        for _ in range(weight):
            if place < len(self._leaving) and self._leaving[place] == old:  # else it is forgotten already
                del self._leaving[place]
        for _ in range(weight):
            insort(self._leaving, new)

    def lower(self, now: float, left: int, seconds: float) -> bool:
        """See `Meter`."""
        self._forget(now)
        missing = self._amount - left - len(self._leaving) - self._granted
        if missing <= 0:
            return False
        end = min(now + seconds, self._end(now))
        place = bisect_right(self._leaving, end)
        later = [self._leaving.pop() for _ in range(len(self._leaving) - place)]
        self._leaving.extend([end] * missing)
        self._leaving.extend(reversed(later))
        return True

    def used(self, now: float) -> float:
        """See `Meter`."""
        self._forget(now)
        return len(self._leaving)

    def allow(self, now: float, amount: int) -> None:
        """See `Meter`."""
        self._amount = amount
        self._floor_room, self._floor = -1, -math.inf

    def idle(self, now: float) -> bool:
        """See `Meter`."""
        self._forget(now)
        return not (self._leaving or self._granted or self._planned)

    def _forget(self, now: float) -> None:
        leaving = self._leaving
        while leaving and leaving[0] <= now:
            leaving.popleft()

    def _end(self, at: float) -> float:
        end = at + self._period
        while end - at < self._period:  # rounding must not make a period shorter than it is
            end = math.nextafter(end, math.inf)
        return end

    def _leaves(self, index: int, now: float) -> float:
        """When the call at `index` stops counting, in the order: made, granted, planned."""
        if index < len(self._leaving):
            return self._leaving[index]
        index -= len(self._leaving) + self._granted
        return self._end(now if index < 0 else max(self._planned[index], now))

    def _search(self, at: float, now: float, room: int) -> float:
        before_plans = len(self._leaving) + self._granted
        while True:
            index = before_plans + bisect_right(self._planned, at)
            blocking = index - room - 1
            free = self._leaves(blocking, now) if blocking >= 0 else at
            if free <= at:
                later = self._displaced(index, at, now, room)
                if later is None:
                    return at
                free = later
            at = free

    def _displaced(self, index: int, at: float, now: float, room: int) -> float | None:
        """Where to look next when a call at `at` would push a planned one out of its window; else `None`."""
        before_plans = len(self._leaving) + self._granted
        total = before_plans + len(self._planned)
        for right in range(max(index, room), min(total, index + room)):
            if self._planned[right - before_plans] < self._leaves(right - room, now):
                return self._planned[right - before_plans]
        right = index + room
        if right < total and self._planned[right - before_plans] < self._end(at):
            return self._planned[index - before_plans]
        return None
