"""Reports that are ordered, take their time, and are fetched with a ticket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from datetime import datetime

from brokersync.plugin import AuthResult, BrokerCursorError, ProviderSpec, TradePage, TradeRequest, hookimpl

from .common import StubProvider, covered, head, span, spec, understood

KEY = "reports"
MANIFEST = (
    head(KEY, "Reports")
    + """
[[sources]]
name = "reports"
precedence = 1
scope = "login"
selects_by = "booked"
longest_window = "4d"
"""
)


class Provider(StubProvider):
    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        if request.cursor is None:
            order = await self.ask(auth, "order", **span(request.window))
            yield TradePage(cursor=order["ticket"], resume_at=datetime.fromisoformat(order["ready"]))
            return
        answer = await self.ask(auth, "report", ticket=request.cursor)
        if "error" in answer:
            raise BrokerCursorError("The broker does not know the report's ticket.")
        if "ready" in answer:
            yield TradePage(cursor=request.cursor, resume_at=datetime.fromisoformat(answer["ready"]))
            return
        for page in self._pages(answer, request):
            yield page

    def _pages(self, answer: dict[str, list[dict[str, str]]], request: TradeRequest) -> Iterator[TradePage]:
        for first in range(0, len(answer["rows"]), 8):
            yield TradePage(**understood(KEY, answer["rows"][first : first + 8]), cursor=request.cursor)
        new = self.first_seen(answer["accounts"], request.accounts)
        yield TradePage(accounts=new, covered=covered((*request.accounts, *new), request.window))


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    return spec(Provider) if broker == KEY else None
