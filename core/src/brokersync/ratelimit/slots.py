"""The calls that are under way, for brokers that bound how many there are at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import final

import attrs

from brokersync.limits import RateLimit
from brokersync.provider import Clock
from brokersync.ratelimit.applying import Counted


@attrs.frozen
class _Waiting:
    wanted: Sequence[Counted]
    turn: asyncio.Future[None]


@final
class Slots:
    """Counts what is under way under each limit of kind concurrency; first come, first served, by the ticket drawn.

    All methods but `wait` are done at once, so that nobody comes between looking for room and taking it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way: Counter[tuple[RateLimit, str]] = Counter()
        self._waiting: dict[int, _Waiting] = {}
        self._tickets = count()

    def draw(self) -> int:
        """A place among those that may come to wait."""
        return next(self._tickets)

    def have_room(self, wanted: Sequence[Counted], ticket: int) -> bool:
        """Whether a call may begin now, beside all that are under way and before which it does not go."""
        return all(
            self._under_way[one.limit, one.key] + self._ahead(one, ticket) + one.weight + one.spared <= one.limit.amount
            for one in wanted
        )

    def take(self, wanted: Sequence[Counted]) -> None:
        """The call begins."""
        for one in wanted:
            self._under_way[one.limit, one.key] += one.weight

    def give(self, wanted: Sequence[Counted]) -> None:
        """The call is over."""
        for one in wanted:
            self._under_way[one.limit, one.key] -= one.weight
            if not self._under_way[one.limit, one.key]:
                del self._under_way[one.limit, one.key]
        self._call_up()

    async def wait(self, wanted: Sequence[Counted], ticket: int, seconds: float) -> bool:
        """Returns when there is room, or with `False` when there was none for so long."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = _Waiting(wanted, turn)
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((turn, sleep), return_when=asyncio.FIRST_COMPLETED)
            return turn.done()
        finally:
            del self._waiting[ticket]
            sleep.cancel()
            self._call_up()  # who leaves may have kept out others

    def _ahead(self, one: Counted, ticket: int) -> int:
        """What those take that are before it; what leaves something alone is before nothing that does not."""
        return sum(
            other.weight
            for number, waiting in self._waiting.items()
            if number < ticket
            for other in waiting.wanted
            if (other.limit, other.key) == (one.limit, one.key) and (one.spared or not other.spared)
        )

    def _call_up(self) -> None:
        for ticket in sorted(self._waiting):
            waiting = self._waiting[ticket]
            if not waiting.turn.done() and self.have_room(waiting.wanted, ticket):
                waiting.turn.set_result(None)


@attrs.frozen
class Held:
    """The slots of one call that is under way."""

    _slots: Slots
    _wanted: Sequence[Counted]

    async def sent(self) -> None:
        """See `Pass`; it counts for as long as it is under way."""

    async def done(self) -> None:
        """See `Pass`."""
        self._slots.give(self._wanted)


class Free:
    """What a call has to give back that took no slot: nothing."""

    async def sent(self) -> None:
        """See `Pass`."""

    async def forgive(self) -> None:
        """See `Pass`."""

    async def done(self) -> None:
        """See `Pass`."""
