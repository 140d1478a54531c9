"""What the tests share: a store over the sandbox, a clock in the test's hands, and a row as the broker writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import attrs

from brokersync import BrokerSync, BrokerTrade, Connection, Done, SyncReport
from brokersync.events import Event
from brokersync.plugin import CONTROL_PATH, BrokerRateLimitError, TradeStatus
from brokersync.testing import RunningSandbox

from .logins import OWNER, connect

T = TypeVar("T")

# FILL IN: a row out of the broker's documentation, which `test_normalise.py` changes field by field
ROW: dict[str, Any] = {
    "id": 2**60 + 1,
    "orderId": 2**60,
    "symbol": "ACME",
    "type": "STOCK",
    "currency": "USD",
    "side": "BUY",
    "quantity": "1.5",
    "price": "10.125",
    "commission": "0.35",
    "time": "2026-03-02T14:30:00.250Z",
}

# FILL IN: what the first user of the sandbox is called, as `identity_of` says it
IDENTITY = "user:1"


class Clock:
    """Sleeping moves the time on and takes none."""

    def __init__(self) -> None:
        self._time = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self._time

    def monotonic(self) -> float:
        return self._time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.advance(timedelta(seconds=seconds))
        await asyncio.sleep(0)

    def advance(self, by: timedelta) -> None:
        self._time += by

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the provider gives when it is asked itself; where a limit puts that off, time goes on until it may."""
        while True:
            try:
                return await ask()
            except BrokerRateLimitError as error:
                self.advance(error.retry_after or timedelta(seconds=1))


@attrs.frozen
class Stage:
    """What a backend has of the broker, and the events that it was told."""

    sandbox: RunningSandbox
    bs: BrokerSync
    clock: Clock
    store: Path
    events: list[Event]

    async def connect(self, **changed: str) -> Connection:
        """The sandbox's first login, with some of what its user gives changed."""
        return await connect(self.bs, self.sandbox.logins[0], **changed)

    async def sync(self, connection: Connection) -> SyncReport:
        """A sync that ends; where it is put off, the clock goes on until it may."""
        while not isinstance(outcome := await self.bs.run(connection.connection_id), Done):
            self.clock.advance(outcome.until - self.clock.now())
        return outcome.report

    async def trades(self) -> list[BrokerTrade]:
        """Those that stand; one that the broker has cancelled does not."""
        return [one async for one in self.bs.trades(OWNER) if one.status is TradeStatus.ACTIVE]

    async def show_fault(self, fault: str, *, after: int = 0) -> None:
        """The sandbox's next request but `after` shows it."""
        url = f"{self.sandbox.base_url}{CONTROL_PATH}/faults"
        async with aiohttp.ClientSession() as session:
            (await session.post(url, json={"fault": fault, "after": after})).raise_for_status()

    async def ledger(self) -> dict[str, list[dict[str, Any]]]:
        """What the sandbox's own books say, by account."""
        async with aiohttp.ClientSession() as session:
            answer = await session.get(f"{self.sandbox.base_url}{CONTROL_PATH}/ledger")
            books: dict[str, list[dict[str, Any]]] = (await answer.json())["accounts"]
        return books
