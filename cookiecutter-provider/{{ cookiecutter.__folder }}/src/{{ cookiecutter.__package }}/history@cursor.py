"""The source `executions`: a span of an account's executions, in pages that a cursor leads through."""

from __future__ import annotations

from collections import Counter

from brokersync.plugin import (
    AuthResult,
    CoveredSpan,
    QuarantinedRow,
    TradeBooking,
    TradePage,
    TradeRequest,
)
from {{ cookiecutter.__package }}.client import {{ cookiecutter.__class }}Client
from {{ cookiecutter.__package }}.normalise import outcome_of, unknown_type


async def read_page(client: {{ cookiecutter.__class }}Client, auth: AuthResult, request: TradeRequest) -> TradePage:
    """Each row booked or in quarantine; only with the last page the window has been read."""
    (account,) = request.accounts  # one at a time, as `scope` says in provider.toml
    found = await client.list_executions(auth, account.account_id, request.window, request.cursor)
    outcomes = [outcome_of(row, account.account_id, account.environment) for row in found.rows]
    covered = CoveredSpan(account_id=account.account_id, environment=account.environment, window=request.window)
    return TradePage(
        bookings=tuple(one for one in outcomes if isinstance(one, TradeBooking)),
        quarantined=tuple(one for one in outcomes if isinstance(one, QuarantinedRow)),
        unmapped=Counter(name for row in found.rows if (name := unknown_type(row))),
        covered=() if found.cursor else (covered,),
        cursor=found.cursor,
        rows=len(found.rows),
    )
