"""A plugin for the token server: single-use refresh tokens, and no login without the user."""

from __future__ import annotations

import os
import types
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import attrs

from brokersync import ProviderRegistry, Settings
from brokersync.config import BrokerSettings, GrantSettings, HttpSettings, RetrySettings
from brokersync.converter import parse_duration
from brokersync.manifest import parse_manifests
from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerAuthError,
    BrokerCredentials,
    HttpResponse,
    ProviderContext,
    ProviderSpec,
    Secret,
    TradePage,
    TradeRequest,
    hookimpl,
)

KEY = "rotating"
_MANIFEST = f"""
key = "{KEY}"
display_name = "Rotating"
contract = 1
environments = ["live"]
auth = ["oauth2"]
licence = "Apache-2.0"
docs = "https://rotating.example/docs"
support = "https://rotating.example/help"

[hosts]
api = "https://rotating.example"

[[user_fields]]
name = "code"
label = "Code"
help = "Good for one login."
secret = true

[[sources]]
name = "fills"
precedence = 1
look_back = "1d"
"""


@attrs.frozen(kw_only=True)
class _Credentials(BrokerCredentials):
    code: Secret


class _Provider:
    def __init__(self, context: ProviderContext) -> None:
        self._context = context

    async def authenticate(self, credentials: _Credentials) -> AuthResult:
        return await self._tokens({"grant_type": "code", "code": credentials.code.reveal()})

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        assert auth.refresh_token is not None
        return await self._tokens({"grant_type": "refresh_token", "refresh_token": auth.refresh_token.reveal()})

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        """Not before the test has begun: the first use of a token ends the one before."""
        return [BrokerAccount(account_id="A", environment="live")]

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        """What a task does again and again: one request with the current token."""
        url = f"{self._context.hosts['api']}/data"
        answer = await self._context.http.request("data", "GET", url, auth=auth)
        yield TradePage(cursor="on" if answer.json()["go_on"] else None)

    async def aclose(self) -> None: ...

    async def _tokens(self, form: dict[str, str]) -> AuthResult:
        url = f"{self._context.hosts['api']}/token"
        process = {"X-Process": str(os.getpid())}
        answer = (
            await self._context.http.request("token", "POST", url, form=form, headers=process, check=_check)
        ).json()
        return AuthResult(identity="me", access_token=Secret(answer["access"]), refresh_token=Secret(answer["refresh"]))


def _check(response: HttpResponse) -> None:
    if response.status == 400:
        raise BrokerAuthError("The broker wants its user.", status=400)


def registry() -> ProviderRegistry:
    module = types.ModuleType("brokersync_rotating")

    @hookimpl
    def brokersync_provider(broker: str) -> ProviderSpec | None:
        return ProviderSpec(credentials=_Credentials, create=_Provider)

    module.brokersync_provider = brokersync_provider  # type: ignore[attr-defined]  # a module made by hand
    made = ProviderRegistry()
    made.register(module, *parse_manifests(_MANIFEST, "the rotating broker"))
    return made


def settings(url: str) -> Settings:
    """Real time, made short: a killed worker's lease of the grant ends after seven seconds."""

    def seconds(text: str) -> Any:
        return parse_duration(text)

    return Settings(
        lease=seconds("1s"),
        http=HttpSettings(read=seconds("2s")),
        retry=RetrySettings(first_wait=seconds("20ms")),
        grants=GrantSettings(longest_renewal=seconds("3s"), longest_wait=seconds("2s")),
        brokers={KEY: BrokerSettings(hosts={"api": url})},
    )
