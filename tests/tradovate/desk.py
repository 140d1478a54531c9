"""A journal over a simulated Tradovate, with one clock for both, and what the broker's own books say."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import attrs
from aiohttp import web
from aiohttp.test_utils import TestServer

from brokersync import BrokerSync, Deferred, ProviderRegistry, SyncReport
from brokersync.events import EventSink, no_events
from brokersync.plugin import StatementHints
from brokersync.sandboxes import SandboxSettings
from brokersync.store import TradeFilter
from brokersync.testing import RunningSandbox
from brokersync.testing.sandbox_server import simulated_broker
from brokersync.types import BrokerTrade
from brokersync_tradovate.sandbox_wire import dump

Rows: TypeAlias = list[dict[str, str]]
Name: TypeAlias = tuple[str, str]
"""A fill by its side and id: the two sides number theirs independently."""


class Clock:
    """Sleeping moves the time on and takes none."""

    def __init__(self, start: datetime) -> None:
        self.time = start

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)


@attrs.frozen
class Desk:
    """One owner's journal and the broker beside it."""

    bs: BrokerSync
    sandbox: RunningSandbox
    http: aiohttp.ClientSession
    clock: Clock
    altered: dict[str, Callable[[Any], Any]]
    """What to make of the broker's proper answers, by operation in lower case."""
    asked: list[str]
    """The requests that came, by operation and query."""

    async def connect(self, login: int = 0) -> str:
        mine = self.sandbox.logins[login]
        made = await self.bs.connect("tradovate", owner="me", fields=mine.fields, environment=mine.environment)
        return made.connection_id

    async def sync(self, connection: str, *sources: str, again_from: datetime | None = None) -> SyncReport:
        """Sync, and wait where that is asked for."""
        while True:
            outcome = await self.bs.run(connection, sources=sources or None, again_from=again_from)
            if not isinstance(outcome, Deferred):
                return outcome.report
            self.clock.time = max(self.clock.time, outcome.until) + timedelta(seconds=1)

    async def trades(self) -> dict[Name, BrokerTrade]:
        return {name_of(one): one async for one in self.bs.trades("me", TradeFilter(cancelled=True))}

    async def export(self, name: str, *, login: int = 0, side: str = "live", minutes: int = 0) -> str:
        """What the user downloads; `minutes` is how far his clock is ahead of UTC."""
        url = f"{self.sandbox.base_url}/_sandbox/exports/{login}/{side}/{name}?timezone={minutes}"
        async with self.http.get(url) as answer:
            answer.raise_for_status()
            return await answer.text()

    async def import_file(self, text: str, **hints: Any) -> SyncReport:
        told = StatementHints(name="Fills.csv", **hints)
        return await self.bs.import_statement("tradovate", io.BytesIO(text.encode()), owner="me", hints=told)

    async def arm(self, **fault: Any) -> None:
        async with self.http.post(f"{self.sandbox.base_url}/_sandbox/faults", json=fault) as answer:
            answer.raise_for_status()

    async def disarm(self) -> None:
        async with self.http.delete(f"{self.sandbox.base_url}/_sandbox/faults") as answer:
            answer.raise_for_status()

    async def requests(self) -> dict[str, int]:
        """How often each operation was asked for."""
        async with self.http.get(f"{self.sandbox.base_url}/_sandbox/requests") as answer:
            counts: dict[str, int] = (await answer.json())["operations"]
        return counts

    async def ledger(self, *, login: int = 0) -> dict[Name, dict[str, Any]]:
        """The fills of a login in the broker's books, each with its account and the side that it is on."""
        async with self.http.get(f"{self.sandbox.base_url}/_sandbox/ledger") as answer:
            books = await answer.json()
        return {
            (environment, fill["trade_id"]): fill | {"account": account}
            for account in self.sandbox.logins[login].trades
            for environment in [books["holders"][account]["environment"]]
            for fill in books["accounts"][account]
        }


@asynccontextmanager
async def open_desk(
    folder: Path,
    start: datetime,
    *,
    events: EventSink = no_events,
    a_request_takes: timedelta = timedelta(0),
    **simulated: Any,
) -> AsyncIterator[Desk]:
    """A desk whose broker has a history of `days` before `start`, and whose clock moves on with each request."""
    clock = Clock(start)
    settings = SandboxSettings(now=clock.now, think=timedelta(0), **simulated)
    broker = simulated_broker("tradovate", ProviderRegistry.installed(), settings)

    altered: dict[str, Callable[[Any], Any]] = {}
    asked: list[str] = []

    @web.middleware
    async def watching(request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
        clock.time += a_request_takes
        asked.append("/".join(request.rel_url.path_qs.split("/")[3:]))
        answer: web.StreamResponse = await handler(request)
        alter = altered.get("/".join(request.path.lower().split("/")[3:]))
        if alter is None or not isinstance(answer, web.Response) or answer.status != 200:
            return answer
        proper = json.loads(answer.text or "", parse_float=Decimal)
        return web.Response(text=dump(alter(proper)), content_type="application/json")

    application = broker.application()
    application.middlewares.append(watching)
    async with TestServer(application, host="127.0.0.1") as server, aiohttp.ClientSession() as http:
        base_url = f"http://127.0.0.1:{server.port}"
        sandbox = RunningSandbox(key="tradovate", base_url=base_url, hosts=broker.hosts(base_url), broker=broker)
        place = folder / "store.db"
        async with BrokerSync.open(place, settings=sandbox.settings(), clock=clock, events=events) as bs:
            yield Desk(bs, sandbox, http, clock, altered, asked)


def name_of(trade: BrokerTrade) -> Name:
    return trade.environment, trade.trade_id


def rows_of(text: str) -> Rows:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def file_of(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> str:
    """An export with these rows and columns only."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def executions(trades: Iterable[BrokerTrade]) -> dict[Name, tuple[Any, ...]]:
    """What was done, without what it cost."""
    return {
        name_of(one): (
            one.account_id, one.order_id, one.instrument.symbol, str(one.side), one.quantity,
            one.price, one.executed_at, one.trade_date.isoformat() if one.trade_date else None,
        )
        for one in trades
    }  # fmt: skip  # a row


def booked_executions(ledger: Mapping[Name, Mapping[str, Any]]) -> dict[Name, tuple[Any, ...]]:
    """The same of the broker's books."""
    return {
        name: (
            fill["account"], fill["order_id"], fill["symbol"], fill["side"], Decimal(fill["quantity"]),
            Decimal(fill["price"]), datetime.fromisoformat(fill["executed_at"]).astimezone(UTC), fill["trade_date"],
        )
        for name, fill in ledger.items()
    }  # fmt: skip  # a row


_KINDS = {
    "commission": "commission", "exchangeFee": "exchange", "clearingFee": "clearing", "nfaFee": "regulatory",
    "brokerageFee": "brokerage", "orderRoutingFee": "routing",
}  # fmt: skip  # a table


def costs(trades: Iterable[BrokerTrade]) -> dict[Name, dict[tuple[str, str], Decimal]]:
    return {name_of(one): {(str(fee.kind), fee.currency): fee.amount for fee in one.fees} for one in trades}


def booked_costs(ledger: Mapping[Name, Mapping[str, Any]]) -> dict[Name, dict[tuple[str, str], Decimal]]:
    return {
        name: {(_KINDS[kind], fill["currency"]): Decimal(amount) for kind, amount in fill["fees"].items()}
        for name, fill in ledger.items()
    }


def totals(costs_of: Mapping[Name, Mapping[tuple[str, str], Decimal]]) -> Counter[tuple[str, str]]:
    """The costs of all by kind and currency."""
    sums: Counter[tuple[str, str]] = Counter()
    for amounts in costs_of.values():
        for name, amount in amounts.items():
            sums[name] += amount  # type: ignore[assignment]  # typeshed's Counter holds whole numbers only
    return sums
