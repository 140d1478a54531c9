"""The guide's code for HTTP Basic sends what a broker reads: a user's name and password, an app's id and secret."""

from __future__ import annotations

import re
import types
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from aiohttp import BasicAuth, web

from brokersync import BrokerSync, Done, ProviderRegistry, Settings
from brokersync.config import BrokerSettings
from brokersync.manifest import parse_manifests
from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerCredentials,
    CoveredSpan,
    ProviderContext,
    ProviderSpec,
    Secret,
    TradePage,
    TradeRequest,
    hookimpl,
)

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "adding-a-broker.md").read_text(encoding="utf-8")
_CHAPTER = GUIDE.partition("### HTTP Basic")[2].partition("\n### ")[0]
MADE: dict[str, Any] = {}
for _block in re.findall(r"```py\n(.*?)```", _CHAPTER, re.DOTALL):
    exec(compile(_block, "docs/adding-a-broker.md", "exec", dont_inherit=True), MADE)

MANIFEST = """
key = "acme"
display_name = "Acme"
contract = 1
environments = ["live"]
auth = ["password"]
licence = "MIT"
docs = "https://acme.example"
support = "https://acme.example"

[hosts]
api = "https://api.acme.example"

[[user_fields]]
name = "username"
label = "User name"
help = "Any."

[[user_fields]]
name = "password"
label = "Password"
help = "Any."
secret = true

[[operator_fields]]
name = "client_id"
label = "Id"
help = "Any."

[[operator_fields]]
name = "client_secret"
label = "Secret"
help = "Any."
secret = true

[[sources]]
name = "fills"
precedence = 1
"""


@attrs.frozen(kw_only=True)
class Credentials(BrokerCredentials):
    username: str
    password: Secret


class Provider:
    """The guide's functions, as a provider calls them."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context

    async def authenticate(self, credentials: Credentials) -> AuthResult:
        return AuthResult(
            identity="ann",
            access_token=credentials.password,
            refresh_token=Secret("the-first-refresh-token"),
            state={"username": credentials.username},
        )

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        await MADE["refresh"](self._context, auth)
        return attrs.evolve(auth, refresh_token=Secret("the-second-refresh-token"))

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        opened = self._context.clock.now() - timedelta(days=2)
        return [BrokerAccount(account_id="A1", environment="live", opened_at=opened)]

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        await MADE["list_fills"](self._context, auth)
        covered = CoveredSpan(account_id="A1", environment="live", window=request.window)
        yield TradePage(covered=(covered,))

    async def aclose(self) -> None: ...


async def test_the_guides_code_shows_user_and_app_by_http_basic(tmp_path: Path) -> None:
    sent: dict[str, str] = {}

    async def answer(request: web.Request) -> web.Response:
        again = request.path in sent
        sent[request.path] = request.headers["Authorization"]
        # the first answer to a reading has core renew the login
        return web.json_response({}, status=200 if again or request.method == "POST" else 401)

    application = web.Application()
    application.router.add_get("/fills", answer)
    application.router.add_post("/oauth/token", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    module = types.ModuleType("brokersync_acme")

    @hookimpl
    def brokersync_provider(broker: str) -> ProviderSpec | None:
        return ProviderSpec(credentials=Credentials, create=Provider)

    module.brokersync_provider = brokersync_provider  # type: ignore[attr-defined]  # a module made by hand
    host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    own = BrokerSettings(hosts={"api": host}, settings={"client_id": "app:7", "client_secret": "hüte & schirme"})
    settings = Settings(brokers={"acme": own})
    registry = ProviderRegistry(settings=settings)
    registry.register(module, *parse_manifests(MANIFEST, "the guide"))
    try:
        async with BrokerSync.open(tmp_path / "s.db", settings=settings, registry=registry) as bs:
            fields = {"username": "ann", "password": "schlüssel:mit:punkten"}
            one = await bs.connect("acme", owner="me", fields=fields, since=datetime.now(UTC) - timedelta(days=2))
            done = await bs.run(one.connection_id)
    finally:
        await runner.cleanup()
    assert isinstance(done, Done)
    assert done.report.problems == ()
    user = BasicAuth.decode(sent["/fills"], encoding="utf-8")
    assert (user.login, user.password) == ("ann", "schlüssel:mit:punkten")
    app = BasicAuth.decode(sent["/oauth/token"], encoding="utf-8")
    assert (app.login, app.password) == ("app%3A7", "h%C3%BCte%20%26%20schirme")
