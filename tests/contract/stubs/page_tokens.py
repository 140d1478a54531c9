"""A journal in pages: each answer holds the token of the next, and windows select by the time of booking."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from brokersync.plugin import AuthResult, BrokerCursorError, ProviderSpec, TradePage, TradeRequest, hookimpl

from .common import StubProvider, covered, head, span, spec, understood

KEY = "page-tokens"
MANIFEST = (
    head(KEY, "Page tokens")
    + """
[[sources]]
name = "journal"
precedence = 1
selects_by = "booked"
"""
)


class Provider(StubProvider):
    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        (account,) = request.accounts
        token = request.cursor
        while True:
            asked = span(request.window) | ({"token": token} if token else {})
            answer = await self.ask(auth, "journal", account=account.account_id, **asked)
            if "error" in answer:
                raise BrokerCursorError("The broker does not know the page's token.")
            token = answer["next"]
            yield TradePage(
                **understood(KEY, answer["rows"]),
                cursor=token,
                covered=() if token else covered(request.accounts, request.window),
            )
            if token is None:
                return


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    return spec(Provider) if broker == KEY else None
