"""The broker as core sees it: the contract's methods, each handed to the module that does it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
{% if cookiecutter.history_kind == "files" %}
    BrokerAPIError,
{% endif %}
    BrokerResponseError,
{% if cookiecutter.history_kind == "files" %}
    Fault,
{% endif %}
    ProviderContext,
    TradePage,
    TradeRequest,
)
from {{ cookiecutter.__package }}.auth import log_in, renew
from {{ cookiecutter.__package }}.client import {{ cookiecutter.__class }}Client
from {{ cookiecutter.__package }}.credentials import {{ cookiecutter.__class }}Credentials
{% if cookiecutter.history_kind != "files" %}
from {{ cookiecutter.__package }}.history import read_page
{% endif %}
from {{ cookiecutter.__package }}.normalise import account_of
from {{ cookiecutter.__package }}.payloads import RowError


class {{ cookiecutter.__class }}Provider:
    """One provider serves every user: what belongs to a login comes in with each call."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context
        self._client = {{ cookiecutter.__class }}Client(context)

    async def authenticate(self, credentials: {{ cookiecutter.__class }}Credentials) -> AuthResult:
        return await log_in(self._client, credentials)

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        return await renew(self._client, auth)

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        rows = await self._client.list_accounts(auth)
        try:
            return [account_of(row, self._context.environment) for row in rows]
        except RowError as error:
            raise BrokerResponseError(f"An account lacks what is needed: {error}.") from None

{% if cookiecutter.history_kind == "files" %}
    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        """Core never asks: the broker's API tells of accounts, and its only source of trades are files."""
        raise BrokerAPIError(f"There is no source named {request.source!r} that can be asked.", fault=Fault.CORE)
        yield  # which makes this a generator, as the contract has it
{% else %}
    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        yield await read_page(self._client, auth, request)
{% endif %}

    async def aclose(self) -> None:
        """Nothing to give back: the connections are core's."""
