"""The plugin under core's own engine: over HTTP from the sandbox into a store."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from {{ cookiecutter.__package }}.sandbox import OVERCOME

from .stage import Stage


async def test_the_first_sync_brings_every_trade_as_the_broker_has_it(stage: Stage) -> None:
    report = await stage.sync(await stage.connect())

    books, trades = await stage.ledger(), await stage.trades()
    assert (report.quarantined, report.problems) == (0, ())
    assert {
        (
            one.account_id,
            one.trade_id,
            one.side.value,
            one.quantity,
            one.price,
            sum(fee.amount for fee in one.fees),
            one.executed_at.isoformat(),
        )
        for one in trades
    } == {
        (
            account_id,
            row["trade_id"],
            row["side"],
            Decimal(row["quantity"]),
            Decimal(row["price"]),
            sum(map(Decimal, row["fees"].values())),
            row["executed_at"],
        )
        for account_id in stage.sandbox.logins[0].trades
        for row in books[account_id]
    }
    assert len(trades) == sum(stage.sandbox.logins[0].trades.values()) > 100


async def test_a_second_sync_changes_nothing(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.sync(connection)
    before = await stage.trades()

    report = await stage.sync(connection)

    assert (report.added, report.modified, report.removed) == (0, 0, 0)
    assert report.unchanged > 0, "the last days are read again"
    assert await stage.trades() == before


async def test_what_was_traded_since_is_all_that_a_later_sync_adds(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.sync(connection)
    stage.clock.advance(timedelta(days=2))

    later = await stage.sync(connection)

    books = await stage.ledger()
    assert later.added > 0
    assert len(await stage.trades()) == sum(len(books[one]) for one in stage.sandbox.logins[0].trades)


@pytest.mark.parametrize("fault", OVERCOME)
async def test_a_sync_overcomes_what_passes(stage: Stage, fault: str) -> None:
    connection = await stage.connect()
    await stage.show_fault(fault, after=1)

    await stage.sync(connection)

    assert len(await stage.trades()) == sum(stage.sandbox.logins[0].trades.values())
