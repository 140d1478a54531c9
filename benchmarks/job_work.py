"""What the table of a job measures, each in a process of its own: `python -m benchmarks.job_work CASE PORT`.

Prints the milliseconds of CPU for `PAGES` requests of ten trades each, the first one left out. `serve` is the broker.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import tempfile
import time
import types
from collections.abc import AsyncGenerator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import attrs
from aiohttp import web

from brokersync import BrokerSync, ProviderRegistry
from brokersync.config import parse_settings
from brokersync.manifest import parse_manifests
from brokersync.masterkeys import MasterKeys
from brokersync.plugin import (
    AssetClass,
    AuthResult,
    BrokerAccount,
    BrokerCredentials,
    BrokerTrade,
    CoveredSpan,
    Instrument,
    ProviderContext,
    ProviderSpec,
    Secret,
    Side,
    TradeBooking,
    TradePage,
    TradeRequest,
    hookimpl,
)

PAGES, ROWS = 300, 10
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
[[limits]]
scope = "credential"
amount = 1000000
period = "1s"
source = "this benchmark"
[[sources]]
name = "fills"
precedence = 1
scope = "account"
look_back = "10d"
retention = "limited"
"""


def _rows(page: int) -> list[dict[str, str]]:
    began = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
    return [
        {
            "id": f"{page}-{row}", "symbol": "MESZ6", "side": "buy", "qty": "1", "price": f"{20000 + page}.25",
            "time": (began + timedelta(minutes=page, seconds=row)).isoformat(),
        }
        for row in range(ROWS)
    ]  # fmt: skip


async def _serve() -> None:
    async def answer(request: web.Request) -> web.Response:
        page, pages = int(request.query.get("page", "0")), int(request.query.get("of", "1"))
        following = page + 1 if page + 1 < pages else None
        return web.json_response({"fills": _rows(page), "next": following})

    application = web.Application()
    application.router.add_get("/fills", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def _url(port: str, page: int) -> str:
    return f"http://127.0.0.1:{port}/fills?page={page}&of={PAGES + 1}"


async def get(port: str) -> float:
    """The floor: the request and its body."""
    async with aiohttp.ClientSession() as session:
        cpu = 0.0
        for page in range(PAGES + 1):
            async with session.get(_url(port, page)) as response:
                await response.read()
            cpu = cpu or time.process_time()
    return time.process_time() - cpu


async def script(port: str) -> float:
    """The peer: what a script of twenty lines does."""
    with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(Path(folder) / "s.db")) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE trades (id TEXT PRIMARY KEY, symbol, side, qty, price, at, raw)")
        cpu = 0.0
        async with aiohttp.ClientSession() as session:
            for page in range(PAGES + 1):
                async with session.get(_url(port, page)) as response:
                    found = await response.json()
                rows = [
                    (
                        one["id"], one["symbol"], one["side"], str(Decimal(one["qty"])), str(Decimal(one["price"])),
                        datetime.fromisoformat(one["time"]).isoformat(), json.dumps(one),
                    )
                    for one in found["fills"]
                ]  # fmt: skip
                db.executemany("INSERT OR REPLACE INTO trades VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
                db.commit()
                cpu = cpu or time.process_time()
        return time.process_time() - cpu


@attrs.frozen(kw_only=True)
class _Credentials(BrokerCredentials):
    api_key: Secret


class _Provider:
    def __init__(self, context: ProviderContext, pages: int) -> None:
        self._context, self._pages = context, pages

    async def authenticate(self, credentials: _Credentials) -> AuthResult:
        return AuthResult(identity="bench", access_token=credentials.api_key)

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        return auth

    async def get_accounts(self, auth: AuthResult) -> list[BrokerAccount]:
        return [BrokerAccount(account_id="a", environment="live", currency="USD")]

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        url = self._context.hosts["api"] + "/fills"
        params = {"page": request.cursor or "0", "of": str(self._pages)}
        answer = (await self._context.http.request("fills", "GET", url, params=params, auth=auth)).json()
        covered = CoveredSpan(account_id="a", environment="live", window=request.window)
        yield TradePage(
            bookings=tuple(TradeBooking.of(_trade(row), raw=row) for row in answer["fills"]),
            covered=() if answer["next"] else (covered,),
            cursor=str(answer["next"]) if answer["next"] else None,
        )

    async def aclose(self) -> None:
        pass


def _trade(row: dict[str, str]) -> BrokerTrade:
    return BrokerTrade(
        provider="bench", environment="live", account_id="a", trade_id=row["id"],
        instrument=Instrument(symbol=row["symbol"], asset_class=AssetClass.FUTURE, currency="USD"),
        side=Side(row["side"]), quantity=Decimal(row["qty"]), price=Decimal(row["price"]),
        executed_at=datetime.fromisoformat(row["time"]),
    )  # fmt: skip


def _opened(port: str, folder: str, pages: int) -> BrokerSync:
    module = types.ModuleType("brokersync_bench")

    @hookimpl
    def brokersync_provider(broker: str) -> ProviderSpec | None:
        return ProviderSpec(credentials=_Credentials, create=lambda context: _Provider(context, pages))

    module.brokersync_provider = brokersync_provider  # type: ignore[attr-defined]  # a module made by hand
    registry = ProviderRegistry()
    registry.register(module, *parse_manifests(_MANIFEST, "this benchmark"))
    settings = parse_settings(f'[brokers.bench.hosts]\napi = "http://127.0.0.1:{port}"\n')
    return BrokerSync.open(Path(folder) / "s.db", settings=settings, registry=registry, keys=MasterKeys(bytes(32)))


async def pages(port: str) -> float:
    """Ours: one sync of many pages."""
    with tempfile.TemporaryDirectory() as folder:
        async with _opened(port, folder, PAGES) as bs:
            connection = await bs.connect("bench", owner="me", fields={"api_key": "key"})
            cpu = time.process_time()
            done: Any = await bs.run(connection.connection_id)
            cpu = time.process_time() - cpu
            if done.report.added != PAGES * ROWS:
                raise AssertionError(f"{done.report.added} trades came")
        return cpu


async def syncs(port: str) -> float:
    """Ours: many syncs that read one page and find nothing new."""
    with tempfile.TemporaryDirectory() as folder:
        async with _opened(port, folder, 1) as bs:
            connection = await bs.connect("bench", owner="me", fields={"api_key": "key"})
            await bs.run(connection.connection_id)
            cpu = time.process_time()
            for _ in range(PAGES):
                await bs.run(connection.connection_id)
            return time.process_time() - cpu


def main() -> None:
    case, *port = sys.argv[1:]
    if case == "serve":
        asyncio.run(_serve())
    else:
        print(asyncio.run({"get": get, "script": script, "pages": pages, "syncs": syncs}[case](*port)) * 1000)


if __name__ == "__main__":
    main()
