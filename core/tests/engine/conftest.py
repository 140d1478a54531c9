from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from brokersync.store import Store

from .bench import Bench


@pytest.fixture
async def bench(store: Store) -> AsyncIterator[Bench]:
    made = Bench(store)
    yield made
    assert made.open_generators == 0
