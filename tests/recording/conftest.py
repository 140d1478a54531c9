"""A plugin over its own sandbox, on real sockets, as the broker that is recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from brokersync.testing.contract import Stage
from brokersync.testing.verifying.suite import suite_of

Staged = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def staged() -> Staged:
    """Opens the stage of a broker's contract suite."""

    @asynccontextmanager
    async def stage(key: str, **simulated: object) -> AsyncIterator[Stage]:
        async with suite_of(key)().stage(**simulated) as made:
            yield made

    return stage
