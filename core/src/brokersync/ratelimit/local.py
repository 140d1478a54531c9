"""The limiter of one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import final

import attrs

from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.provider import Clock
from brokersync.ratelimit.applying import Counted, LimitedCall, OnWait, apart
from brokersync.ratelimit.keys import freeze_key
from brokersync.ratelimit.lane import Lane
from brokersync.ratelimit.left import Left
from brokersync.ratelimit.refusal import Penalty, Refusal
from brokersync.ratelimit.silences import Silences, Thaw
from brokersync.ratelimit.slots import Free, Held, Slots
from brokersync.ratelimit.waiting import Call

_NOTHING_TAKEN = Free()
# when one will be over that is under way is not known
COME_BACK_AFTER = timedelta(seconds=5)


@final
class LocalLimiter:
    """Keeps the limits for all connections of this process; one event loop uses it.

    A window is kept strictly: never more than its amount in any span of its period, by the instants at which
    `acquire` returned, or later where the call says that it leaves later. What nobody used for a period is forgotten.
    """

    def __init__(self, clock: Clock, *, jitter: timedelta = timedelta(0)) -> None:
        """Windows are longer by `jitter`, since a call may be longer on its way than the next."""
        self._clock, self._jitter = clock, jitter
        self._lanes: dict[str, Lane] = {}
        self._slots: dict[str, Slots] = {}
        self._silences = Silences(clock)

    async def acquire(self, call: LimitedCall, *, longest: timedelta, on_wait: OnWait) -> Went:
        """See `Limiter`. A call that is cancelled while it waits gives its place to those behind it."""
        over_time, under_way = apart(call.counted())
        if under_way:
            return await self._begin(call, over_time, under_way, longest, on_wait)
        lane = self._lane(call.provider)
        place = lane.arrive(call, over_time, longest.total_seconds())
        if place.went_at is None:
            await _turn(lane, place, on_wait)
        return Went(self._clock, lane, place)

    def spend(self, call: LimitedCall, wait: timedelta) -> None:
        """Count a call that goes after this wait by what was asked elsewhere, whether there is room for it or not."""
        self._lane(call.provider).spend(apart(call.counted())[0], wait.total_seconds())

    async def freeze(self, provider: str, scope: LimitScope, key: str, until: datetime, reason: str) -> bool:
        """See `Limiter`. `reason` is shown to users."""
        seconds = (until - self._clock.now()).total_seconds()
        self._lane(provider).freeze(scope, key, seconds, reason)
        return seconds > 0 and self._silences.begin(freeze_key(provider, scope, key), seconds)

    async def penalise(self, refusal: Refusal) -> Penalty:
        """See `Limiter`."""
        call = refusal.call
        penalty = self._lane(call.provider).penalise(refusal, apart(call.counted())[0])
        name = freeze_key(call.provider, penalty.scope, call.scopes.get(penalty.scope, ""))
        return attrs.evolve(penalty, again=not self._silences.begin(name, penalty.lasts.total_seconds()))

    async def came_through(self, call: LimitedCall, sent_at: float) -> Sequence[Thaw]:
        """See `Limiter`."""
        return [thaw for _, thaw in self._silences.over(call, sent_at)]

    async def correct(self, call: LimitedCall, left: Left) -> None:
        """See `Limiter`."""
        one = left.meant(apart(call.counted())[0])
        if one is not None and left.calls < one.limit.amount:
            resets_in = one.limit.period if left.resets_in is None else left.resets_in
            self._lane(call.provider).correct(one, left.calls, resets_in.total_seconds())

    async def aclose(self) -> None:
        """See `Limiter`."""

    async def _begin(
        self,
        call: LimitedCall,
        over_time: Sequence[Counted],
        under_way: Sequence[Counted],
        longest: timedelta,
        on_wait: OnWait,
    ) -> Went:
        """A slot is taken only when the call goes: who waits for its turn keeps none."""
        lane, slots = self._lane(call.provider), self._slots.setdefault(call.provider, Slots(self._clock))
        ticket = slots.draw()

        def room() -> bool:
            return slots.have_room(under_way, ticket)

        ends = self._clock.monotonic() + longest.total_seconds()
        while True:
            left = max(ends - self._clock.monotonic(), 0.0)
            if not room():
                if left:
                    on_wait(under_way[0].limit.scope, timedelta(seconds=left), _at_most(under_way))
                if not left or not await slots.wait(under_way, ticket, left):
                    raise _too_many(call, under_way)
                continue
            place = lane.arrive(call, over_time, left)
            if place.went_at is not None or await _turn(lane, place, on_wait, room):
                slots.take(under_way)
                return Went(self._clock, lane, place, Held(slots, under_way))

    def _lane(self, provider: str) -> Lane:
        lane = self._lanes.get(provider)
        if lane is None:
            lane = self._lanes[provider] = Lane(self._clock, self._jitter)
        return lane


@attrs.define
class Went:
    """What one call has got."""

    _clock: Clock
    _lane: Lane
    _call: Call
    _slots: Held | Free = _NOTHING_TAKEN
    _has_left: bool = False

    async def sent(self) -> None:
        """See `Pass`."""
        if not self._has_left:
            self._has_left = True
            self._call.leave(self._clock.monotonic())

    async def forgive(self) -> None:
        """See `Pass`."""
        await self.sent()
        self._lane.forgive(self._call)

    async def done(self) -> None:
        """See `Pass`."""
        await self.sent()  # of who does not say when it leaves nothing else is known
        await self._slots.done()


async def _turn(
    lane: Lane,
    place: Call,
    on_wait: OnWait,
    may_go: Callable[[], bool] = lambda: True,
) -> bool:
    """Wait for a call's turn and count it; `False` when it may not go then, and is not counted."""
    try:
        on_wait(place.scope, timedelta(seconds=place.foreseen), lane.reason(place))
        await lane.wait(place)
        if not may_go():
            return False
        lane.settle(place)
    finally:
        lane.leave(place)
    return True


def _too_many(call: LimitedCall, under_way: Sequence[Counted]) -> BrokerRateLimitError:
    return call.too_long(COME_BACK_AFTER, [_at_most(under_way)])


def _at_most(under_way: Sequence[Counted]) -> str:
    return f"at most {min(one.limit.amount for one in under_way)} may be under way at once"
