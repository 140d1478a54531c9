"""The guide's broker works as it is written: found through its entry point, connected, synced over real HTTP."""

from __future__ import annotations

import re
import sys
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from brokersync import BrokerSync, Done, ProviderRegistry, Settings
from brokersync.config import BrokerSettings
from brokersync.manifest import parse_manifests

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "adding-a-broker.md").read_text(encoding="utf-8")
_PACKAGING, _FACTS, _MAINTENANCE, _SESSIONS = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
MANIFEST = _FACTS + _MAINTENANCE + _SESSIONS
(CODE,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def _plugin() -> types.ModuleType:
    module = types.ModuleType("brokersync_acme")
    sys.modules[module.__name__] = module
    exec(compile(CODE, "docs/adding-a-broker.md", "exec"), module.__dict__)
    return module


def _broker(now: datetime) -> web.Application:
    fills: list[dict[str, Any]] = [
        {"id": 2**60 + n, "symbol": "ACME", "ccy": "USD", "side": "BUY", "qty": "1.5", "price": "10.10", "fee": "0.35",
         "time": (now - timedelta(days=n)).isoformat()}
        for n in range(1, 60)
    ]  # fmt: skip
    fills.append(fills[0] | {"id": 7, "side": "swap"})

    async def me(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer a key"
        return web.json_response({"id": 12})

    async def accounts(_: web.Request) -> web.Response:
        return web.json_response([{"id": 34, "ccy": "USD"}])

    async def list_fills(request: web.Request) -> web.Response:
        start, end = request.query["from"], request.query["to"]
        inside = [one for one in fills if start <= one["time"] < end]
        page = int(request.query.get("page", "0"))
        more = str(page + 10) if page + 10 < len(inside) else None
        return web.json_response({"fills": inside[page : page + 10], "next": more})

    application = web.Application()
    application.router.add_get("/me", me)
    application.router.add_get("/accounts", accounts)
    application.router.add_get("/accounts/34/fills", list_fills)
    return application


async def test_the_guides_broker_syncs_all_its_trades_once(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    runner = web.AppRunner(_broker(now), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hosts = {"api": f"http://127.0.0.1:{runner.addresses[0][1]}"}
    settings = Settings(brokers={"acme": BrokerSettings(hosts=hosts)})
    registry = ProviderRegistry(settings=settings)
    registry.register(_plugin(), *parse_manifests(MANIFEST, "the guide"))
    try:
        async with BrokerSync.open(tmp_path / "s.db", settings=settings, registry=registry) as bs:
            login = await bs.connect("acme", owner="me", fields={"api_key": "a key"}, since=now - timedelta(days=90))
            first = await bs.run(login.connection_id)
            second = await bs.run(login.connection_id)
            trades = [trade async for trade in bs.trades("me")]
    finally:
        await runner.cleanup()
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    assert (first.report.added, first.report.quarantined, second.report.added) == (59, 1, 0)
    assert len(trades) == 59
    assert {trade.trade_id for trade in trades} == {f"fill:{2**60 + n}" for n in range(1, 60)}
