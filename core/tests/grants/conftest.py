from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brokersync.store import SqliteStore

from .desk import Desk, login


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    made = Desk(store)
    await made.connect(login())
    yield made
    await store.close()
