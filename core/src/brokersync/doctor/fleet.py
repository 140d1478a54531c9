"""The Redis of the shared limits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from brokersync.clock import CLOCKS_DIFFER
from brokersync.config import FleetSettings
from brokersync.doctor.storing import skewed
from brokersync.errors import BrokerConfigError
from brokersync.findings import Finding, Severity
from brokersync.provider import Clock

_OLDEST: Final = 7


async def fleet_findings(fleet: FleetSettings, clock: Clock) -> list[Finding]:
    """Whether it answers, is new enough, and keeps the same time; nothing is written there."""
    if fleet.redis is None:
        return []
    from brokersync.ratelimit.opening import open_redis
    from brokersync.ratelimit.outages import AWAY

    try:
        redis: Any = open_redis(fleet.redis)
    except BrokerConfigError as error:
        return [_of(error.message, error.remedy)]
    try:
        seconds, micros = _any_node(await redis.time())
        version = str(_any_node(await redis.info("server"), "redis_version").get("redis_version", ""))
    except AWAY as error:
        message = f"The Redis of the shared limits does not answer ({type(error).__name__})."
        return [_of(message, "Start it, or correct fleet.redis. Workers go on with a share of each limit for a while.")]
    finally:
        await redis.aclose()
    found = []
    ahead = clock.now() - datetime.fromtimestamp(int(seconds) + int(micros) / 1e6, UTC)
    if abs(ahead) > CLOCKS_DIFFER:
        found.append(skewed("Redis", ahead.total_seconds()))
    if version.split(".")[0].isdecimal() and int(version.split(".")[0]) < _OLDEST:
        found.append(_of(f"The Redis of the shared limits has version {version}.", f"It needs {_OLDEST} or newer."))
    return found


def _any_node(answer: Any, name: str | None = None) -> Any:
    """A cluster answers for each of its nodes."""
    if isinstance(answer, dict) and (name is None or name not in answer):
        return next(iter(answer.values()))
    return answer


def _of(message: str, remedy: str) -> Finding:
    return Finding(area="redis", severity=Severity.FAULT, message=message, remedy=remedy)
