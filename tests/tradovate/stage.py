"""The simulated Tradovate under the names of its hosts: TLS on loopback, a clock of the test's, a user's browser."""

from __future__ import annotations

import asyncio
import sqlite3
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import AF_INET, AddressFamily
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import attrs
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from brokersync import BrokerSync, Connection, ProviderRegistry, Settings
from brokersync.config import BrokerSettings
from brokersync.events import Event, RequestSent
from brokersync.masterkeys import MasterKeys
from brokersync.sandboxes import SandboxLogin, SandboxSettings, SimulatedBroker
from brokersync.testing.sandbox_server import simulated_broker

WEDNESDAY = datetime(2026, 6, 10, 15, tzinfo=UTC)  # 10:00 in Chicago
CALLBACK = "https://journal.example/broker"  # as in the guide to embedding


class VirtualClock:
    """Time that passes when somebody sleeps, or a test says so."""

    def __init__(self, now: datetime = WEDNESDAY) -> None:
        self._now, self._began = now, now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._began).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def advance(self, **by: float) -> None:
        self._now += timedelta(**by)


class _Loopback(AbstractResolver):
    """Every name is this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=AF_INET, proto=0, flags=0),
        ]

    async def close(self) -> None:
        pass


@attrs.define(eq=False)
class Stage:
    """A store, the broker, and what was heard; `process` makes another process over the store."""

    broker: SimulatedBroker
    clock: VirtualClock
    place: Path
    http: aiohttp.ClientSession
    settings: Settings
    events: list[Event] = attrs.field(factory=list)

    def process(self) -> BrokerSync:
        return BrokerSync.open(
            self.place,
            registry=ProviderRegistry.installed(),
            keys=MasterKeys(bytes(32)),
            settings=self.settings,
            clock=self.clock,
            events=self.events.append,
            session=self.http,
        )

    def login(self, number: int) -> SandboxLogin:
        """Of these the second trades accounts of a firm, which has hosts of its own."""
        return self.broker.logins[number]

    async def browse(self, url: str | None, login: int, answer: str = "allow") -> dict[str, str]:
        """What the broker's page sends a user back with who fills it in."""
        assert url is not None
        fields = self.login(login).fields
        form = {"username": fields["username"], "password": fields["password"], "answer": answer}
        async with self.http.get(url) as page:
            assert "<form" in await page.text()
        async with self.http.post(url, data=form, allow_redirects=False) as sent_back:
            location = sent_back.headers["Location"]
        assert location.startswith(f"{CALLBACK}?")
        return dict(parse_qsl(urlsplit(location).query))

    async def consent(self, bs: BrokerSync, login: int = 1, owner: str = "ann", **facts: Any) -> Connection:
        begun = await bs.begin_consent("tradovate", owner=owner, redirect_uri=CALLBACK, **facts)
        done = await bs.finish_consent(begun.consent_id, await self.browse(begun.url, login), owner=owner)
        assert isinstance(done, Connection)
        return done

    async def connect(self, bs: BrokerSync, login: int = 0, owner: str = "ann", **facts: Any) -> Connection:
        """With the API key."""
        mine = self.login(login)
        given = {"environment": mine.environment, **facts}
        return await bs.connect("tradovate", owner=owner, fields=mine.fields, **given)

    async def fault(self, name: str, **order: Any) -> None:
        async with self.http.post(_control("faults"), json={"fault": name, **order}) as answer:
            assert answer.status == 200, await answer.text()

    async def calm(self) -> None:
        async with self.http.delete(_control("faults")) as answer:
            assert answer.status == 200

    async def asked(self) -> Counter[str]:
        """How often each operation was asked for."""
        return Counter((await self._control("requests"))["operations"])

    async def logins(self) -> Counter[str]:
        """How many sessions each user has opened."""
        return Counter((await self._control("requests"))["logins"])

    async def closed(self) -> Counter[str]:
        """How many sessions of each user were closed by a third."""
        return Counter((await self._control("requests"))["closed"])

    def forget_places(self) -> None:
        """As if brokersync had not opened the sessions that live."""
        with closing(sqlite3.connect(self.place)) as db, db:
            db.execute("DELETE FROM leases WHERE name LIKE 'session|%'")

    async def ledger(self) -> Any:
        return await self._control("ledger")

    def sent(self, status: int | None = None) -> list[RequestSent]:
        """The requests of brokersync, or those that were answered with a status."""
        heard = [event for event in self.events if isinstance(event, RequestSent)]
        return [one for one in heard if status in (None, one.status)]

    async def _control(self, what: str) -> Any:
        async with self.http.get(_control(what)) as answer:
            return await answer.json()


@asynccontextmanager
async def staged(
    folder: Path, clock: VirtualClock | None = None, *, keeps_hours: bool = False, **facts: Any
) -> AsyncIterator[Stage]:
    """The broker, listening, with `facts` of `SandboxSettings`; it `keeps_hours` of maintenance where it is to."""
    clock = clock or VirtualClock()
    settings = SandboxSettings(now=clock.now, **{"days": 10, "think": timedelta(0), **facts})
    broker = simulated_broker("tradovate", ProviderRegistry.installed(), settings)
    server, client = _tls(folder)
    runner = web.AppRunner(broker.application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server).start()
        connector = aiohttp.TCPConnector(limit=0, ssl=client, resolver=_Loopback(runner.addresses[0][1]))
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http:
            fields = getattr(broker, "operator_fields", {})
            mine = BrokerSettings(settings=fields, limits=(), maintenance=None if keeps_hours else ())
            yield Stage(broker, clock, folder / "store.db", http, Settings(brokers={"tradovate": mine}))
    finally:
        await runner.cleanup()


def _control(what: str) -> str:
    return f"https://live.tradovateapi.com/_sandbox/{what}"


def _tls(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the broker and for its clients, who trust nobody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an invented Tradovate")])
    now = datetime.now(UTC)
    hosts = [x509.DNSName(one) for one in ("*.tradovateapi.com", "trader.tradovate.com")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "broker.pem"
    file.write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=pem.decode())
    return server, client
