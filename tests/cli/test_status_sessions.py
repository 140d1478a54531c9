"""`brokersync status`: how many sessions of a login are in use, and who waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from brokersync.errors import BrokerRateLimitError

Run = Callable[..., Any]


@pytest.fixture
def clock(clock: Any) -> Any:
    """The command line asks the machine for the time."""
    clock.time = datetime.now(UTC)
    return clock


def test_the_sessions_of_its_login_are_told_of_a_connection(brokersync: Run, staged: Any) -> None:
    async def make() -> str:
        async with staged("tradovate", days=1) as stage:
            made = await stage.connect()
            login = stage.sandbox.logins[0]
            await stage.bs.connect("tradovate", owner="you", fields=login.fields, environment=login.environment)
            with suppress(BrokerRateLimitError):
                await stage.bs.connect("tradovate", owner="they", fields=login.fields, environment=login.environment)
            return str(made.connection_id)

    name = asyncio.run(make())
    said = f"{name}: 2 of 2 sessions of its login in use, 1 waiting for one, and the first is free at "
    assert said in brokersync("status").out
    (facts,) = brokersync("status", "--json").document["connections"]
    assert (facts["sessions"]["taken"], facts["sessions"]["waiting"]) == (2, 1)
