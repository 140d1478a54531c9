"""A broker that speaks no HTTP: its calls go through `context.guard` and so under the same limits and retries."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from brokersync.plugin import (
    AuthResult,
    BrokerCursorError,
    BrokerTokenExpiredError,
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
        offset = int(request.cursor or 0)
        while frames := await self._frames(auth, request, account.account_id, offset):
            offset += len(frames)
            rows = [unpack(frame, account.account_id) for frame in frames]
            yield TradePage(**understood(KEY, rows), cursor=str(offset))
        yield TradePage(covered=covered(request.accounts, request.window))

    async def _frames(self, auth: AuthResult, request: TradeRequest, account: str, offset: int) -> list[bytes]:
        async def call(login: AuthResult | None) -> list[bytes]:
            token = login.access_token.reveal() if login and login.access_token else ""
            try:
                return await dial(self.context.hosts["api"]).ask(token, account, *span(request.window).values(), offset)
            except LookupError:
                raise BrokerCursorError("There are fewer frames than the cursor says.") from None
            except PermissionError:
                raise BrokerTokenExpiredError("The gateway does not take this token.") from None
            except OSError:
                raise BrokerUnavailableError("The gateway does not answer.") from None

        return await self.context.guard("executions", call, auth=auth, account=account)


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    return spec(Provider) if broker == KEY else None
