"""A sandbox, a store in either database, and workers that are killed or stopped while they sync."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from brokersync import BrokerSync, BrokerTrade, Deferred, ProviderRegistry, Settings
from brokersync.config import parse_settings
from brokersync.sandboxes import SandboxSettings, SimulatedBroker
from brokersync.store import TradeFilter
from brokersync.testing.sandbox_server import simulated_broker

from .moved_clock import MovedClock

_DAYS = 75
_THIS_MACHINES = MovedClock()
_CONFIG = """
long_wait = "1m"
lease = "1s"  # a killed worker is taken for alive until its lease ends

[[brokers.{key}.limits]]
scope = "app"
amount = 100000
period = "1s"
source = "this test"

[brokers.{key}.hosts]
{hosts}
"""


class Stand:
    """A sandbox that tells of each request before it is answered."""

    def __init__(self, key: str, folder: Path, clock: MovedClock = _THIS_MACHINES) -> None:
        self.key, self.folder, self.clock = key, folder, clock
        self.requests = 0
        self.on_request: Callable[[int], Awaitable[None]] | None = None
        # its time stands: an hour of a test is not to bring it trades that the first of its stores could not have
        frozen = clock.now()
        settings = SandboxSettings(
            now=lambda: frozen,
            logins=2,
            days=_DAYS,
            think=timedelta(0),
            keeps_limits=False,
        )
        self.broker: SimulatedBroker = simulated_broker(key, ProviderRegistry.installed(), settings)

    @property
    def config(self) -> Path:
        return self.folder / "brokersync.toml"

    @property
    def settings(self) -> Settings:
        return parse_settings(self.config.read_text())

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        application = self.broker.application()
        application.middlewares.append(self._watch())
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        hosts = "\n".join(f"{json.dumps(role)} = {json.dumps(url)}" for role, url in self.broker.hosts(base).items())
        self.config.write_text(_CONFIG.format(key=self.key, hosts=hosts))
        try:
            yield
        finally:
            await runner.cleanup()

    def _watch(self) -> Any:
        @web.middleware
        async def watch(request: web.Request, handler: Any) -> web.StreamResponse:
            self.requests += 1
            if self.on_request is not None:
                await self.on_request(self.requests)
            answer: web.StreamResponse = await handler(request)
            return answer

        return watch

    async def connect(self, place: str) -> list[str]:
        """Both logins of the broker, as connections."""
        async with BrokerSync.open(place, settings=self.settings, clock=self.clock) as bs:
            made = [
                await bs.connect(self.key, owner="me", fields=login.fields, environment=login.environment)
                for login in self.broker.logins
            ]
        self.requests = 0
        return [one.connection_id for one in made]

    async def start(self, place: str, connections: list[str], stop_at: int = 0) -> Process:
        """A worker of these connections."""
        script = Path(__file__).with_name("worker.py")
        behind = str(self.clock.behind.total_seconds())
        words = (sys.executable, str(script), place, str(self.config), str(stop_at), behind, *connections)
        return await asyncio.create_subprocess_exec(*words, stdout=PIPE)

    async def finish(self, place: str, connections: list[str]) -> int:
        """Sync until nothing is left to do, undisturbed; how many trades were new."""
        added = 0
        async with BrokerSync.open(place, settings=self.settings, clock=self.clock) as bs:
            for connection in connections:
                outcome = await bs.run(connection)
                while isinstance(outcome, Deferred) and "Another worker" in outcome.reason:
                    # real time: the killed process was another one, and its lease ends by the clock
                    await asyncio.sleep(0.1)
                    outcome = await bs.run(connection)
                assert not outcome.report.problems
                assert not isinstance(outcome, Deferred)
                added += outcome.report.added
        return added


async def kept(place: str) -> dict[str, BrokerTrade]:
    """All trades, cancelled ones too; the feed must replay to the same ones, each added once."""
    async with BrokerSync.open(place, settings=Settings()) as bs:
        trades = {f"{one.account_id}/{one.trade_id}": one async for one in bs.trades("me", TradeFilter(cancelled=True))}
        feed: set[str] = set()
        position = 0
        while changes := await bs.changes("me", position):
            position = changes[-1].position
            for change in changes:
                name = f"{change.key.account_id}/{change.trade_id}"
                if change.kind == "removed":
                    feed.remove(name)
                else:
                    assert change.kind != "added" or name not in feed, f"{name} was added twice"
                    feed.add(name)
    assert feed == trades.keys()
    return trades
