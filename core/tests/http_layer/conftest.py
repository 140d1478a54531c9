"""A scripted broker on loopback, a clock whose sleep is the passing of time, and clients between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from brokersync.config import RetrySettings
from brokersync.errors import LimitScope
from brokersync.events import Event
from brokersync.hosts import HostMap
from brokersync.http import BrokerHttp
from brokersync.limits import RateLimit
from brokersync.manifest import AuthKind, Manifest, SourceSpec
from brokersync.ratelimit import LocalLimiter

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

MANIFEST = Manifest(
    key="toy",
    display_name="Toy Broker",
    contract=1,
    environments=("live",),
    auth=(AuthKind.TOKEN,),
    sources=(SourceSpec(name="history", precedence=1),),
    licence="Apache-2.0",
    docs="https://toy.example/docs",
    support="https://toy.example/help",
    hosts={"api": "https://api.toy.example"},
)


class Clock:
    """Sleeping takes no time and moves this clock."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2030, 5, 1, 12, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.seconds += seconds
        await asyncio.sleep(0)


@attrs.frozen
class Seen:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    peer: object = None


@attrs.define
class Broker:
    """Gives the scripted answers in turn, then 200 for ever; remembers what it was asked."""

    script: list[web.Response | Answer] = attrs.field(factory=list)
    seen: list[Seen] = attrs.field(factory=list)
    url: str = ""

    def then(self, *answers: web.Response | Answer | int) -> None:
        self.script += [web.Response(status=answer) if isinstance(answer, int) else answer for answer in answers]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        peer = request.get_extra_info("peername")
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, request.path, dict(request.query), headers, body, peer))
        answer = self.script.pop(0) if self.script else web.Response(text="fine")
        return answer if isinstance(answer, web.Response) else await answer(request)


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    broker = Broker()
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", broker.handle)
    server = TestServer(application)
    await server.start_server()
    broker.url = str(server.make_url("")).rstrip("/")
    yield broker
    await server.close()


@pytest.fixture
async def serve_raw() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """A server that gives these very bytes to each connection and hangs up, or does as the handler says; its URL."""
    servers: list[asyncio.Server] = []

    async def serve(what: bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                if isinstance(what, bytes):
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(what)
                else:
                    await what(reader, writer)
            finally:
                writer.close()

        servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))
        return f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"

    yield serve
    for server in servers:
        server.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def make_http(broker: Broker, clock: Clock, events: list[Event]) -> AsyncIterator[Callable[..., BrokerHttp]]:
    """A client of the broker; its retries wait the full second, two seconds, and so on."""
    made: list[BrokerHttp] = []
    limiter = LocalLimiter(clock)

    def make(
        limits: Sequence[RateLimit] = (), manifest: Manifest = MANIFEST, url: str = "", **how: object
    ) -> BrokerHttp:
        facts = {
            "hosts": HostMap(manifest, {"api": url or broker.url}),
            "limiter": limiter,
            "clock": clock,
            "events": events.append,
            "retry": RetrySettings(attempts=4),
            "connection_id": "c1",
            "random": lambda: 1.0,
        }
        made.append(BrokerHttp(manifest=manifest, limits=limits, **(facts | how)))
        return made[-1]

    yield make
    for http in made:
        await http.aclose()


@pytest.fixture
def http(make_http: Callable[..., BrokerHttp]) -> BrokerHttp:
    return make_http()


@pytest.fixture
def one_a_minute() -> RateLimit:
    return RateLimit(scope=LimitScope.APP, amount=1, period=timedelta(minutes=1))
