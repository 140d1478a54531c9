"""The source `reports`: the history of an account, from the Reporting API.

The Fills report tells the executions, and the Cash History what they cost beside the commission.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    CoveredSpan,
    Finality,
    ProviderContext,
    TimeWindow,
    TradePage,
    TradeRequest,
)
from brokersync_tradovate.accounts import list_accounts
from brokersync_tradovate.client import TradovateClient
from brokersync_tradovate.report_reading import ReportReading, days_of, settled_until
from brokersync_tradovate.waiting_days import WaitingDays

_PAGE_ROWS = 500
_A_DAY = timedelta(days=1)


async def report_pages(
    context: ProviderContext, client: TradovateClient, auth: AuthResult, request: TradeRequest
) -> AsyncGenerator[TradePage, None]:
    """The window's fills, account by account; the last page of each says that it is covered, fills or not."""
    for asked in request.accounts:
        lacks = await WaitingDays(context, asked).while_all_rest(days_of(request.window)) if request.may_rest else None
        if lacks is not None:
            yield TradePage(unmapped=lacks)
            continue
        account = await _under_its_present_name(client, auth, asked)
        if account is None:
            yield TradePage(unmapped={f"Tradovate does not list the account {asked.name or asked.account_id} now": 1})
            continue
        reading = ReportReading(context, client, auth, account, request.window)
        told = await reading.told()
        for start in range(0, len(told.rows), _PAGE_ROWS):
            yield await reading.page(told.rows[start : start + _PAGE_ROWS], told.charges)
        settled = settled_until(context.clock.now(), told.first_open)
        yield TradePage(covered=tuple(_covered(account, request.window, settled, told.again)), unmapped=told.unmapped)
        await reading.note(told)


async def _under_its_present_name(
    client: TradovateClient, auth: AuthResult, asked: BrokerAccount
) -> BrokerAccount | None:
    """Reports are asked for by the account's name, and names change.

    There is none for an account that is not listed, as it is once it was archived. It may come back, so nothing of it
    is called lost; what was not read by then stays open.
    """
    for account in await list_accounts(client, auth, asked.environment):
        if account.account_id == asked.account_id:
            return account
    return None


def _covered(
    account: BrokerAccount, window: TimeWindow, settled: datetime, again: Collection[date]
) -> Iterator[CoveredSpan]:
    """The whole window: provisional what is to be read again, and what is not settled, because late corrections of it
    still come in."""
    first, after = _stretch(again) if again else (window.end, window.end)
    borders = {min(max(one, window.start), window.end) for one in (window.start, first, after, settled, window.end)}
    for start, end in pairwise(sorted(borders)):
        is_final = end <= settled and not first <= start < after
        yield CoveredSpan(
            account_id=account.account_id,
            environment=account.environment,
            window=TimeWindow(start, end),
            finality=Finality.FINAL if is_final else Finality.PROVISIONAL,
        )


def _stretch(days: Collection[date]) -> tuple[datetime, datetime]:
    """From the first of these days to the end of the last."""
    return datetime.combine(min(days), time(), UTC), datetime.combine(max(days) + _A_DAY, time(), UTC)
