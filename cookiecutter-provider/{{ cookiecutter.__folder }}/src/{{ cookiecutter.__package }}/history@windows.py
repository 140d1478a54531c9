"""The source `executions`: a span of an account's executions, in one answer."""

from __future__ import annotations

from collections import Counter

from brokersync.plugin import (
    AuthResult,
    BrokerCursorError,
    CoveredSpan,
    QuarantinedRow,
    TradeBooking,
    TradePage,
    TradeRequest,
)
from {{ cookiecutter.__package }}.client import {{ cookiecutter.__class }}Client
from {{ cookiecutter.__package }}.normalise import outcome_of, unknown_type


async def read_page(client: {{ cookiecutter.__class }}Client, auth: AuthResult, request: TradeRequest) -> TradePage:
    """Each row booked or in quarantine; with them the window has been read."""
    if request.cursor is not None:
        raise BrokerCursorError("A span is answered in whole, so there is no cursor.")
    (account,) = request.accounts  # one at a time, as `scope` says in provider.toml
    rows = await client.list_executions(auth, account.account_id, request.window)
    outcomes = [outcome_of(row, account.account_id, account.environment) for row in rows]
    covered = CoveredSpan(account_id=account.account_id, environment=account.environment, window=request.window)
    return TradePage(
        bookings=tuple(one for one in outcomes if isinstance(one, TradeBooking)),
        quarantined=tuple(one for one in outcomes if isinstance(one, QuarantinedRow)),
        unmapped=Counter(name for row in rows if (name := unknown_type(row))),
        covered=(covered,),
        rows=len(rows),
    )
