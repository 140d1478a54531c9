"""A broker that speaks no HTTP: its calls go through `context.guard` and so under the same limits and retries."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from brokersync.plugin import (
    AuthResult,
    BrokerCursorError,
    BrokerUnavailableError,
    ProviderSpec,
    TradePage,
    TradeRequest,
    hookimpl,
)

from ..wire import dial, unpack
from .common import StubProvider, covered, head, span, spec, understood

KEY = "binary"
MANIFEST = (
    head(KEY, "Binary", 'transport = "frames over a socket"')
    + """
[[sources]]
name = "executions"
precedence = 1
longest_window = "3d"
reread = "5d"
"""
)


class Provider(StubProvider):
    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        if request.cursor is not None and not request.cursor.isdecimal():
            raise BrokerCursorError("A cursor is a number of frames.")
        (account,) = request.accounts
        offset, window = int(request.cursor or 0), request.window
        while frames := await self._frames(account.account_id, request, offset):
            offset += len(frames)
            rows = [unpack(frame, account.account_id) for frame in frames]
            yield TradePage(**understood(KEY, rows), cursor=str(offset))
        yield TradePage(covered=covered(request.accounts, window))

    async def _frames(self, account: str, request: TradeRequest, offset: int) -> list[bytes]:
        async def call() -> list[bytes]:
            try:
                return await dial(self.context.hosts["api"]).ask(account, *span(request.window).values(), offset)
            except LookupError:
                raise BrokerCursorError("There are fewer frames than the cursor says.") from None
            except OSError:
                raise BrokerUnavailableError("The gateway does not answer.") from None

        return await self.context.guard("executions", call, account=account)


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    return spec(Provider) if broker == KEY else None
