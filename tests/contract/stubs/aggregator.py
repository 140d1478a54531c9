"""An aggregator of other brokers: a day late, rows without fees first, and ids that change when it works them over."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from typing import Any

from brokersync.plugin import (
    AuthResult,
    BrokerCursorError,
    Finality,
    ProviderSpec,
    TimeWindow,
    TradePage,
    TradeRequest,
    hookimpl,
)

from .common import StubProvider, covered, head, span, spec, understood

KEY = "aggregator"
MANIFEST = (
    head(KEY, "Aggregator")
    + """
[[sources]]
name = "activities"
precedence = 1
scope = "login"
longest_window = "7d"
finality_lag = "1d"
reread = "5d"
"""
)


class Provider(StubProvider):
    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        if request.cursor is not None:
            raise BrokerCursorError("The aggregator answers at once: there is no cursor.")
        answer = await self.ask(auth, "activities", **span(request.window))
        new = self.first_seen(answer["accounts"], request.accounts)
        whole = request.window.start, datetime.fromisoformat(answer["final_through"])
        early = whole[1], datetime.fromisoformat(answer["complete_through"])
        yield TradePage(
            **understood(KEY, [_superseding(row) for row in answer["rows"]]),
            accounts=new,
            covered=tuple(
                covering
                for (start, end), finality in ((whole, Finality.FINAL), (early, Finality.PROVISIONAL))
                if (part := _shared(request.window, start, end)) is not None
                for covering in covered((*request.accounts, *new), part, finality)
            ),
        )


def _superseding(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A settled row takes the place of the early one, whose id it does not keep."""
    return row if row["early"] or row["kind"] != "fill" else {**row, "kind": "replace"}


def _shared(window: TimeWindow, start: datetime, end: datetime) -> TimeWindow | None:
    return window.overlap(TimeWindow(start, end)) if start < end else None


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    return spec(Provider) if broker == KEY else None
