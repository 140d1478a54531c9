"""The limiter that the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokersync.config import FleetSettings
from brokersync.errors import BrokerConfigError
from brokersync.events import EventSink
from brokersync.provider import Clock
from brokersync.ratelimit.local import LocalLimiter
from brokersync.ratelimit.meters import JITTER
from brokersync.ratelimit.quotas import QuotaLimiter
from brokersync.redis_url import LIKE_THIS, is_cluster

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

    from brokersync.ratelimit import Limiter

# a limiter that waits for its server for longer than this is worse than one without
_ANSWERS_WITHIN = 1.0


def open_limiter(settings: FleetSettings, clock: Clock, events: EventSink) -> Limiter:
    """The limiter of this process, or that of the fleet where a Redis is named.

    Raises `BrokerConfigError`, which never shows it, for a URL that is not understood.
    """
    local = LocalLimiter(clock, jitter=JITTER)
    if settings.redis is None:
        return QuotaLimiter(local, clock)
    # redis costs a third of a second to import, and only a fleet has to pay for it
    from brokersync.ratelimit.fleet import FleetLimiter
    from brokersync.ratelimit.redis_limiter import RedisLimiter

    redis = open_redis(settings.redis)
    fleet = FleetLimiter(
        RedisLimiter(redis, clock, share=settings.share, jitter=JITTER), local, clock, settings, events
    )
    return QuotaLimiter(fleet, clock)


def open_redis(url: str) -> Redis | RedisCluster:
    """A client that gives its server up soon."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as NotConnectedError

    from brokersync.ratelimit.cluster import open_cluster

    how: dict[str, Any] = {
        "socket_timeout": _ANSWERS_WITHIN,
        "socket_connect_timeout": _ANSWERS_WITHIN,
        # once more, since a connection that was idle may have been closed, and a server's part taken over, meanwhile
        "retry": Retry(NoBackoff(), 1, supported_errors=(NotConnectedError,)),
    }
    try:
        return open_cluster(url, **how) if is_cluster(url) else Redis.from_url(url, **how)
    except ValueError:
        raise BrokerConfigError(
            "The URL of Redis (fleet.redis) is not understood.", remedy=f"Write it like {LIKE_THIS}."
        ) from None
