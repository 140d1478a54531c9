"""The processes of the table of a fleet: `broker PLAN` and `worker PLAN PORT FOLDER REDIS`, see `benchmarks.fleet`.

The broker counts calls by its own clock as they come in, and refuses what is above a limit. Its history never ends, so
that workers always want more than they get. The last line of a process is what it has counted, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import types
from collections import Counter, deque
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
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

OWNERS = 24
_ENDPOINTS = ("fills", "orders")
_SCOPES = ("app", "credential", "endpoint")
_MANIFEST = """
key = "bench"
display_name = "Bench"
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
"""
_SOURCE = """
[[sources]]
name = "history"
precedence = 1
scope = "account"
look_back = "3650d"
longest_window = "1d"
retention = "limited"
"""


@attrs.frozen(kw_only=True)
class Plan:
    """What the broker allows in each window of `period` seconds, per scope, and when it allows half of it.

    `tells` is how it refuses: by a 429 alone, or with headers of what is left on each answer.
    """

    app: int
    credential: int
    endpoint: int
    period: float
    halves_after: float | None = None
    tells: bool = False

    @property
    def amounts(self) -> dict[str, int]:
        return {scope: getattr(self, scope) for scope in _SCOPES}

    def words(self) -> str:
        return json.dumps(attrs.asdict(self))


class _Meter:
    """The broker's own count: rolling windows of what it let in."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.first: float | None = None
        self.let_in: dict[tuple[str, str], list[float]] = {}
        self.refused: list[float] = []
        self._held: dict[tuple[str, str], deque[float]] = {}

    def amount(self, scope: str, now: float) -> int:
        plan, whole = self.plan, self.plan.amounts[scope]
        halved = plan.halves_after is not None and self.first is not None and now - self.first >= plan.halves_after
        return whole // 2 if halved else whole

    def left(self, keys: dict[str, str], now: float) -> dict[str, int]:
        """How many more calls each scope lets in now."""
        found = {}
        for scope, key in keys.items():
            held = self._held.setdefault((scope, key), deque())
            while held and held[0] <= now - self.plan.period:
                held.popleft()
            found[scope] = self.amount(scope, now) - len(held)
        return found

    def take(self, keys: dict[str, str], now: float) -> None:
        self.first = now if self.first is None else self.first
        for one in keys.items():
            self._held[one].append(now)
            self.let_in.setdefault(one, []).append(now)

    def told(self) -> dict[str, Any]:
        begin = self.first or 0.0
        return {
            "began": begin,
            "let_in": {f"{scope} {key}": [at - begin for at in times] for (scope, key), times in self.let_in.items()},
            "refused": [at - begin for at in self.refused],
        }


async def _broker(plan: Plan) -> None:
    meter = _Meter(plan)

    async def answer(request: web.Request) -> web.Response:
        now, endpoint = time.monotonic(), request.match_info["endpoint"]
        keys = {"app": "", "credential": request.headers["Authorization"], "endpoint": endpoint}
        left = meter.left(keys, now)
        headers = {}
        if plan.tells:
            amount = meter.amount("app", now)
            remaining = max(left["app"] - 1, 0)
            headers = {
                "RateLimit-Policy": f'"app";q={amount};w={plan.period:.0f}',
                "RateLimit": f'"app";r={remaining};t={plan.period:.0f}',
            }
        if min(left.values()) < 1:
            meter.refused.append(now)
            return web.json_response({"error": "too many"}, status=429, headers=headers)
        meter.take(keys, now)
        return web.json_response({}, headers=headers)

    application = web.Application()
    application.router.add_get("/{endpoint}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1000).start()
    print(runner.addresses[0][1], flush=True)
    await asked_to_stop()
    await runner.cleanup()
    print(json.dumps(meter.told()))


class _Provider(ToyProvider):
    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        # half of the logins use one endpoint and half the other
        endpoint = _ENDPOINTS[int(auth.identity[-1]) % 2]
        await self._context.http.request(endpoint, "GET", f"{self._context.hosts['api']}/{endpoint}", auth=auth)
        span = CoveredSpan(account_id=auth.identity, environment="live", window=request.window)
        yield TradePage(bookings=(), covered=(span,))


def _manifest(plan: Plan) -> str:
    limits = [(scope, plan.amounts[scope], "") for scope in ("app", "credential")]
    limits += [("endpoint", plan.endpoint, f'operations = ["{one}"]\n') for one in _ENDPOINTS]
    parts = [
        f'[[limits]]\nscope = "{scope}"\namount = {amount}\nperiod = "{plan.period * 1000:.0f}ms"\n{more}'
        'kind = "window"\nsource = "this benchmark"\n'
        for scope, amount, more in limits
    ]
    return _MANIFEST + "".join(parts) + _SOURCE


def opened(plan: Plan, port: str, folder: str, redis: str) -> BrokerSync:
    """What a process of the fleet holds; where `redis` is empty it is alone."""
    module = types.ModuleType("brokersync_bench")

    @hookimpl
    def brokersync_provider(broker: str) -> ProviderSpec | None:
        return ProviderSpec(credentials=Credentials, create=_Provider)

    module.brokersync_provider = brokersync_provider  # type: ignore[attr-defined]  # a module made by hand
    registry = ProviderRegistry()
    registry.register(module, *parse_manifests(_manifest(plan), "this benchmark"))
    text = f'[brokers.bench.hosts]\napi = "http://127.0.0.1:{port}"\n[queue]\nplan_every = "1s"\nlook_every = "100ms"\n'
    text += f'[fleet]\nredis = "{redis}"\n' if redis else ""
    place = Path(folder) / "s.db"
    return BrokerSync.open(place, settings=parse_settings(text), registry=registry, keys=MasterKeys(bytes(32)))


async def _worker(plan: Plan, port: str, folder: str, redis: str) -> None:
    outcomes: Counter[str] = Counter()
    async with opened(plan, port, folder, redis) as bs:
        worker = bs.worker(concurrency=OWNERS, stop_within=timedelta(seconds=5))
        running = asyncio.create_task(worker.run())
        print("started", flush=True)
        await asked_to_stop()
        worker.stop()
        await running
        outcomes.update(worker.outcomes)
    print(json.dumps({"outcomes": outcomes, "cpu": time.process_time()}))


def main() -> None:
    case, words, *rest = sys.argv[1:]
    asyncio.run({"broker": _broker, "worker": _worker}[case](Plan(**json.loads(words)), *rest))


if __name__ == "__main__":
    main()
