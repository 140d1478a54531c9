"""Whether the Redis of the shared limits answers, and what happens while it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokersync.errors import StoreError

if TYPE_CHECKING:
    from brokersync.config import FleetSettings


async def trouble_of(fleet: FleetSettings) -> str | None:
    """What is wrong with it, and what workers do meanwhile; `None` where all is well, or none is named."""
    if fleet.redis is None:
        return None
    from brokersync.cli.tables import duration_text
    from brokersync.ratelimit.opening import open_redis
    from brokersync.ratelimit.outages import AWAY

    redis = open_redis(fleet.redis)
    try:
        await redis.ping()
    except AWAY as error:
        away = not_answering(error)
        return (
            f"{away.message} Meanwhile each process goes by {fleet.share} % of each limit, and after"
            f" {duration_text(fleet.alone)} it makes no call; nothing is lost. Start it, or correct `fleet.redis`."
        )
    finally:
        await redis.aclose()
    return None


def not_answering(error: Exception) -> StoreError:
    """What a command says that can not do without it."""
    return StoreError(
        f"The Redis that holds the shared limits does not answer ({type(error).__name__}).",
        remedy="Start it, or correct `fleet.redis`. Workers go on with their share of each limit for a while.",
    )
