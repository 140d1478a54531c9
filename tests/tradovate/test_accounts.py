"""Accounts are many behind one login, belong to firms, are renamed, reset, closed and archived: no trade is lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync, Done
from brokersync.errors import BrokerAuthError
from brokersync.events import ConnectionNeedsUser
from brokersync.store import TradeFilter

from .stage import Stage, staged

REPORTS = "reports/requestreport"


async def change(stage: Stage, account: str, **facts: Any) -> None:
    url = "https://live.tradovateapi.com/_sandbox/accounts"
    async with stage.http.post(url, json={"id": int(account), **facts}) as answer:
        assert answer.status == 200


async def synced(bs: BrokerSync, name: str) -> list[Any]:
    """The problems of a sync that came to its end."""
    outcome = await bs.run(name)
    assert isinstance(outcome, Done)
    return list(outcome.report.problems)


async def counts(bs: BrokerSync) -> Counter[str]:
    return Counter([trade.account_id async for trade in bs.trades("ann", TradeFilter())])


async def in_ledger(stage: Stage) -> dict[str, int]:
    accounts = (await stage.ledger())["accounts"]
    return {account: len(accounts[account]) for account in stage.login(1).trades}


async def test_the_accounts_of_a_login_are_told_apart_in_one_list(tmp_path: Path) -> None:
    async with staged(tmp_path, accounts_per_login=12) as stage, stage.process() as bs:
        connection = await stage.connect(bs, 1)
        await stage.fault("permission_denied", operation=REPORTS, times=1000)
        await bs.run(connection.connection_id, sources=["session"])
        ledger = (await stage.ledger())["accounts"]
        owners = {one["trade_id"]: account for account, rows in ledger.items() for one in rows}
        trades = [trade async for trade in bs.trades("ann", TradeFilter())]
    assert len({trade.account_id for trade in trades}) > 1
    assert all(owners[trade.trade_id] == trade.account_id for trade in trades)


async def test_two_traders_of_one_firm_are_two_logins_and_see_their_own_accounts(tmp_path: Path) -> None:
    """The owner of their accounts, as Tradovate calls it, is the firm."""
    async with staged(tmp_path, logins=4) as stage, stage.process() as bs:
        one, other = await stage.consent(bs, 1), await stage.consent(bs, 3)
        assert one.connection_id != other.connection_id
        assert one.identity != other.identity
        for number, connection in ((1, one), (3, other)):
            listed = {account.account_id for account in await bs.accounts(connection.connection_id)}
            assert listed == set(stage.login(number).trades)


async def test_an_account_that_was_renamed_between_syncs_keeps_its_trades_and_goes_on(stage: Stage) -> None:
    first, second = stage.login(1).trades
    async with stage.process() as bs:
        connection = await stage.connect(bs, 1)
        assert await synced(bs, connection.connection_id) == []
        await change(stage, first, name="IFUND-FUNDED-1")
        await change(stage, second, name="IFUND-50K-0002")  # as the other one was called
        stage.clock.advance(days=2)
        assert await synced(bs, connection.connection_id) == []
        assert await counts(bs) == await in_ledger(stage)
        listed = {one.account_id: one.name for one in await bs.accounts(connection.connection_id)}
    assert listed == {first: "IFUND-FUNDED-1", second: "IFUND-50K-0002"}


async def test_a_closed_account_has_its_history_read_to_the_end(stage: Stage) -> None:
    first, second = stage.login(1).trades
    await change(stage, first, active=False, closed=True)
    async with stage.process() as bs:
        connection = await stage.connect(bs, 1)
        assert await synced(bs, connection.connection_id) == []
        assert await counts(bs) == await in_ledger(stage)
        listed = {one.account_id: one.closed for one in await bs.accounts(connection.connection_id)}
    assert listed == {first: True, second: False}


async def test_an_archived_account_that_is_listed_no_more_keeps_its_trades_and_troubles_nobody(stage: Stage) -> None:
    first, second = stage.login(1).trades
    async with stage.process() as bs:
        connection = await stage.connect(bs, 1)
        await synced(bs, connection.connection_id)
        before = (await counts(bs))[first]
        await change(stage, first, archived=True, listed=False)
        for _ in range(3):
            stage.clock.advance(days=1)
            assert await synced(bs, connection.connection_id) == []
        assert (await counts(bs))[first] == before > 0
        assert (await counts(bs))[second] == (await in_ledger(stage))[second]

        await change(stage, first, archived=False, listed=True)
        assert await synced(bs, connection.connection_id) == []
        assert await counts(bs) == await in_ledger(stage), "of one that comes back nothing is missing"


async def test_a_reset_of_an_evaluation_takes_nothing_back_that_was_traded(stage: Stage) -> None:
    first, _ = stage.login(1).trades
    async with stage.process() as bs:
        connection = await stage.connect(bs, 1)
        await synced(bs, connection.connection_id)
        before = (await counts(bs))[first]
        await change(stage, first, reset=True)
        stage.clock.advance(days=2)
        assert await synced(bs, connection.connection_id) == []
        after = await counts(bs)
        removed = [one for one in await bs.changes("ann", 0, 10_000) if one.kind.value == "removed"]
    assert after[first] > before
    assert after == await in_ledger(stage), "what was traded before the reset is still ours"
    assert removed == []


async def test_a_list_that_is_empty_until_the_user_is_named_is_asked_for_once_more(stage: Stage) -> None:
    await stage.fault("accounts_hidden", times=1000)
    async with stage.process() as bs:
        connection = await stage.consent(bs, 1)
        assert await synced(bs, connection.connection_id) == []
        assert await counts(bs) == await in_ledger(stage)


async def test_a_user_whom_tradovate_has_closed_is_asked_with_the_reason(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.connect(bs)
        stage.clock.advance(hours=2)
        await stage.fault("user_closed", times=10)
        with pytest.raises(BrokerAuthError) as caught:
            await bs.run(connection.connection_id)
    assert caught.value.code == "Closed"
    (asked,) = [event for event in stage.events if isinstance(event, ConnectionNeedsUser)]
    assert "Closed" in asked.reason
