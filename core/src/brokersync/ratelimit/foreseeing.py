"""When a call may go, by all counts and freezes that concern it."""

from __future__ import annotations

from collections.abc import Mapping

from brokersync.errors import LimitScope
from brokersync.ratelimit.applying import Counted
from brokersync.ratelimit.freezes import Freezes
from brokersync.ratelimit.meter import Meter


def foresee(
    freezes: Freezes,
    meters: Mapping[Meter, Counted],
    scopes: Mapping[LimitScope, str],
    now: float,
    own: float | None = None,
) -> tuple[float, LimitScope]:
    """The first instant that all meters and freezes allow, and the scope that says so.

    Who was promised an instant goes then before all who only wait.
    """
    at, scope = freezes.restart(scopes, meters.values(), now, own)
    agreed = 0
    while agreed < len(meters):
        for meter, cost in meters.items():
            allowed = meter.earliest(at, now, cost.weight, cost.spared)
            agreed += 1
            if allowed > at:
                at, scope, agreed = allowed, cost.limit.scope, 1
    if own is not None and at > now and freezes.thaw(scopes, now)[0] <= max(own, now):
        ready, by = foresee_alone(freezes, meters, scopes, now)
        if max(own, ready) < at:
            return max(own, ready), by
    return at, scope


def foresee_alone(
    freezes: Freezes, meters: Mapping[Meter, Counted], scopes: Mapping[LimitScope, str], now: float
) -> tuple[float, LimitScope]:
    """When a call may go by all that went before, whoever else waits."""
    at, scope = freezes.thaw(scopes, now)
    for meter, (limit, _, weight, spared) in meters.items():
        ready = meter.ready(now, weight, spared)
        if ready > at:
            at, scope = ready, limit.scope
    return at, scope
