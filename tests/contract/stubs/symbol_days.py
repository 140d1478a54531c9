"""One day and one symbol at a time, the symbols to be found out first, and rows that have no ids."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from brokersync.plugin import AuthResult, BrokerCursorError, ProviderSpec, TradePage, TradeRequest, hookimpl

from .common import StubProvider, covered, head, span, spec, understood

KEY = "symbol-days"
MANIFEST = (
    head(KEY, "Symbol days")
    + """
[[sources]]
name = "trades"
precedence = 1
longest_window = "1d"
reread = "2d"
"""
)


class Provider(StubProvider):
    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        (account,) = request.accounts
        asked = {"account": account.account_id} | span(request.window)
        symbols = (await self.ask(auth, "symbols", **asked))["symbols"]
        if request.cursor is not None and request.cursor not in symbols:
            raise BrokerCursorError("The account did not trade this symbol on that day.")
        done = symbols.index(request.cursor) + 1 if request.cursor else 0
        for symbol in symbols[done:]:
            answer = await self.ask(auth, "fills", symbol=symbol, **asked)
            # one symbol of many: the day is not covered before the last
            yield TradePage(**understood(KEY, answer["rows"], named=False), cursor=symbol)
        yield TradePage(covered=covered(request.accounts, request.window))


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    return spec(Provider) if broker == KEY else None
