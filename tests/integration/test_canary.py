"""Canaries: what must never be seen, searched for wherever something can be seen."""

from __future__ import annotations

import asyncio
import base64
import gc
import html
import json
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import attrs
import pytest
from aiohttp import web

from brokersync import BrokerError, BrokerSync, ProviderRegistry
from brokersync.__main__ import main
from brokersync.config import parse_settings
from brokersync.events import Event
from brokersync.sandboxes import SandboxSettings, SimulatedBroker
from brokersync.store import TradeFilter
from brokersync.testing.sandbox_server import simulated_broker

every_broker = pytest.mark.parametrize("key", ["ibkr", "tradovate"])

_WRONG = 'canary-wrong-"secret"/ä+&'
_OF_THE_SERVER = 'canary-server-"password"+&'
_TOKENS = ("accessToken", "mdAccessToken", "refreshToken")
_QUERY = ("t", "token", "access_token")
_CONFIG = """
[retry]
attempts = 2
first_wait = "1ms"
longest_wait = "1ms"
[[brokers.{key}.limits]]
scope = "app"
amount = 100000
period = "1s"
source = "this test"
"""


def forms(secret: str) -> Iterator[bytes]:
    """How a text may stand somewhere."""
    raw = secret.encode()
    yield raw
    yield from (secret.encode(name) for name in ("utf-16-le", "utf-16-be", "utf-32-le"))
    texts = {
        quote(secret, safe=""), quote(secret), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1], html.escape(secret), raw.hex(), raw.hex().upper(),
    }  # fmt: skip
    for before in range(3):
        whole = base64.b64encode(bytes(before) + raw)
        # what it shares with its neighbours is left out
        middle = whole[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
        texts |= {middle.decode(), middle.decode().replace("+", "-").replace("/", "_")}
    yield from (text.encode() for text in texts)


def found(secrets: set[str], where: bytes) -> set[str]:
    return {secret for secret in secrets if any(form in where for form in forms(secret))}


@pytest.fixture(autouse=True)
def _no_pause_before_a_statement_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokersync_ibkr.orders._WAITS", (0,))


class Broker:
    """A sandbox that notes each secret on the wire, and fails when told to, with what was sent in its answer."""

    def __init__(self, key: str, folder: Path) -> None:
        began, frozen = asyncio.get_running_loop().time(), datetime.now(UTC)
        settings = SandboxSettings(
            now=lambda: frozen + timedelta(seconds=asyncio.get_running_loop().time() - began),
            logins=1, days=20, think=timedelta(0), keeps_limits=False,
        )  # fmt: skip
        self.key, self.folder = key, folder
        registry = ProviderRegistry.installed()
        self.broker: SimulatedBroker = simulated_broker(key, registry, settings)
        self.login = self.broker.logins[0]
        names = {field.name for field in registry.manifest(key).user_fields if field.secret}
        self.secret_fields = {name: value for name, value in self.login.fields.items() if name in names}
        self.secrets = {*self.secret_fields.values(), _WRONG}
        self.failing: int | None = None
        self.failed = 0

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
        lines = [f"[brokers.{self.key}.hosts]"]
        lines += [f"{json.dumps(role)} = {json.dumps(url)}" for role, url in self.broker.hosts(base).items()]
        config.write_text("\n".join(lines) + _CONFIG.format(key=self.key))
        try:
            yield config
        finally:
            await runner.cleanup()

    def _watch(self) -> Any:
        @web.middleware
        async def watch(request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
            self._learn(request)
            if self.failing is not None:
                self.failed += 1
                return await self._echo(request)
            answer: web.StreamResponse = await handler(request)
            body = getattr(answer, "text", None) or ""
            if body.startswith("{"):
                data = json.loads(body)
                self.secrets |= {data[name] for name in _TOKENS if data.get(name)}
            return answer

        return watch

    def _learn(self, request: web.Request) -> None:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.secrets |= {value for value in (bearer, *(request.query.get(name, "") for name in _QUERY)) if value}

    async def _echo(self, request: web.Request) -> web.Response:
        """What came in stands in the body and the headers of what goes out."""
        told = " ".join([str(request.url), *request.headers.values(), await request.text()])
        safe = quote(told, safe=" /:?&=")
        return web.Response(
            status=self.failing or 500,
            text=json.dumps({"errorText": told}),
            headers={
                "X-Debug": safe,
                "Set-Cookie": f"session={safe[:300]}",
                "WWW-Authenticate": f'Bearer error="{safe}"',
            },
            content_type="application/json",
        )


@attrs.define
class Terminal:
    """Commands in processes of their own, and everything they showed."""

    folder: Path
    config: Path
    shown: dict[str, bytes] = attrs.field(factory=dict)

    @property
    def store(self) -> Path:
        return self.folder / "store.db"

    async def run(self, *words: object, log: bool = True) -> int:
        command = [str(word) for word in words]
        options = ["--store", str(self.store), "--config", str(self.config), *(["--log", "debug"] if log else [])]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "brokersync", *command, *options),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        title = title_of(process.pid)
        out, err = await process.communicate()
        self.shown[f"{len(self.shown)} {' '.join(command)}"] = out + err + title
        assert process.returncode is not None
        return process.returncode


def title_of(pid: int) -> bytes:
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_bytes() if path.exists() else b""


def kept_in(folder: Path) -> dict[str, bytes]:
    """Everything that is kept: each file of the store. What is kept in Redis belongs here too."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("store.db*"))}


def write(path: Path, fields: dict[str, str]) -> Path:
    path.write_text(json.dumps(fields), encoding="utf-8")
    return path


def check(secrets: set[str], shown: dict[str, bytes]) -> None:
    assert {where: seen for where, text in shown.items() if (seen := found(secrets, text))} == {}


@attrs.define
class Here:
    """Commands in this process, and everything they showed; `place` is the store."""

    place: str
    config: Path
    capture: pytest.CaptureFixture[str]
    shown: dict[str, bytes] = attrs.field(factory=dict)

    async def run(self, *words: object) -> str:
        """What a command printed that has succeeded."""
        code, out = await self.end(*words)
        assert code == 0, self.shown
        return out

    async def end(self, *words: object) -> tuple[int, str]:
        command = [str(word) for word in words]
        options = ["--store", self.place, "--config", str(self.config), "--log", "debug"]
        self.capture.readouterr()
        # the simulated broker answers on this thread
        code = await asyncio.to_thread(main, [*command, *options])
        out, err = self.capture.readouterr()
        self.shown[f"{len(self.shown)} {' '.join(command)}"] = (out + err).encode()
        return int(code), out


@every_broker
async def test_no_command_shows_or_keeps_a_secret_whatever_the_broker_answers(
    key: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    broker = Broker(key, tmp_path)
    assert broker.secret_fields
    async with broker.serving() as config:
        terminal, here = Terminal(tmp_path, config), Here(str(tmp_path / "store.db"), config, capfd)
        good = write(tmp_path / "good.json", dict(broker.login.fields))
        wrong = write(tmp_path / "wrong.json", {**broker.login.fields, **dict.fromkeys(broker.secret_fields, _WRONG)})
        connecting = ("connect", key, "--environment", broker.login.environment, "--fields-from")
        assert await terminal.run(*connecting, wrong) != 0
        assert (await here.end(*connecting, wrong, "--json"))[0] != 0
        assert await terminal.run(*connecting, good) == 0
        await here.run("sync", "--json")
        for status in (500, 401, 403):
            broker.failing = status
            for words in ((), ("--json",)):
                await here.end("sync", "--again-from", "2020-01-01", "--wait", "0", *words)
        assert broker.failed >= 3
        assert await terminal.run("sync", "--again-from", "2020-01-01", "--wait", "0") != 0
        assert (await here.end(*connecting, good))[0] != 0
        broker.failing = None
        for words in (("status",), ("status", "--json"), ("export",), ("rotate-key", "--data-keys", "--json")):
            await here.run(*words)
        assert len(broker.secrets) >= 2
        check(broker.secrets, {**terminal.shown, **here.shown})
        check(broker.secrets, kept_in(tmp_path))


def commands(trade: dict[str, Any], connection_id: str, folder: Path) -> list[tuple[object, ...]]:
    """Each command over a store that holds the trade, in words; the last ones leave less and less of it."""
    rows = folder / "rows.csv"
    names = ("trade_id", "provider", "account_id", "side", "quantity", "price", "executed_at")
    cells = ["1", trade["instrument"]["symbol"], *(trade[name] for name in names)]
    rows.write_text(f"row_id,symbol,{','.join(names)}\n{','.join(cells)}\n".replace("trade_id", "trade_ids"))
    of_account = ("explain", "--account", trade["account_id"])
    return [
        ("providers",),
        ("providers", trade["provider"]),
        *(("trades", "--format", name) for name in ("table", "csv", "jsonl")),
        ("coverage",),
        ("coverage", "--by-source", "--account", trade["account_id"]),
        (*of_account, "--trade-id", trade["trade_id"], "--raw"),
        (*of_account, "--symbol", trade["instrument"]["symbol"], "--day", trade["executed_at"][:10]),
        ("status",),
        *(("match", rows, "--format", name) for name in ("table", "csv", "jsonl")),
        ("renormalise", "--dry-run"),
        ("export",),
        ("export", "--out", folder / "export.jsonl"),
        ("migrate",),
        ("rotate-key",),
        ("rotate-key", "--data-keys"),
        ("disconnect", connection_id, "--erase"),
        ("forget", "--yes"),
    ]


@attrs.frozen
class Place:
    """Where a store is, and all bytes that are kept there."""

    name: str
    kept: Callable[[], dict[str, bytes]]


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        yield Place(str(tmp_path / "store.db"), lambda: kept_in(tmp_path))
        return
    with request.getfixturevalue("own_postgres")() as server:

        def kept() -> dict[str, bytes]:
            """Each file of the server, its logs among them, and the values as read, since long ones are packed."""
            server.run("psql", server.url, "-c", "CHECKPOINT")
            files = (
                path for path in sorted(server.folder.rglob("*")) if path.is_file() and "install" not in path.parts
            )
            known = {str(path): path.read_bytes() for path in files}
            return {**known, "values": server.run("pg_dump", server.url).encode(), **kept_in(tmp_path)}

        yield Place(server.url.replace("postgres@", f"postgres:{quote(_OF_THE_SERVER)}@"), kept)


@every_broker
async def test_no_command_over_a_filled_store_shows_or_keeps_a_secret(
    key: str, place: Place, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    broker = Broker(key, tmp_path)
    broker.secrets.add(_OF_THE_SERVER)
    async with broker.serving() as config:
        here = Here(place.name, config, capfd)
        good = write(tmp_path / "good.json", dict(broker.login.fields))
        wrong = write(tmp_path / "wrong.json", dict.fromkeys(broker.secret_fields, _WRONG))
        connecting = ("connect", key, "--environment", broker.login.environment, "--json", "--fields-from", good)
        connection_id = json.loads(await here.run(*connecting))["connection"]["connection_id"]
        for words in ((), ("--json",)):
            await here.run("sync", *words)
            assert (await here.end("reconnect", connection_id, "--fields-from", wrong, *words))[0] != 0
        trade = json.loads((await here.run("trades", "--format", "jsonl")).splitlines()[0])
        kept = place.kept()
        check(broker.secrets, kept)
        assert found({connection_id, trade["account_id"]}, b"".join(kept.values())) == {
            connection_id, trade["account_id"],
        }, "the search must be able to find what stands there"  # fmt: skip
        for words in commands(trade, connection_id, tmp_path):
            if words[0] == "disconnect":
                check(broker.secrets, place.kept())
            for more in ((), ("--json",)) if words[0] != "disconnect" else ((),):
                await here.run(*words, *more)
        assert len(broker.secrets) >= 3
        here.shown["the exported file"] = (tmp_path / "export.jsonl").read_bytes()
        assert trade["account_id"].encode() in here.shown["the exported file"]
        check(broker.secrets, here.shown)
        check(broker.secrets, place.kept())


@every_broker
async def test_no_object_event_error_or_trace_shows_a_secret(key: str, tmp_path: Path) -> None:
    broker = Broker(key, tmp_path)
    shown: dict[str, bytes] = {}
    events: list[Event] = []
    async with broker.serving() as config:
        settings = parse_settings(config.read_text())
        async with BrokerSync.open(tmp_path / "store.db", settings=settings, events=events.append) as bs:
            fields = dict(broker.login.fields)
            connection = await bs.connect(key, owner="me", fields=fields, environment=broker.login.environment)
            outcome = await bs.run(connection.connection_id)
            shown["report"] = f"{outcome!r} {connection!r} {bs!r} {vars(bs)!r}".encode()
            for status in (500, 401, 403):
                broker.failing = status
                try:
                    late = await bs.run(connection.connection_id, again_from=datetime(2020, 1, 1, tzinfo=UTC))
                    shown[f"outcome {status}"] = repr(late).encode()
                except BrokerError as error:
                    told = "".join(traceback.format_exception(error))
                    shown[f"error {status}"] = f"{error!r} {error} {error.describe()} {told}".encode()
            broker.failing = None
            with pytest.raises(BrokerError) as refused:
                await bs.connect(
                    key, owner="me", environment=broker.login.environment,
                    fields={**fields, **dict.fromkeys(broker.secret_fields, _WRONG)},
                )  # fmt: skip
            shown["refused"] = "".join(traceback.format_exception(refused.value)).encode()
            shown["export"] = "\n".join([line async for line in bs.export("me")]).encode()
            modules = {id(one): str(type(one).__module__) for one in gc.get_objects()}
            # the simulated broker lives in this process too, and knows its users' passwords
            ours = [
                one
                for one in gc.get_objects()
                if (name := modules.get(id(one), "")).startswith("brokersync") and "sandbox" not in name
            ]
            assert len(ours) > 50
            shown["objects"] = "\n".join(map(repr, ours)).encode()
        shown["events"] = "\n".join(map(repr, events)).encode()
    assert events
    check(broker.secrets, shown)
    check(broker.secrets, kept_in(tmp_path))


_UNCAUGHT = """
import asyncio, json, sys
from brokersync import BrokerSync
from brokersync.config import load_settings
from pathlib import Path

async def main():
    fields = json.loads(Path(sys.argv[3]).read_text())
    async with BrokerSync.open(sys.argv[1], settings=load_settings(Path(sys.argv[2]))) as bs:
        await bs.connect(sys.argv[4], owner="me", fields=fields, environment=sys.argv[5])

asyncio.run(main())
"""


@every_broker
async def test_the_traceback_of_an_uncaught_error_shows_no_secret(key: str, tmp_path: Path) -> None:
    broker = Broker(key, tmp_path)
    async with broker.serving() as config:
        wrong = write(tmp_path / "wrong.json", {**broker.login.fields, **dict.fromkeys(broker.secret_fields, _WRONG)})
        for failing in (None, 500, 401):
            broker.failing = failing
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _UNCAUGHT, tmp_path / "store.db", config, wrong, key, broker.login.environment),
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, err = await process.communicate()
            assert b"Traceback" in err
            check(broker.secrets, {f"uncaught {failing}": out + err})


@every_broker
async def test_after_forget_no_byte_of_the_owner_is_in_any_file(key: str, tmp_path: Path) -> None:
    broker = Broker(key, tmp_path)
    async with broker.serving() as config:
        settings = parse_settings(config.read_text())
        async with BrokerSync.open(tmp_path / "store.db", settings=settings) as bs:
            connection = await bs.connect(
                key, owner="canary-owner", fields=dict(broker.login.fields), environment=broker.login.environment
            )
            await bs.run(connection.connection_id)
            trades = [one async for one in bs.trades("canary-owner", TradeFilter(cancelled=True))]
            accounts = await bs.accounts(connection.connection_id)
        names = {connection.connection_id, connection.identity, "canary-owner", *broker.login.fields.values()}
        for one in trades:
            names |= {
                one.trade_id,
                one.account_id,
                one.instrument.symbol,
                one.order_id or "",
                one.instrument.broker_id or "",
            }
        canaries = {name for name in names | {one.account_id for one in accounts} if len(name) > 3}
        kept = b"".join(kept_in(tmp_path).values())
        assert len(found(canaries, kept)) > 20, "the search must be able to find what stands there"
        terminal = Terminal(tmp_path, config)
        assert await terminal.run("forget", "--yes", "--owner", "canary-owner", log=False) == 0
        assert "store.db" in kept_in(tmp_path)
        check(canaries, kept_in(tmp_path))
