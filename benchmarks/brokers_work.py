"""The processes of the table of many brokers: `broker` and `worker PORT FOLDER DEAD`, see `benchmarks.brokers`.

The broker is all of them: it counts what each lets in by its own clock, and refuses what is above the limit.
"""

from __future__ import annotations

import asyncio
import json
import math
import resource
import sys
import time
import types
from collections import defaultdict, deque
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

from aiohttp import web

from benchmarks.processes import asked_to_stop
from benchmarks.toy_broker import Credentials, ToyProvider
from brokersync import BrokerSync, ProviderRegistry
from brokersync.config import parse_settings
from brokersync.manifest import parse_manifests
from brokersync.masterkeys import MasterKeys
from brokersync.plugin import (
    AuthResult,
    CoveredSpan,
    ProviderSpec,
    TradePage,
    TradeRequest,
    hookimpl,
)

BROKERS = 240
CALLS = 2
PLACES = 1000
_SLOWEST, _FASTEST = 0.2, 50.0
_PERIODS = 5
_DEAD_FOR = 30.0
_MANIFEST = """
key = "bench-{number}"
display_name = "Bench {number}"
contract = 1
environments = ["live"]
auth = ["api_key"]
licence = "Apache-2.0"
docs = "https://bench.example"
support = "https://bench.example"
[hosts]
api = "https://bench.example"
[[user_fields]]
name = "api_key"
label = "API key"
help = "Any."
secret = true
[[limits]]
scope = "app"
amount = {amount}
period = "{millis}ms"
kind = "window"
source = "this benchmark"
[[sources]]
name = "history"
precedence = 1
scope = "account"
look_back = "1d"
longest_window = "30d"
retention = "limited"
"""


def rate_of(number: int) -> float:
    """The calls a second that a broker allows."""
    return float(_SLOWEST * (_FASTEST / _SLOWEST) ** (number / (BROKERS - 1)))


def limit_of(number: int) -> tuple[int, float]:
    """Its window: so many calls in so many seconds."""
    amount = max(round(_PERIODS * rate_of(number)), 1)
    return amount, amount / rate_of(number)


class _Brokers:
    def __init__(self) -> None:
        self._held: defaultdict[int, deque[float]] = defaultdict(deque)
        self.last: dict[int, float] = {}
        self.let_in: defaultdict[int, int] = defaultdict(int)
        self.refused = 0
        self.first = 0.0

    async def answer(self, request: web.Request) -> web.Response:
        now, number = time.monotonic(), int(request.match_info["number"])
        if request.match_info["state"] == "dead":
            await asyncio.sleep(_DEAD_FOR)
            return web.json_response({}, status=503)
        self.first = self.first or now
        (amount, period), held = limit_of(number), self._held[number]
        while held and held[0] <= now - period:
            held.popleft()
        if len(held) >= amount:
            self.refused += 1
            return web.json_response({}, status=429)
        held.append(now)
        self.let_in[number] += 1
        self.last[number] = now - self.first
        return web.json_response({})


async def _broker() -> None:
    brokers = _Brokers()
    application = web.Application()
    application.router.add_get("/{state}/{number}", brokers.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1000).start()
    print(runner.addresses[0][1], flush=True)
    await asked_to_stop()
    await runner.cleanup()
    print(json.dumps({"last": brokers.last, "let_in": brokers.let_in, "refused": brokers.refused}))


class _Provider(ToyProvider):
    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        for _ in range(CALLS):
            await self._context.http.request("list", "GET", self._context.hosts["api"], auth=auth)
        span = CoveredSpan(account_id=auth.identity, environment="live", window=request.window)
        yield TradePage(bookings=(), covered=(span,))


def opened(port: str, folder: str, dead: str) -> BrokerSync:
    """What the one worker holds; the broker of the number `dead`, if any, answers nothing."""
    registry = ProviderRegistry()
    text = '[queue]\nplan_every = "1s"\nlook_every = "250ms"\n'
    for number in range(BROKERS):
        amount, period = limit_of(number)
        manifest = _MANIFEST.format(number=number, amount=amount, millis=math.ceil(period * 1000))
        registry.register(_plugin(number), *parse_manifests(manifest, "this benchmark"))
        state = "dead" if str(number) == dead else "well"
        text += f'[brokers.bench-{number}.hosts]\napi = "http://127.0.0.1:{port}/{state}/{number}"\n'
    return BrokerSync.open(
        Path(folder) / "s.db", settings=parse_settings(text), registry=registry, keys=MasterKeys(bytes(32))
    )


def _plugin(number: int) -> types.ModuleType:
    module = types.ModuleType(f"brokersync_bench_{number}")

    @hookimpl
    def brokersync_provider(broker: str) -> ProviderSpec | None:
        return ProviderSpec(credentials=Credentials, create=_Provider)

    module.brokersync_provider = brokersync_provider  # type: ignore[attr-defined]  # a module made by hand
    return module


async def _worker(port: str, folder: str, dead: str) -> None:
    async with opened(port, folder, dead) as bs:
        worker = bs.worker(concurrency=PLACES, stop_within=timedelta(seconds=5))
        before = _memory()
        running = asyncio.create_task(worker.run())
        print("started", flush=True)
        asked = asyncio.create_task(asked_to_stop())
        while not asked.done():
            await asyncio.wait([asked], timeout=1)
            print(json.dumps(dict(worker.outcomes)), flush=True)
        worker.stop()
        await running
    print(json.dumps({"outcomes": worker.outcomes, "cpu": time.process_time(), "grew": _memory() - before}))


def _memory() -> float:
    """The most memory that this process ever had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    case, *rest = sys.argv[1:]
    asyncio.run(_broker() if case == "broker" else _worker(*rest))


if __name__ == "__main__":
    main()
