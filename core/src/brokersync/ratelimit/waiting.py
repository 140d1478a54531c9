"""A call that waits for its turn in a lane."""

from __future__ import annotations

import asyncio
import math

import attrs

from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.ratelimit.applying import Counted, LimitedCall
from brokersync.ratelimit.meter import Meter

# what every window makes room for anyway
_HARDLY_LATE = 0.001


@attrs.define(eq=False)
class Call:
    """A call that waits; `at` is when it may go, as far as is known now, and `foreseen` the wait told on arrival.

    All up to number `last` go before it, though they come later.
    """

    wanted: LimitedCall
    gives_up_at: float
    meters: dict[Meter, Counted]
    number: int
    last: int
    at: float
    foreseen: float
    scope: LimitScope
    granted: bool = False
    turn: asyncio.Future[None] | None = None
    asleep_until: float | None = None
    refusal: BrokerRateLimitError | None = None
    went_at: float | None = None

    def rank(self) -> tuple[bool, int, bool, int]:
        """What orders those that are due: first what goes on with what was begun, then who came first."""
        return not self.wanted.continues, self.last, self.last > self.number, self.number

    def goes_before(self, other: Call) -> bool:
        """Whether it may pass one that lets others pass; what leaves a reserve alone passes none that may take it."""
        spares = any(cost.spared > other.meters.get(meter, cost).spared for meter, cost in self.meters.items())
        return not spares and self.rank() < other.rank()

    def is_passed_by(self, other: LimitedCall) -> bool:
        """Whether one that does not wait for its turn takes what this one waits for."""
        key = self.wanted.scopes.get(self.scope, "")
        return not (self.wanted.continues or self.granted) and other.scopes.get(self.scope, "") == key

    def unplan(self) -> None:
        """It has its place no longer."""
        for meter, cost in self.meters.items():
            meter.unplan(self.at, cost.weight)

    def revoke(self) -> None:
        """It is granted no longer."""
        for meter, cost in self.meters.items():
            meter.revoke(cost.weight)

    def go(self, now: float, *, planned: bool) -> None:
        """Count it from now on."""
        self.went_at = now
        for meter, cost in self.meters.items():
            meter.settle(now, cost.weight, planned=planned)

    def leave(self, now: float) -> None:
        """It leaves only now, and the broker counts it from then on."""
        if self.went_at is not None and now - self.went_at > _HARDLY_LATE:
            for meter, cost in self.meters.items():
                meter.move(self.went_at, now, cost.weight)
            self.went_at = now

    def forget(self, meter: Meter) -> None:
        """Count it there as if it had gone long ago."""
        if self.went_at is not None:
            meter.move(self.went_at, -math.inf, self.meters[meter].weight)

    def wake(self) -> None:
        if self.turn is not None and not self.turn.done():
            self.turn.set_result(None)
