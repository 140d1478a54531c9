from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brokersync.store import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store.db")
    await made.open()
    yield made
    await made.close()
