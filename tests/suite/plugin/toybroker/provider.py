"""The broker as core sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerResponseError,
    CoveredSpan,
    ProviderContext,
    QuarantinedRow,
    TradeBooking,
    TradePage,
    TradeRequest,
)
from toybroker.client import ToyClient, ToyCredentials, rows_in
from toybroker.normalise import outcome_of, unknown_kind


class ToyProvider:
    def __init__(self, context: ProviderContext) -> None:
        self._context = context
        self._client = ToyClient(context)

    async def authenticate(self, credentials: ToyCredentials) -> AuthResult:
        return await self._client.log_in(credentials)

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        return await self._client.renew(auth)

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        rows = rows_in(await self._client.get("list_accounts", "/accounts", auth), "accounts")
        try:
            return [
                BrokerAccount(
                    account_id=str(row["id"]),
                    environment="live",
                    name=row["name"],
                    opened_at=datetime.fromisoformat(row["opened"]).astimezone(UTC),
                )
                for row in rows
            ]
        except (KeyError, TypeError, ValueError):
            raise BrokerResponseError("An account lacks what is needed.") from None

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        (account,) = request.accounts
        path = f"/accounts/{account.account_id}/fills"
        span = {"from": request.window.start.isoformat(), "to": request.window.end.isoformat()}
        cursor = request.cursor
        while True:
            after = {} if cursor is None else {"after": cursor}
            body = await self._client.get("list_fills", path, auth, **span, **after)
            rows, before, cursor = rows_in(body, "fills"), cursor, body.get("next")
            if cursor is not None and (not isinstance(cursor, str) or cursor == before):
                raise BrokerResponseError("The broker's paging does not move on.")
            page = await self._page(auth, account, request, rows, cursor)
            yield page
            if cursor is None:
                return

    async def aclose(self) -> None:
        pass

    async def _page(
        self,
        auth: AuthResult,
        account: BrokerAccount,
        request: TradeRequest,
        rows: Sequence[Mapping[str, Any]],
        cursor: str | None,
    ) -> TradePage:
        contracts = await self._contracts(auth, rows)
        outcomes = [outcome_of(row, contracts.get(str(row.get("symbol")), {}), account.account_id) for row in rows]
        covered = CoveredSpan(account_id=account.account_id, environment="live", window=request.window)
        return TradePage(
            bookings=tuple(one for one in outcomes if isinstance(one, TradeBooking)),
            quarantined=tuple(one for one in outcomes if isinstance(one, QuarantinedRow)),
            unmapped=Counter(name for one in contracts.values() if (name := unknown_kind(one))),
            covered=() if cursor else (covered,),
            cursor=cursor,
            rows=len(rows),
        )

    async def _contracts(self, auth: AuthResult, rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        symbols = sorted({str(row.get("symbol")) for row in rows})
        if not symbols:
            return {}
        found = await self._client.get("list_contracts", "/contracts", auth, symbols=",".join(symbols))
        return {str(row.get("symbol")): row for row in rows_in(found, "contracts")}
