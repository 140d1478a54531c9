"""A call that waits for its turn in a lane."""

from __future__ import annotations

import asyncio

import attrs

from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.ratelimit.applying import Counted, LimitedCall
from brokersync.ratelimit.meter import Meter


@attrs.define(eq=False)
class Call:
    """A call that waits; `at` is when it may go, as far as is known now, and `foreseen` the wait told on arrival."""

    wanted: LimitedCall
    longest: float
    meters: dict[Meter, Counted]
    number: int
    at: float
    foreseen: float
    scope: LimitScope
    granted: bool = False
    turn: asyncio.Future[None] | None = None
    asleep_until: float | None = None
    refusal: BrokerRateLimitError | None = None

    def rank(self) -> tuple[bool, int]:
        """What orders those that are due: first what goes on with what was begun, then who came first."""
        return not self.wanted.continues, self.number

    def wake(self) -> None:
        if self.turn is not None and not self.turn.done():
            self.turn.set_result(None)
