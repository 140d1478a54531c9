from __future__ import annotations

import pytest

from brokersync.store import Store

from .desk import Desk, login


@pytest.fixture
async def desk(store: Store) -> Desk:
    made = Desk(store)
    await made.connect(login())
    return made
