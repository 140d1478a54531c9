"""Places that were promised to calls whose wait is longer than their callers will sleep."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import final

import attrs

from brokersync.ratelimit.applying import Counted, LimitedCall
from brokersync.ratelimit.meter import Meter

_GRACE = 120.0


@attrs.define(eq=False)
class _Promise:
    at: float
    meters: Mapping[Meter, Counted]


@final
class Promises:
    """One for each waiter and operation. Newcomers queue behind them, and they never decide whether a call may go."""

    def __init__(self) -> None:
        self._promises: dict[tuple[object, ...], _Promise] = {}
        self._ends: list[tuple[float, int, tuple[object, ...], _Promise]] = []
        self._given = 0

    def give(self, call: LimitedCall, meters: Mapping[Meter, Counted], at: float, now: float) -> None:
        """Keep a place for who comes back within two minutes of its time, or within the limits' period if that is less.

        A waiter without a name can not come back for it.
        """
        if not call.waiter or not meters:
            return
        self.take(call, meters, now)
        for meter, (_, _, weight, spared) in meters.items():
            meter.plan(at, weight, spared, meter.earliest(now, now, weight, spared))
        name, made = _name(call, meters), _Promise(at, meters)
        self._promises[name] = made
        period = max(one.limit.period.total_seconds() for one in meters.values())
        self._given += 1
        heapq.heappush(self._ends, (at + min(period, _GRACE), self._given, name, made))

    def take(self, call: LimitedCall, meters: Mapping[Meter, Counted], now: float) -> float | None:
        """The instant that the call was promised; it has that place no longer.

        The places that nobody came back for are given to others.
        """
        self._expire(now)
        promise = self._promises.pop(_name(call, meters), None)
        return None if promise is None else _release(promise)

    def __len__(self) -> int:
        return len(self._promises)

    def _expire(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, _, name, promise = heapq.heappop(self._ends)
            if self._promises.get(name) is promise:
                del self._promises[name]
                _release(promise)


def _release(promise: _Promise) -> float:
    for meter, cost in promise.meters.items():
        meter.unplan(promise.at, cost.weight)
    return promise.at


def _name(call: LimitedCall, meters: Mapping[Meter, Counted]) -> tuple[object, ...]:
    # what is promised under other limits is void
    return call.waiter, call.operation, *meters
