"""The whole way, as an embedding backend walks it: `BrokerSync`, real HTTP on loopback, and each kind of broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from brokersync import BrokerSync, Settings
from brokersync.config import BrokerSettings
from brokersync.errors import BrokerAuthError, BrokerConfigError, BrokerError
from brokersync.events import ConnectionNeedsUser, ConnectionRecovered, Event
from brokersync.masterkeys import MasterKeys
from brokersync.records import Connection, ConnectionState, Deferred, Done
from brokersync.registry import ProviderRegistry
from brokersync.store import TradeFilter

from .ledger import DAY, Facts, make_ledger, truth
from .probes import VirtualClock
from .server import RefusalError, Server
from .stubs import KINDS, Kind
from .wire import listen, unlisten
from .world import NOW, facts_of

pytestmark = pytest.mark.sampled_on_postgres

BY_KEY = {str(kind): kind for kind in KINDS}
KEYS = MasterKeys(bytes(32))
RIGHT = {"user": "somebody", "password": "right"}

every_kind = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.history], ids=str)


@attrs.frozen
class Desk:
    """An embedding backend and the broker at the other end of the wire."""

    bs: BrokerSync
    server: Server
    clock: VirtualClock
    key: str
    events: list[Event]

    async def connect(self, owner: str = "owner", **fields: str) -> Connection:
        return await self.bs.connect(self.key, owner=owner, fields=RIGHT | fields)

    async def settle(self, connection: Connection) -> Done:
        for _ in range(60):
            outcome = await self.bs.run(connection.connection_id)
            if isinstance(outcome, Done):
                return outcome
            self.clock.set(outcome.until)
        raise AssertionError("the sync is put off again and again")

    async def facts(self, owner: str = "owner") -> Counter[Facts]:
        return Counter([facts_of(trade) async for trade in self.bs.trades(owner)])

    async def state(self) -> tuple[ConnectionState, str | None]:
        (connection,) = await self.bs.connections("owner")
        return connection.state, connection.reason


@asynccontextmanager
async def open_desk(kind: Kind, stores: Any) -> AsyncIterator[Desk]:
    clock = VirtualClock(NOW)
    server = Server(make_ledger(corrections=kind.named), clock)
    app = web.Application()
    app.router.add_route("*", "/{what}", _handler(server))
    registry = ProviderRegistry()
    registry.register(kind.module, kind.manifest)
    events: list[Event] = []
    async with TestServer(app) as http:
        url = str(http.make_url("")).rstrip("/")
        settings = Settings(brokers={str(kind): BrokerSettings(hosts={"api": url})})
        listen(url, server)
        async with BrokerSync.open(
            stores.place, keys=KEYS, settings=settings, registry=registry, clock=clock, events=events.append
        ) as bs:
            yield Desk(bs, server, clock, str(kind), events)
        unlisten(url)


def _handler(server: Server) -> web.RequestHandler:  # type: ignore[type-arg]  # a handler as aiohttp takes it
    async def handle(request: web.Request) -> web.Response:
        asked = {**request.query, **{name: str(value) for name, value in (await request.post()).items()}}
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ") or None
        try:
            return web.json_response(server.answer(request.path, asked, bearer))
        except RefusalError as refusal:
            return web.json_response({"error": refusal.code}, status=refusal.status)

    return handle  # type: ignore[return-value]  # see above


@every_kind
async def test_from_connecting_to_the_trades(kind: Kind, stores: Any) -> None:
    async with open_desk(kind, stores) as desk:
        connection = await desk.connect()
        report = (await desk.settle(connection)).report
        assert report.problems == ()
        assert await desk.facts() == truth(desk.server.ledger)
        again = (await desk.settle(connection)).report
        assert (again.added, again.modified, again.removed) == (0, 0, 0)


async def test_owners_of_one_login_never_see_each_other(stores: Any) -> None:
    async with open_desk(BY_KEY["page-tokens"], stores) as desk:
        first, second = await desk.connect("first"), await desk.connect("second")
        assert first.connection_id != second.connection_id
        await desk.settle(first)
        assert await desk.facts("first") == truth(desk.server.ledger)
        assert await desk.facts("second") == Counter()
        assert await desk.bs.changes("second") == ()
        assert await desk.bs.coverage("second", desk.key, "journal") == {}
        await desk.settle(second)
        assert await desk.facts("second") == await desk.facts("first")
        assert [one.connection_id for one in await desk.bs.connections("second")] == [second.connection_id]
        assert len(await desk.bs.changes("first")) == len(await desk.bs.changes("second"))


async def test_a_refused_login_keeps_nothing(stores: Any) -> None:
    async with open_desk(BY_KEY["date-windows"], stores) as desk:
        with pytest.raises(BrokerAuthError) as caught:
            await desk.connect(password="a-wrong-password")
        assert "a-wrong-password" not in str(caught.value)
        assert await desk.bs.connections() == ()
        assert await desk.bs.counts("owner") == []


async def test_accounts_that_can_not_be_listed_keep_nothing(stores: Any) -> None:
    async with open_desk(BY_KEY["date-windows"], stores) as desk:
        desk.server.deaf = True
        with pytest.raises(BrokerError):
            await desk.connect()
        assert await desk.bs.connections() == ()


async def test_fields_that_do_not_fit_are_named_before_the_broker_is_asked(stores: Any) -> None:
    async with open_desk(BY_KEY["date-windows"], stores) as desk:
        with pytest.raises(BrokerConfigError, match="pasword"):
            await desk.connect(pasword="right")
        assert await desk.bs.connections() == ()


@every_kind
async def test_a_dead_token_is_replaced_without_asking_the_user(kind: Kind, stores: Any) -> None:
    async with open_desk(kind, stores) as desk:
        connection = await desk.connect()
        # the first answer about trades finds it dead
        desk.server.on_call = lambda number: desk.server.tokens.clear() if number == 1 else None
        assert (await desk.settle(connection)).report.problems == ()
        assert await desk.facts() == truth(desk.server.ledger)
        assert await desk.state() == (ConnectionState.ACTIVE, None)


async def test_a_token_that_dies_between_two_pages_costs_nothing(stores: Any) -> None:
    async with open_desk(BY_KEY["page-tokens"], stores) as desk:
        connection = await desk.connect()
        desk.server.on_call = lambda number: desk.server.tokens.clear() if number == 3 else None
        assert (await desk.settle(connection)).report.problems == ()
        assert await desk.facts() == truth(desk.server.ledger)


@every_kind
async def test_the_user_is_asked_when_the_login_is_refused_and_no_more_when_it_works_again(
    kind: Kind, stores: Any
) -> None:
    async with open_desk(kind, stores) as desk:
        connection = await desk.connect()
        desk.server.tokens.clear()
        desk.server.password = "changed"
        with pytest.raises(BrokerAuthError):
            await desk.settle(connection)
        state, reason = await desk.state()
        assert state is ConnectionState.NEEDS_USER
        assert reason
        assert [type(event) for event in desk.events].count(ConnectionNeedsUser) == 1
        desk.server.password = "right"
        await desk.settle(connection)
        assert await desk.state() == (ConnectionState.ACTIVE, None)
        assert [type(event) for event in desk.events].count(ConnectionRecovered) == 1
        assert await desk.facts() == truth(desk.server.ledger)


async def test_a_broker_that_is_down_does_not_ask_the_user(stores: Any) -> None:
    async with open_desk(BY_KEY["date-windows"], stores) as desk:
        connection = await desk.connect()
        desk.server.fail(*[RefusalError(503, "down")] * 99)
        outcome = await desk.bs.run(connection.connection_id)
        assert isinstance(outcome, Deferred)
        assert await desk.state() == (ConnectionState.ACTIVE, None)
        desk.server.heal()
        await desk.settle(connection)
        assert await desk.facts() == truth(desk.server.ledger)


async def test_the_same_login_again_keeps_its_connection_and_history(stores: Any) -> None:
    async with open_desk(BY_KEY["growing-ids"], stores) as desk:
        first = await desk.connect()
        await desk.settle(first)
        desk.server.tokens.clear()
        desk.server.password = "changed"
        with pytest.raises(BrokerAuthError):
            await desk.settle(first)
        again = await desk.connect(password="changed")
        assert again.connection_id == first.connection_id
        assert await desk.state() == (ConnectionState.ACTIVE, None)
        assert await desk.facts() == truth(desk.server.ledger)
        desk.server.calls.clear()
        report = (await desk.settle(again)).report
        assert (report.added, report.modified, report.removed) == (0, 0, 0)
        assert len(desk.server.calls) == 1


async def test_another_login_is_another_connection_to_the_same_history(stores: Any) -> None:
    async with open_desk(BY_KEY["date-windows"], stores) as desk:
        first, second = await desk.connect(), await desk.connect(user="somebody-else")
        assert first.connection_id != second.connection_id
        await desk.settle(first)
        report = (await desk.settle(second)).report
        assert (report.added, report.modified) == (0, 0)
        assert await desk.facts() == truth(desk.server.ledger)


@every_kind
async def test_an_account_opened_after_connecting_is_read_from_its_beginning(kind: Kind, stores: Any) -> None:
    async with open_desk(kind, stores) as desk:
        desk.server.accounts["B-2"] = NOW + DAY
        connection = await desk.connect()
        await desk.settle(connection)
        assert {facts[0] for facts in await desk.facts()} == {"A-1"}
        desk.clock.set(NOW + DAY + timedelta(hours=1))
        await desk.settle(connection)
        assert await desk.facts() == truth(desk.server.ledger)


@every_kind
async def test_a_cancelled_run_leaves_nothing_behind_that_the_next_one_can_not_mend(kind: Kind, stores: Any) -> None:
    async with open_desk(kind, stores) as desk:
        connection = await desk.connect()
        run = asyncio.create_task(desk.bs.run(connection.connection_id))
        desk.server.on_call = lambda number: run.cancel() if number == 1 else None
        with pytest.raises(asyncio.CancelledError):
            await run
        desk.server.on_call = lambda number: None
        assert await desk.state() == (ConnectionState.ACTIVE, None)
        await desk.settle(connection)
        assert await desk.facts() == truth(desk.server.ledger)


async def test_two_runs_of_one_connection_take_turns(stores: Any) -> None:
    async with open_desk(BY_KEY["page-tokens"], stores) as desk:
        connection = await desk.connect()
        outcomes = await asyncio.gather(*(desk.bs.run(connection.connection_id) for _ in range(3)))
        reports = [outcome.report for outcome in outcomes]
        assert sorted(report.added for report in reports)[:2] == [0, 0]
        assert await desk.facts() == truth(desk.server.ledger)


async def test_a_sync_is_put_off_and_its_reason_can_be_read(stores: Any) -> None:
    async with open_desk(BY_KEY["reports"], stores) as desk:
        connection = await desk.connect()
        outcome = await desk.bs.run(connection.connection_id)
        assert isinstance(outcome, Deferred)
        assert outcome.until > desk.clock.now()
        assert outcome.reason
        last = await desk.bs.last_report(connection.connection_id)
        assert last is not None
        assert last["problems"] == []


async def test_only_what_a_filter_asks_for_is_told(stores: Any) -> None:
    async with open_desk(BY_KEY["date-windows"], stores) as desk:
        await desk.settle(await desk.connect())
        one = [facts_of(trade) async for trade in desk.bs.trades("owner", TradeFilter(account_id="B-2"))]
        assert Counter(one) == Counter(f for f in truth(desk.server.ledger).elements() if f[0] == "B-2")
