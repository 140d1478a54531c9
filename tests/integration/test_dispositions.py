"""Each row that a broker tells has one disposition, and the counts add up to the rows."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync import Deferred, SyncReport
from brokersync.plugin import StatementHints
from brokersync_ibkr.statements import FlexStatementReader

ELEMENTS = ("Trade", "Trade", "Trade", "Order", "Lot", "SymbolSummary", "WashSale", "NewlyMade")


def adds_up(report: SyncReport | Mapping[str, Any]) -> bool:
    facts = report if isinstance(report, Mapping) else {"rows": report.rows, "dispositions": report.dispositions}
    return sum(facts["dispositions"].values()) == facts["rows"]


def row(number: int, element: str, kind: str, side: str, notes: str) -> str:
    facts = {
        "accountId": "U7", "currency": "USD", "assetCategory": "STK", "symbol": "ACME", "conid": "11",
        "multiplier": "1", "dateTime": f"20260302;10{number:04d}", "tradeDate": "20260302", "quantity": "1",
        "tradePrice": "10", "ibCommission": "-1", "ibCommissionCurrency": "USD", "transactionID": str(8000 + number),
        "tradeID": str(700 + number // 2), "transactionType": kind, "buySell": side, "notes": notes,
    }  # fmt: skip
    return f"<{element} " + " ".join(f'{name}="{value}"' for name, value in facts.items()) + " />"


rows_of_a_statement = st.lists(
    st.tuples(
        st.sampled_from(ELEMENTS),
        st.sampled_from(["ExchTrade", "ExchTrade", "TradeCancel", "BookTrade", "Unheard"]),
        st.sampled_from(["BUY", "BUY", "SELL"]),
        st.sampled_from(["", "A", "Ex", "P"]),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(rows_of_a_statement)
def test_every_row_of_a_statement_is_a_booking_quarantined_or_skipped(told: list[tuple[str, str, str, str]]) -> None:
    body = "".join(row(number, *facts) for number, facts in enumerate([*told, ("Trade", "ExchTrade", "BUY", "")]))
    document = (
        '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1"><FlexStatement accountId="U7"'
        ' fromDate="20260302" toDate="20260306" period="" whenGenerated="20260307">'
        f"<Trades>{body}</Trades></FlexStatement></FlexStatements></FlexQueryResponse>"
    )
    pages = list(FlexStatementReader().read_statement(io.BytesIO(document.encode()), StatementHints()))
    assert all(page.rows == page.disposed for page in pages)
    assert sum(page.disposed for page in pages) == len(told) + 1


@pytest.mark.parametrize("broker", ["ibkr", "tradovate"])
async def test_the_counts_of_every_sync_with_a_sandbox_add_up(staged: Any, broker: str) -> None:
    reports = []
    async with staged(broker, days=40, trades_per_day=2) as stage:
        bs, clock = stage.bs, stage.clock
        connection = await stage.connect()
        while len(reports) < 30 and clock.time < datetime(2026, 6, 13, tzinfo=UTC):
            outcome = await bs.run(connection.connection_id)
            reports.append(outcome.report)
            clock.time = outcome.until if isinstance(outcome, Deferred) else clock.time + timedelta(hours=12)
        logged = await bs.last_report(connection.connection_id)
    assert all(adds_up(report) for report in reports)
    assert all(report.problems == () for report in reports)
    assert sum(report.dispositions.get("stored", 0) for report in reports) > 30
    assert sum(report.dispositions.get("same", 0) for report in reports) > 30
    assert logged is not None
    assert adds_up(logged)
