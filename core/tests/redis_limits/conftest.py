"""A real Redis or Valkey for the tests of the shared limits."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from brokersync.ratelimit.opening import open_redis
from brokersync.testing.redis_server import NoRedisError, scratch_redis


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """`REDIS_URL`, else a server of our own; no key is deleted but by its own time, since it may be anybody's."""
    if (given := os.environ.get("REDIS_URL")) is not None:
        yield given
        return
    try:
        with scratch_redis() as running:
            yield running.url
    except NoRedisError as error:
        pytest.skip(f"No Redis here: {error}")


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with open_redis(redis_url) as client:
        yield client
