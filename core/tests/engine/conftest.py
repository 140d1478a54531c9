from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brokersync.store import SqliteStore

from .bench import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    made = Bench(store)
    yield made
    assert made.open_generators == 0
    await store.close()
