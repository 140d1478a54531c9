"""What differs in a Redis or Valkey that is a cluster, where each broker's counts stand on one of several servers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import SlotNotCoveredError

from brokersync.redis_url import server_url

_MICROS = 1_000_000


def open_cluster(url: str, **how: Any) -> RedisCluster:
    """A client of the cluster of which the URL names one server. Raises `ValueError`."""
    return RedisCluster.from_url(server_url(url), **how)


def part_of(redis: Any, key: str | bytes) -> str:
    """The server that has a key, as far as is known; a standalone server has all."""
    if not isinstance(redis, RedisCluster):
        return ""
    try:
        node = redis.get_node_from_key(key if isinstance(key, str) else key.decode())
    except SlotNotCoveredError:
        return ""
    return "" if node is None else node.name


def parts_of(redis: Any) -> Collection[str]:
    """All servers, as far as is known."""
    return [node.name for node in redis.get_nodes()] if isinstance(redis, RedisCluster) else [""]


async def micros_of(redis: Any, key: str) -> int:
    """The time of the server that has a key, in microseconds. Raises the errors of redis."""
    if isinstance(redis, RedisCluster):
        await redis.initialize()
        seconds, micros = await redis.time(target_nodes=redis.get_node_from_key(key))
    else:
        seconds, micros = await redis.time()
    return int(seconds) * _MICROS + int(micros)
