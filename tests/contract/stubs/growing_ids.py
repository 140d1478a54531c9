"""A stream of rows with growing ids: one asks for what came after the last id, and windows mean nothing to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from brokersync.plugin import AuthResult, BrokerCursorError, ProviderSpec, TradePage, TradeRequest, hookimpl

from .common import StubProvider, covered, head, spec, understood

KEY = "growing-ids"
MANIFEST = (
    head(KEY, "Growing ids")
    + """
[[sources]]
name = "stream"
precedence = 1
scope = "login"
selects_by = "booked"
calendar = { unit = "instant" }
"""
)


class Provider(StubProvider):
    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        last, more = request.cursor or request.bookmark or "0", True
        while more:
            answer = await self.ask(auth, "since", id=last)
            if "error" in answer:
                raise BrokerCursorError("The broker has not given out this id yet.")
            rows, more = answer["rows"], answer["more"]
            last = str(rows[-1]["row"]) if rows else last
            yield TradePage(
                **understood(KEY, rows),
                # a new account's rows from before the bookmark are not read, so nothing of it is covered yet
                accounts=self.first_seen(answer["accounts"], request.accounts),
                covered=() if more else covered(request.accounts, request.window),
                cursor=last if more else None,
                bookmark=last,
            )


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    return spec(Provider) if broker == KEY else None
