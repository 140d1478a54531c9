"""A broker that wants to be left alone for a day, over HTTP on loopback: only its own jobs wait."""

from __future__ import annotations

import asyncio
import types
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from brokersync import BrokerSync, ProviderRegistry
from brokersync.config import parse_settings
from brokersync.events import Event, ScopeFrozen, SyncRecorded
from brokersync.manifest import parse_manifests
from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    CoveredSpan,
    ProviderContext,
    ProviderSpec,
    Secret,
    TradePage,
    TradeRequest,
    hookimpl,
)

from .broker import KEYS, MANIFEST, NOW, Credentials, VirtualClock

ALONE_FOR = 85_092
_HTTP = MANIFEST.replace('transport = "none"', '[hosts]\napi = "https://toy.example"').replace(
    "[[sources]]", '[[limits]]\nscope = "app"\namount = 100\nperiod = "1s"\n\n[[sources]]'
)


class _Provider:
    def __init__(self, context: ProviderContext) -> None:
        self._context = context

    async def authenticate(self, credentials: Credentials) -> AuthResult:
        return AuthResult(identity=credentials.user, access_token=Secret(f"the token of {credentials.user}"))

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        return auth

    async def get_accounts(self, auth: AuthResult) -> list[BrokerAccount]:
        return [BrokerAccount(account_id=auth.identity, environment="live", currency="USD")]

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        await self._context.http.request("list", "GET", self._context.hosts["api"], auth=auth)
        span = CoveredSpan(account_id=auth.identity, environment="live", window=request.window)
        yield TradePage(bookings=(), covered=(span,))

    async def aclose(self) -> None: ...


class _Brokers:
    """Each answers under its key; `stern` refuses what is asked of it, and names the wait."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.stern = ""

    async def answer(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        self.asked[key] += 1
        if key == self.stern:
            return web.json_response({}, status=429, headers={"Retry-After": str(ALONE_FOR)})
        return web.json_response({})


@pytest.fixture
async def brokers() -> AsyncIterator[tuple[_Brokers, int]]:
    made = _Brokers()
    application = web.Application()
    application.router.add_get("/{key}", made.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield made, runner.addresses[0][1]
    await runner.cleanup()


def _registry(*keys: str) -> ProviderRegistry:
    registry = ProviderRegistry()
    for key in keys:
        module = types.ModuleType(f"brokersync_{key}")

        @hookimpl
        def brokersync_provider(broker: str) -> ProviderSpec | None:
            return ProviderSpec(credentials=Credentials, create=_Provider)

        module.brokersync_provider = brokersync_provider  # type: ignore[attr-defined]  # a module made by hand
        manifest = _HTTP.replace('key = "toy"', f'key = "{key}"') + 'retention = "unlimited"\n'
        registry.register(module, *parse_manifests(manifest, key))
    return registry


async def test_a_broker_that_wants_to_be_left_alone_for_a_day_frees_its_worker_and_holds_up_no_other(
    brokers: Any, tmp_path: Path
) -> None:
    at, port = brokers
    hosts = "".join(f'[brokers.{key}.hosts]\napi = "http://127.0.0.1:{port}/{key}"\n' for key in ("stern", "mild"))
    settings = parse_settings(f'sync_every = "30d"\n[queue]\nlook_every = "5ms"\nplan_every = "10ms"\n{hosts}')
    clock, events = VirtualClock(), list[Event]()
    bs = BrokerSync.open(
        tmp_path / "s.db", settings=settings, registry=_registry("stern", "mild"), keys=KEYS, clock=clock,
        events=events.append,
    )  # fmt: skip

    def ended(key: str, outcome: str) -> int:
        recorded = [one for one in events if isinstance(one, SyncRecorded) and one.provider == key]
        return [one.outcome for one in recorded].count(outcome)

    async def pass_until(true: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not true():
                clock.advance(milliseconds=20)
                await asyncio.sleep(0.002)

    async with bs:
        for user in ("ann", "ben", "cid"):
            await bs.connect("stern", owner="alice", fields={"user": user})
        at.stern = "stern"
        worker = bs.worker(concurrency=1)
        running = asyncio.create_task(worker.run())
        await pass_until(lambda: ended("stern", "deferred") == 3)
        first = min(one.until for one in events if isinstance(one, ScopeFrozen))
        for user in ("dot", "eve"):
            await bs.connect("mild", owner="bob", fields={"user": user})
        await pass_until(lambda: ended("mild", "done") == 2)
        assert at.asked["stern"] == 3, "each login was told so once"
        at.stern = ""
        clock.advance(seconds=(first - clock.now()).total_seconds() - 5)
        await bs.connect("mild", owner="bob", fields={"user": "fay"})
        await pass_until(lambda: ended("mild", "done") == 3)
        assert at.asked["stern"] == 3
        await pass_until(lambda: at.asked["stern"] > 3)
        assert clock.now() >= first
        await pass_until(lambda: ended("stern", "done") == 3)
        worker.stop()
        await running
    assert at.asked["stern"] == 6
    assert first - NOW >= timedelta(seconds=ALONE_FOR)
