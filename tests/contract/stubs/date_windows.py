"""The commonest kind: a list of fills for a span of dates of one account, by the time of execution."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from brokersync.plugin import AuthResult, BrokerCursorError, ProviderSpec, TradePage, TradeRequest, hookimpl

from .common import StubProvider, covered, head, span, spec, understood

KEY = "date-windows"
MANIFEST = (
    head(KEY, "Date windows")
    + """
[[sources]]
name = "fills"
precedence = 1
longest_window = "2d"
reread = "4d"
"""
)


class Provider(StubProvider):
    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        if request.cursor is not None:
            raise BrokerCursorError("An answer to a span of dates is whole: there is no cursor.")
        (account,) = request.accounts
        answer = await self.ask(auth, "fills", account=account.account_id, **span(request.window))
        yield TradePage(**understood(KEY, answer["rows"]), covered=covered(request.accounts, request.window))


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    return spec(Provider) if broker == KEY else None
