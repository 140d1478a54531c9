"""What both plugins keep of a row is enough to read it again: a plugin that did not change changes nothing."""

from __future__ import annotations

import io
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync, Deferred


@pytest.mark.parametrize("broker", ["ibkr", "tradovate"])
async def test_every_row_that_a_sandbox_told_is_read_again_as_before(staged: Any, broker: str) -> None:
    async with staged(broker, days=120, trades_per_day=3) as stage:
        bs, clock = stage.bs, stage.clock
        connection = await stage.connect()
        sources: Counter[str] = Counter()
        for _ in range(12):
            outcome = await bs.run(connection.connection_id)
            clock.time = outcome.until if isinstance(outcome, Deferred) else clock.time + timedelta(hours=4)
        async for trade in bs.trades("me"):
            sources.update(trade.sources)
        report = await bs.renormalise("me", connections=[connection.connection_id])
    assert report.rows == report.unchanged > 100
    assert (report.renewed, report.left, report.refused, report.without_raw) == (0, 0, 0, 0)
    assert len(sources) == 2


def statement(kind: str, *rows: str) -> bytes:
    section = "TradeConfirms" if kind == "TCF" else "Trades"
    return (
        f'<FlexQueryResponse queryName="q" type="{kind}"><FlexStatements count="1"><FlexStatement accountId="U7"'
        ' fromDate="13/03/2026" toDate="20/03/2026" period="" whenGenerated="21/03/2026">'
        f"<{section}>{''.join(rows)}</{section}></FlexStatement></FlexStatements></FlexQueryResponse>"
    ).encode()


COMMON = (
    'currency="USD" assetCategory="STK" symbol="ACME" conid="11" multiplier="1" dateTime="16/03/2026;100000"'
    ' tradeDate="16/03/2026" buySell="BUY" quantity="100" transactionType="ExchTrade"'
)


@pytest.mark.parametrize(
    "file",
    [
        statement("AF", f'<Trade {COMMON} tradePrice="10" ibCommission="-1" transactionID="1" tradeID="7" />'),
        statement("TCF", f'<TradeConfirm {COMMON} price="10" commission="-1" execID="a.b.01.01" tradeID="7" />'),
        statement(
            "TCF",
            f'<TradeConfirm {COMMON} price="10" commission="-1" commissionCurrency="USD" execID="" tradeID="7" />',
        ),
    ],
    ids=["no account and no commission's currency", "confirmation without a currency", "confirmation without ids"],
)
async def test_what_a_row_does_not_tell_of_its_statement_is_kept_beside_it(tmp_path: Path, file: bytes) -> None:
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        report = await bs.import_statement("ibkr", io.BytesIO(file), owner="me")
        assert (report.added, report.quarantined) == (1, 0)
        again = await bs.renormalise("me")
    assert (again.rows, again.unchanged) == (1, 1)


async def test_equal_rows_that_an_older_plugin_numbered_together_are_counted_by_the_names_of_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [
        f'<TradeConfirm {COMMON} price="10" commission="-1" execID="a.b{trade}.01.01" tradeID="{trade}" />'
        + f'<TradeConfirm {COMMON} price="10" commission="0" origTradeID="{trade}" />'.replace(
            'quantity="100" transactionType="ExchTrade"', 'quantity="-100" transactionType="TradeCancel"'
        )
        for trade in (7, 8)
    ]
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        with monkeypatch.context() as older:
            older.setattr("brokersync_ibkr.identity.Content.cancel_key", lambda content, _: content.key())
            await bs.import_statement("ibkr", io.BytesIO(statement("TCF", *told)), owner="me")
        first = await bs.renormalise("me")
        again = await bs.renormalise("me")
        report = await bs.import_statement("ibkr", io.BytesIO(statement("TCF", *reversed(told))), owner="me")
    assert (first.renewed, first.left, again.unchanged) == (2, 0, 4)
    assert report.dispositions == {"same": 4}
