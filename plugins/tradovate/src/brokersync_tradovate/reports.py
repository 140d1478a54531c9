"""The source `reports`: the history of an account, from the Fills report of the Reporting API."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import islice

from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    CoveredSpan,
    Finality,
    ProviderContext,
    QuarantinedRow,
    TimeWindow,
    TradeBooking,
    TradePage,
    TradeRequest,
)
from brokersync_tradovate.accounts import list_accounts
from brokersync_tradovate.client import TradovateClient
from brokersync_tradovate.fills_report import BadRow, FillsReport, ReportFill
from brokersync_tradovate.instruments import ReferenceData
from brokersync_tradovate.outcomes import report_outcome
from brokersync_tradovate.references import Reference

_PAGE_ROWS = 500
_FINAL_AFTER = timedelta(hours=24)
_INSTANT = timedelta(microseconds=1)


async def report_pages(
    context: ProviderContext, client: TradovateClient, auth: AuthResult, request: TradeRequest
) -> AsyncGenerator[TradePage, None]:
    """The window's fills, account by account; the last page of each says that it is covered, fills or not."""
    for asked in request.accounts:
        account = await _under_its_present_name(client, auth, asked)
        if account is None:
            yield TradePage(unmapped={f"Tradovate does not list the account {asked.name or asked.account_id} now": 1})
            continue
        covered = tuple(_covered(account, request.window, context.clock.now()))
        first, last = request.window.start.date(), (request.window.end - _INSTANT).date()
        report = FillsReport(await client.report(auth, account, "Fills", first, last))
        rows = report.rows()
        while batch := list(islice(rows, _PAGE_ROWS)):
            yield await _page(context, client, auth, account, batch)
        unmapped = {f"Fills report without the column {name}": 1 for name in report.absent_columns}
        yield TradePage(covered=covered, unmapped=unmapped)


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


def _covered(account: BrokerAccount, window: TimeWindow, now: datetime) -> Iterator[CoveredSpan]:
    """The whole window: final up to the UTC day that had begun 24 hours ago, because the running session's rows and
    their late corrections still come in."""
    settled = datetime.combine((now - _FINAL_AFTER).date(), time(), UTC)
    border = min(max(settled, window.start), window.end)
    for start, end, finality in (
        (window.start, border, Finality.FINAL),
        (border, window.end, Finality.PROVISIONAL),
    ):
        if start < end:
            yield CoveredSpan(
                account_id=account.account_id,
                environment=account.environment,
                window=TimeWindow(start, end),
                finality=finality,
            )


async def _page(
    context: ProviderContext,
    client: TradovateClient,
    auth: AuthResult,
    account: BrokerAccount,
    rows: Sequence[ReportFill | BadRow],
) -> TradePage:
    unmapped: Counter[str] = Counter()
    symbols = {row.fill.contract_id: row.contract for row in rows if isinstance(row, ReportFill)}
    references = ReferenceData(context, client, auth, account.environment, unmapped)
    contracts = await references.contracts(symbols)
    outcomes = [_outcome(row, account, contracts) for row in rows]
    return TradePage(
        bookings=tuple(one for one in outcomes if isinstance(one, TradeBooking)),
        quarantined=tuple(one for one in outcomes if isinstance(one, QuarantinedRow)),
        unmapped=dict(unmapped),
        rows=len(rows),
    )


def _outcome(
    row: ReportFill | BadRow, account: BrokerAccount, contracts: Mapping[int, Reference]
) -> TradeBooking | QuarantinedRow:
    reference = contracts[row.fill.contract_id] if isinstance(row, ReportFill) else None
    return report_outcome(row, reference, environment=account.environment, account_id=account.account_id)
