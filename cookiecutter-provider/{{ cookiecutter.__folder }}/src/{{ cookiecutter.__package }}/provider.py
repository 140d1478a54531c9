"""The broker as core sees it: the contract's methods, each handed to the module that does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence

{% if cookiecutter.auth_kind == "api_key" %}
import attrs

{% endif %}
from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerResponseError,
{% if cookiecutter.auth_kind == "api_key" %}
    BrokerTokenExpiredError,
{% endif %}
    CoveredSpan,
    ProviderContext,
    QuarantinedRow,
    TimeWindow,
    TradeBooking,
    TradePage,
    TradeRequest,
)
{% if cookiecutter.auth_kind == "api_key" %}
from {{ cookiecutter.__package }}.auth import unnamed
{% else %}
from {{ cookiecutter.__package }}.auth import auth_result
{% endif %}
from {{ cookiecutter.__package }}.client import {{ cookiecutter.__class }}Client
from {{ cookiecutter.__package }}.credentials import {{ cookiecutter.__class }}Credentials
from {{ cookiecutter.__package }}.normalise import account_of, outcome_of, unknown_type
from {{ cookiecutter.__package }}.payloads import Row, RowError


class {{ cookiecutter.__class }}Provider:
    """One provider serves every user: what belongs to a login comes in with each call."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context
        self._client = {{ cookiecutter.__class }}Client(context)

{% if cookiecutter.auth_kind == "api_key" %}
    async def authenticate(self, credentials: {{ cookiecutter.__class }}Credentials) -> AuthResult:
        auth = unnamed(credentials.api_key)
        return attrs.evolve(auth, identity=f"user:{await self._client.who(auth)}")

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        """Always raises: core then asks with the user's key whether it is still good."""
        raise BrokerTokenExpiredError("An API key can not be renewed.")
{% else %}
    async def authenticate(self, credentials: {{ cookiecutter.__class }}Credentials) -> AuthResult:
        return auth_result(await self._client.log_in(credentials), self._context.clock.now())

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        """Core sees to it that nobody else renews this login meanwhile, and stores the answer before it is used."""
        return auth_result(await self._client.renew(auth), self._context.clock.now())
{% endif %}

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        rows = await self._client.list_accounts(auth)
        try:
            return [account_of(row, self._context.environment) for row in rows]
        except RowError as error:
            raise BrokerResponseError(f"An account lacks what is needed: {error}.") from None

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        (account,) = request.accounts  # one at a time, as `scope` says in provider.toml
{% if cookiecutter.history_kind == "windows" %}
        rows = await self._client.list_executions(auth, account.account_id, request.window)
        yield _page(rows, account, request.window)
{% else %}
        found = await self._client.list_executions(auth, account.account_id, request.window, request.cursor)
        yield _page(found.rows, account, request.window, found.cursor)
{% endif %}

    async def aclose(self) -> None:
        """Nothing to give back: the connections are core's."""


{% if cookiecutter.history_kind == "windows" %}
def _page(rows: Sequence[Row], account: BrokerAccount, window: TimeWindow) -> TradePage:
    """The rows, each booked or in quarantine; with them the window has been read."""
{% else %}
def _page(rows: Sequence[Row], account: BrokerAccount, window: TimeWindow, cursor: str | None) -> TradePage:
    """The rows, each booked or in quarantine; only with the last page the window has been read."""
{% endif %}
    outcomes = [outcome_of(row, account.account_id, account.environment) for row in rows]
    covered = CoveredSpan(account_id=account.account_id, environment=account.environment, window=window)
    return TradePage(
        bookings=tuple(one for one in outcomes if isinstance(one, TradeBooking)),
        quarantined=tuple(one for one in outcomes if isinstance(one, QuarantinedRow)),
        unmapped=Counter(name for row in rows if (name := unknown_type(row))),
{% if cookiecutter.history_kind == "windows" %}
        covered=(covered,),
{% else %}
        covered=() if cursor else (covered,),
        cursor=cursor,
{% endif %}
        rows=len(rows),
    )
