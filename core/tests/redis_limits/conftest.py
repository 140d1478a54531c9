"""A real Redis or Valkey for the tests of the shared limits."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from redis.asyncio import Redis

from brokersync.ratelimit.opening import open_redis
from brokersync.testing.redis_server import ScratchRedis


@pytest.fixture(scope="session")
def redis_url(own_redis: Callable[..., AbstractContextManager[ScratchRedis]]) -> Iterator[str]:
    """`REDIS_URL`, else a server of our own; no key is deleted but by its own time, since it may be anybody's."""
    if (given := os.environ.get("REDIS_URL")) is not None:
        yield given
        return
    with own_redis() as running:
        yield running.url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with open_redis(redis_url) as client:
        yield client
