"""What of a broker's limits the processes that share a Redis have used, who waits, and what is frozen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import attrs

from brokersync.limits import LimitKind, RateLimit
from brokersync.ratelimit.cluster import micros_of
from brokersync.ratelimit.keys import freeze_prefix, meter_prefix, queue_key
from brokersync.ratelimit.pace import Pace

_MICRO = timedelta(microseconds=1)
_AT_ONCE = 1000
_ALL = 100
_PACE = re.compile(r"(\d+) (\d+) (\d+) (.*)", re.DOTALL)


@attrs.frozen(kw_only=True)
class Used:
    """How much of a limit is used now: by so many `holders`, such as accounts, `most` of it by the fullest of them."""

    limit: RateLimit
    holders: int
    most: int


@attrs.frozen(kw_only=True)
class Frozen:
    """Something that makes no call for so long, and why."""

    scope: str
    thaws_in: timedelta
    reason: str


@attrs.frozen(kw_only=True)
class Slowed:
    """Something that goes by so many percent of its limits, since the broker refused what they allow."""

    scope: str
    percent: int


@attrs.frozen(kw_only=True)
class Usage:
    """One broker as its fleet sees it; `waiting` counts the connections that were sent away to come back later."""

    used: tuple[Used, ...]
    waiting: int
    frozen: tuple[Frozen, ...]
    slowed: tuple[Slowed, ...]


async def usage_of(redis: Any, provider: str, limits: Sequence[RateLimit]) -> Usage:
    """What stands in Redis of one broker, by the server's clock. Looks at every key of it, so it is for people."""
    now = await micros_of(redis, queue_key(provider))
    found = [one async for one in _held_up(redis, provider, now)]
    return Usage(
        used=tuple([await _used(redis, provider, limit, now) for limit in limits]),
        waiting=await redis.zcount(queue_key(provider), now, "+inf"),
        frozen=tuple([one for one in found if isinstance(one, Frozen)]),
        slowed=tuple([one for one in found if isinstance(one, Slowed)]),
    )


async def _used(redis: Any, provider: str, limit: RateLimit, now: int) -> Used:
    period = limit.period // _MICRO
    prefix = meter_prefix(provider, limit)
    if limit.kind is LimitKind.CONCURRENCY:
        slots = redis.scan_iter(f"{prefix}*:log", count=_AT_ONCE)
        counts = [await redis.zcount(key, f"({now}", "+inf") async for key in slots]
    elif limit.kind is LimitKind.WINDOW:
        logs = redis.scan_iter(f"{prefix}*:log", count=_AT_ONCE)
        counts = [await redis.zcount(key, f"({now - period}", now) async for key in logs]
    else:
        names = {key.rpartition(b":")[0] async for key in redis.scan_iter(f"{prefix}*", count=_AT_ONCE)}
        counts = [round(await _level(redis, name, limit.amount / period, now)) for name in names]
    taken = [count for count in counts if count]
    return Used(limit=limit, holders=len(taken), most=max(taken, default=0))


async def _level(redis: Any, name: bytes, rate: float, now: int) -> float:
    """How full a bucket is: what was there, and the places that have come since and are not written there yet."""
    known, since = await redis.hmget(name + b":state", "level", "since")
    level, at = float(known or 0), float(since or now)
    for _, place in await redis.zrangebyscore(name + b":log", "-inf", now, withscores=True):
        level, at = max(level - max(place - at, 0) * rate, 0) + 1, max(at, place)
    return max(level - max(now - at, 0) * rate, 0)


async def _held_up(redis: Any, provider: str, now: int) -> Any:
    prefix = freeze_prefix(provider)
    async for key in redis.scan_iter(f"{prefix}*", count=_AT_ONCE):
        value = await redis.get(key)
        if value is None:
            continue
        instant, floor, since, quiet, reason = _read(value.decode())
        scope = key.decode().removeprefix(prefix).partition(":")[0]
        slowed = int(floor) and Pace(int(floor), int(since), int(quiet))
        if slowed and (percent := slowed.after(slowed.rises(now))) < _ALL:
            yield Slowed(scope=scope, percent=percent)
        if int(instant) > now:
            yield Frozen(scope=scope, thaws_in=(int(instant) - now) * _MICRO, reason=reason)


def _read(value: str) -> tuple[str, str, str, str, str]:
    """A freeze: its end, the pace of its scope and why; a release before there were paces wrote none."""
    instant, _, rest = value.split(" ", 2)
    found = _PACE.match(rest)
    return (instant, found[1], found[2], found[3], found[4]) if found else (instant, "0", "0", "0", rest)
