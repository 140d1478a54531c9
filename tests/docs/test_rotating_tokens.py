"""The page of rotating tokens: its code renews over core's own HTTP at a broker that takes no old token."""

from __future__ import annotations

import json
import re
import types
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web

from brokersync import ProviderRegistry, Settings, get_broker_provider
from brokersync.config import BrokerSettings, RetrySettings
from brokersync.managed import ManagedProvider
from brokersync.manifest import parse_manifests
from brokersync.plugin import (
    CONTRACT_VERSION,
    AuthResult,
    BrokerAccount,
    BrokerCredentials,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    ProviderContext,
    ProviderSpec,
    Secret,
    TradePage,
    TradeRequest,
    hookimpl,
)

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "rotate-tokens.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
MADE: dict[str, Any] = {}
exec(compile(CODE, "docs/how-to/rotate-tokens.md", "exec"), MADE)

_MANIFEST = """
key = "turning"
display_name = "Turning"
contract = {contract}
environments = ["live"]
auth = ["token"]
licence = "MIT"
docs = "https://turning.example"
support = "https://turning.example"
[hosts]
api = "https://api.turning.example"
[[sources]]
name = "fills"
precedence = 1
"""


@attrs.frozen(kw_only=True)
class NoCredentials(BrokerCredentials):
    pass


class Provider:
    def __init__(self, context: ProviderContext) -> None:
        self._context = context

    async def authenticate(self, credentials: NoCredentials) -> AuthResult:
        raise NotImplementedError

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        renewed: AuthResult = await MADE["renewed"](self._context, auth)
        return renewed

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        return ()

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        yield TradePage()

    async def aclose(self) -> None:
        pass


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    return ProviderSpec(credentials=NoCredentials, create=Provider)


class Turning:
    """A broker that gives a new refresh token with each renewal, and takes no old one."""

    url = ""

    def __init__(self) -> None:
        self.good, self.turns, self.keeps, self.down = "refresh-0", 0, False, False

    async def answer(self, request: web.Request) -> web.Response:
        sent = await request.post()
        if self.down:
            return web.Response(status=503)
        if sent["refresh_token"] != self.good:
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.turns += 1
        told: dict[str, Any] = {"access_token": f"access-{self.turns}", "expires_in": 900}
        if not self.keeps:
            self.good = told["refresh_token"] = f"refresh-{self.turns}"
        return web.Response(text=json.dumps(told), content_type="application/json")


@pytest.fixture
async def broker() -> AsyncIterator[Turning]:
    made, application = Turning(), web.Application()
    application.router.add_post("/token", made.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def provider(broker: Turning) -> AsyncIterator[ManagedProvider]:
    settings = Settings(retry=RetrySettings(attempts=1), brokers={"turning": BrokerSettings(hosts={"api": broker.url})})
    plugin = types.ModuleType("turning")
    plugin.__dict__["brokersync_provider"] = brokersync_provider
    registry = ProviderRegistry(settings=settings)
    registry.register(plugin, *parse_manifests(_MANIFEST.format(contract=CONTRACT_VERSION), "here"))
    async with get_broker_provider("turning", registry=registry, settings=settings) as made:
        yield made


def login() -> AuthResult:
    return AuthResult(identity="user:1", refresh_token=Secret("refresh-0"))


async def test_each_renewal_gives_core_the_token_that_is_good_now(broker: Turning, provider: ManagedProvider) -> None:
    first = await provider.refresh_token(login())
    second = await provider.refresh_token(first)
    assert second.refresh_token == Secret(broker.good) == Secret("refresh-2")
    assert second.access_token == Secret("access-2")
    assert second.expires_at is not None
    assert abs(second.expires_at - datetime.now(UTC) - timedelta(minutes=15)) < timedelta(minutes=1)


async def test_a_refresh_token_that_the_answer_leaves_out_stays(broker: Turning, provider: ManagedProvider) -> None:
    broker.keeps = True
    assert (await provider.refresh_token(login())).refresh_token == Secret("refresh-0")


async def test_a_dead_token_is_told_from_a_broker_that_is_away(broker: Turning, provider: ManagedProvider) -> None:
    broker.down = True
    with pytest.raises(BrokerUnavailableError):
        await provider.refresh_token(login())
    broker.down = False
    await provider.refresh_token(login())
    with pytest.raises(BrokerTokenExpiredError) as caught:
        await provider.refresh_token(login())
    assert caught.value.code == "invalid_grant"
    assert broker.turns == 1
