"""Two stores on one schema of Postgres, of which one stands still where it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from brokersync.store import PostgresStore

from .pausing import Pausing


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(postgres_url, max_size=20) as made:
        yield made
        await made.execute("DROP SCHEMA IF EXISTS test_races CASCADE")


@pytest.fixture
async def slow(pool: Any) -> Any:
    made = PostgresStore(pool=Pausing(pool), schema="test_races")
    await made.open()
    return made


@pytest.fixture
async def other(slow: PostgresStore, pool: Any) -> PostgresStore:
    made = PostgresStore(pool=pool, schema="test_races")
    await made.open()
    return made
