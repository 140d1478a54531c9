"""Tradovate as core sees it: the contract's methods, each handed to the module that does it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerAPIError,
    BrokerCursorError,
    Fault,
    ProviderContext,
    TradePage,
    TradeRequest,
)
from brokersync_tradovate.accounts import list_all_accounts
from brokersync_tradovate.auth import auth_result
from brokersync_tradovate.client import TradovateClient
from brokersync_tradovate.credentials import TradovateCredentials
from brokersync_tradovate.renewal import renewed
from brokersync_tradovate.reports import report_pages
from brokersync_tradovate.session import session_pages

_SOURCES = {"session": session_pages, "reports": report_pages}


class TradovateProvider:
    """One provider serves every user: what belongs to a login comes in with each call."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context
        self._client = TradovateClient(context)

    async def authenticate(self, credentials: TradovateCredentials) -> AuthResult:
        login = await self._client.log_in(credentials)
        return auth_result(login, self._context, {}, self._context.environment, credentials.username)

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        return await renewed(self._context, self._client, auth)

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        return await list_all_accounts(self._client, auth, self._context.environment)

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        if request.source not in _SOURCES:
            raise BrokerAPIError(f"Tradovate has no source named {request.source!r}.", fault=Fault.CORE)
        if request.cursor is not None:
            raise BrokerCursorError("Tradovate's answers have no cursor: each is whole.")
        async with aclosing(_SOURCES[request.source](self._context, self._client, auth, request)) as pages:
            async for page in pages:
                yield page

    async def aclose(self) -> None:
        """Nothing to give back: the connections are core's."""
