"""Lists of the running session only, for all accounts of the login; the next session empties them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from brokersync.plugin import (
    AuthResult,
    BrokerCursorError,
    BrokerDataUnavailableError,
    DataUnavailableReason,
    Finality,
    ProviderSpec,
    TimeWindow,
    TradePage,
    TradeRequest,
    hookimpl,
)

from .common import StubProvider, covered, head, spec, understood

KEY = "session-lists"
MANIFEST = (
    head(KEY, "Session lists")
    + """
[[sources]]
name = "session"
precedence = 1
retention = "session"
scope = "login"
"""
)


class Provider(StubProvider):
    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        if request.cursor is not None:
            raise BrokerCursorError("A session's list is whole: there is no cursor.")
        now = self.context.clock.now()
        if request.window.end <= now:
            raise BrokerDataUnavailableError("That session is over.", reason=DataUnavailableReason.EXPIRED)
        answer = await self.ask(auth, "session")
        new = self.first_seen(answer["accounts"], request.accounts)
        proved = [TimeWindow(request.window.start, now)] if request.window.start < now else []
        yield TradePage(
            **understood(KEY, answer["rows"]),
            accounts=new,
            covered=tuple(
                one for part in proved for one in covered((*request.accounts, *new), part, Finality.PROVISIONAL)
            ),
        )


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    return spec(Provider) if broker == KEY else None
