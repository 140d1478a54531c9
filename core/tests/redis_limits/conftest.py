"""A real Redis or Valkey for the tests of the shared limits: one server, and a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from brokersync.ratelimit.opening import open_redis


@pytest.fixture(params=["redis_url", "cluster_url"], ids=["one server", "cluster"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    async with open_redis(request.getfixturevalue(request.param)) as client:
        yield client
