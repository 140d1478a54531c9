"""A sync that is killed loses nothing and doubles nothing, whenever it happens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web

from brokersync import BrokerSync, BrokerTrade, Deferred, ProviderRegistry, Settings
from brokersync.config import parse_settings
from brokersync.sandboxes import SandboxSettings, SimulatedBroker
from brokersync.store import TradeFilter
from brokersync.testing.sandbox_server import simulated_broker

_DAYS = 75
_FAST = """
[[brokers.{key}.limits]]
scope = "app"
amount = 100000
period = "1s"
source = "this test"
"""


@attrs.define
class Moment:
    """Kill the child when request number `request` comes, or `delay` seconds after it was answered."""

    request: int
    delay: float | None


class Stand:
    """A sandbox that can be told at which request somebody must be killed."""

    def __init__(self, key: str, folder: Path) -> None:
        self.key, self.folder = key, folder
        self.requests = 0
        self.on_request: Callable[[int], Awaitable[None]] | None = None
        self.after_answer: Callable[[int], Awaitable[None]] | None = None
        registry = ProviderRegistry.installed()
        frozen = datetime.now(UTC)
        began = asyncio.get_running_loop().time()
        settings = SandboxSettings(
            now=lambda: frozen + timedelta(seconds=asyncio.get_running_loop().time() - began),
            logins=1,
            days=_DAYS,
            think=timedelta(0),
            keeps_limits=False,
        )
        self.broker: SimulatedBroker = simulated_broker(key, registry, settings)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Path]:
        application = self.broker.application()
        application.middlewares.append(self._watch())
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        config = self.folder / "brokersync.toml"
        # a killed worker is taken for alive until its lease ends
        lines = ['lease = "1s"', f"[brokers.{self.key}.hosts]"]
        lines += [f"{json.dumps(role)} = {json.dumps(url)}" for role, url in self.broker.hosts(base).items()]
        config.write_text("\n".join(lines) + _FAST.format(key=self.key))
        try:
            yield config
        finally:
            await runner.cleanup()

    def _watch(self) -> Any:
        @web.middleware
        async def watch(request: web.Request, handler: Any) -> web.StreamResponse:
            self.requests += 1
            number = self.requests
            if self.on_request is not None:
                await self.on_request(number)
            answer = await handler(request)
            if self.after_answer is not None:
                await self.after_answer(number)
            return answer

        return watch


async def _connect(stand: Stand, store: Path, settings: Settings) -> str:
    login = stand.broker.logins[0]
    async with BrokerSync.open(store, settings=settings) as bs:
        connection = await bs.connect(stand.key, owner="me", fields=login.fields, environment=login.environment)
    return connection.connection_id


async def _finish(store: Path, settings: Settings, connection: str) -> None:
    async with BrokerSync.open(store, settings=attrs.evolve(settings, long_wait=timedelta(minutes=1))) as bs:
        outcome = await bs.run(connection)
        while isinstance(outcome, Deferred) and "Another worker" in outcome.reason:
            # real time: the killed process was another one, and its lease ends by the clock
            await asyncio.sleep(0.1)
            outcome = await bs.run(connection)
        assert not outcome.report.problems
        assert not isinstance(outcome, Deferred)


async def _kept(store: Path) -> tuple[dict[str, BrokerTrade], set[str]]:
    """All trades, cancelled ones too, and the names of those that the change feed replays to."""
    async with BrokerSync.open(store, settings=Settings()) as bs:
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
    return trades, feed


async def _sync_and_kill(stand: Stand, moment: Moment, store: Path, config: Path, connection: str) -> int:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "brokersync", "sync", connection, "--store", str(store), "--config", str(config)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def kill(number: int) -> None:
        if number == moment.request:
            if moment.delay is not None:
                # real time on purpose: the child is between this answer and its next request, in its own process
                await asyncio.sleep(moment.delay)
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGKILL)

    stand.requests = 0
    if moment.delay is None:
        stand.on_request, stand.after_answer = kill, None
    else:
        stand.on_request, stand.after_answer = None, lambda number: _later(kill(number))
    code = await child.wait()
    stand.on_request = stand.after_answer = None
    return code


_background: set[asyncio.Task[None]] = set()


async def _later(work: Any) -> None:
    task = asyncio.create_task(work)
    _background.add(task)
    task.add_done_callback(_background.discard)


@pytest.mark.parametrize("key", ["ibkr", "tradovate"])
async def test_a_sync_killed_at_any_moment_ends_like_an_undisturbed_one(
    key: str, tmp_path: Path, sized: Callable[[str, int, int], int]
) -> None:
    rounds = sized(f"kill -9 during a sync of {key}", 10, 40)
    stand = Stand(key, tmp_path)
    async with stand.serving() as config:
        settings = parse_settings(config.read_text())
        undisturbed = tmp_path / "undisturbed.db"
        connection = await _connect(stand, undisturbed, settings)
        stand.requests = 0
        await _finish(undisturbed, settings, connection)
        requests, (wanted, _) = stand.requests, await _kept(undisturbed)
        assert len(wanted) > 50
        killed = 0
        for number in range(rounds):
            store = tmp_path / f"{number}.db"
            connection = await _connect(stand, store, settings)
            request = 1 + number * max(requests - 1, 1) // rounds
            moment = Moment(request, None if number % 2 else 0.002 * number)
            killed += await _sync_and_kill(stand, moment, store, config, connection) == -signal.SIGKILL
            await _finish(store, settings, connection)
            trades, feed = await _kept(store)
            assert trades == wanted
            assert feed == wanted.keys()
    assert killed >= rounds // 2, "the child was hardly ever killed before it was done"
