"""The source `session`: what all accounts of a login traded since the running session began.

The next session empties it. Core knows that from provider.toml, reads it in time, and writes down what was lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerCursorError,
    BrokerDataUnavailableError,
    CoveredSpan,
    DataUnavailableReason,
    Finality,
    QuarantinedRow,
    TimeWindow,
    TradeBooking,
    TradePage,
    TradeRequest,
)
from {{ cookiecutter.__package }}.client import {{ cookiecutter.__class }}Client, Session
from {{ cookiecutter.__package }}.normalise import account_of, outcome_of, quarantined, unknown_type
from {{ cookiecutter.__package }}.payloads import Row, RowError, id_in


async def read_page(client: {{ cookiecutter.__class }}Client, auth: AuthResult, request: TradeRequest) -> TradePage:
    """Each row booked or in quarantine. What is traded between this and the end of the session is not proved by it."""
    if request.cursor is not None:
        raise BrokerCursorError("The session is read in one answer, so there is no cursor.")
    # before the answer, which may be some seconds older than the moment at which it is here
    now = client.context.clock.now()
    _check_running(request.window, now)
    session = await client.read_session(auth)
    _check_running(request.window, session.begins)
    environment = client.context.environment
    outcomes = [_outcome(row, environment) for row in session.rows]
    bookings = tuple(one for one in outcomes if isinstance(one, TradeBooking))
    unseen = {one.account_id for one in bookings} - {one.account_id for one in request.accounts}
    return TradePage(
        bookings=bookings,
        quarantined=tuple(one for one in outcomes if isinstance(one, QuarantinedRow)),
        unmapped=Counter(name for row in session.rows if (name := unknown_type(row))),
        accounts=await _first_seen(client, auth, unseen),
        covered=tuple(_covered(session, request, now)),
        rows=len(session.rows),
    )


def _check_running(window: TimeWindow, moment: datetime) -> None:
    """Of a session that is over the broker tells nothing, and its successor's list says nothing of it."""
    if window.end <= moment:
        raise BrokerDataUnavailableError("That session is over.", reason=DataUnavailableReason.EXPIRED)


def _outcome(row: Row, environment: str) -> TradeBooking | QuarantinedRow:
    try:
        account_id = id_in(row, "accountId")
    except RowError as error:
        return quarantined(row, str(error), None, environment)
    return outcome_of(row, account_id, environment)


async def _first_seen(
    client: {{ cookiecutter.__class }}Client,
    auth: AuthResult,
    unseen: Iterable[str],
) -> tuple[BrokerAccount, ...]:
    """Accounts that were opened after core asked for them last."""
    wanted = set(unseen)
    if not wanted:
        return ()
    listed = [account_of(row, client.context.environment) for row in await client.list_accounts(auth)]
    return tuple(one for one in listed if one.account_id in wanted)


def _covered(session: Session, request: TradeRequest, now: datetime) -> Iterator[CoveredSpan]:
    """Of each account that the answer tells of, since the session began."""
    start, end = max(session.begins, request.window.start), min(now, request.window.end)
    for account in request.accounts:
        if start < end and account.account_id in session.account_ids:
            yield CoveredSpan(
                account_id=account.account_id,
                environment=account.environment,
                window=TimeWindow(start, end),
                finality=Finality.PROVISIONAL,
            )
