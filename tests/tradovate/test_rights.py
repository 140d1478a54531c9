"""Rights that an app or a key lacks are said, cost no tokens, and are no end of the login."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from brokersync import BrokerAuthError, BrokerSync, Connection, ConnectionState, Deferred, Done
from brokersync.events import HistoryLost
from brokersync.store import TradeFilter

from .desk import open_desk, rows_of
from .stage import WEDNESDAY, Stage

OAUTH, REPORTS = "auth/oauthtoken", "reports/requestreport"


async def test_an_app_without_the_right_to_reports_reads_its_sessions(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        await stage.fault("permission_denied", operation=REPORTS, times=10_000)
        for _ in range(8):
            outcome = await bs.run(connection.connection_id)
            assert isinstance(outcome, Done)
            assert any("no reports" in str(problem) for problem in outcome.report.problems)
            stage.clock.advance(hours=6)
        assert (await bs.connection(connection.connection_id)).state is ConnectionState.ACTIVE
        assert [trade async for trade in bs.trades("ann", TradeFilter())]
        before = await stage.asked()
        assert before[OAUTH] == 1 + 7, "the code, and one rotation for each token that had ended"

        await stage.calm()
        assert isinstance(outcome := await bs.run(connection.connection_id), Done)
        found = {trade.trade_id async for trade in bs.trades("ann", TradeFilter())}
    ledger = await stage.ledger()
    wanted = {one["trade_id"] for account in stage.login(1).trades for one in ledger["accounts"][account]}
    assert found == wanted, "once the right is granted, nothing is missing"


async def away_without_reports(stage: Stage, bs: BrokerSync) -> Connection:
    """Denied since a day, and nobody has read anything since a session that is over."""
    connection = await stage.connect(bs)
    await bs.run(connection.connection_id)
    stage.clock.advance(days=2)
    await stage.fault("permission_denied", operation=REPORTS, times=10_000)
    await bs.run(connection.connection_id)
    stage.clock.advance(days=1)
    stage.events.clear()
    return connection


def told(stage: Stage) -> set[tuple[str, datetime, datetime]]:
    lost = [event for event in stage.events if isinstance(event, HistoryLost)]
    found = {(event.account_id, event.window.start, event.window.end) for event in lost}
    assert len(found) == len(lost), "each of them once"
    return found


async def test_what_is_read_since_a_right_was_granted_is_not_told_as_lost(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await away_without_reports(stage, bs)
        await stage.calm()
        for _ in range(3):
            outcome = await bs.run(connection.connection_id)
            assert isinstance(outcome, Done)
            assert outcome.report.lost == ()
            stage.clock.advance(minutes=30)
    assert told(stage) == set()


async def test_what_is_not_read_yet_since_a_right_was_granted_is_not_told_as_lost_either(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await away_without_reports(stage, bs)
        await stage.calm()
        await stage.fault("rate_limit", operation=REPORTS)
        first = await bs.run(connection.connection_id)
        assert isinstance(first, Deferred)
        stage.clock.advance(minutes=10)
        await bs.run_due()
        assert told(stage) == set()
        stage.clock.advance(minutes=55)
        assert isinstance(await bs.run(connection.connection_id), Done)
    assert told(stage) == set()


async def test_what_a_session_loses_is_told_by_the_run_that_is_denied_its_reports_still(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await away_without_reports(stage, bs)
        read_last, ended = stage.clock.now() - timedelta(days=1), stage.clock.now().replace(hour=22) - timedelta(days=1)
        for _ in range(3):
            await bs.run(connection.connection_id)
            stage.clock.advance(minutes=30)
    accounts = stage.login(0).trades
    assert told(stage) == {(account, read_last, ended) for account in accounts}


async def test_what_a_session_loses_is_told_though_no_login_gets_as_far_as_the_reports(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await away_without_reports(stage, bs)
        await stage.fault("user_closed", operation="auth/accesstokenrequest", times=10_000)
        for _ in range(3):
            with pytest.raises(BrokerAuthError):
                await bs.run(connection.connection_id)
            stage.clock.advance(minutes=30)
    assert len(told(stage)) == len(stage.login(0).trades)


async def test_an_account_whose_reports_are_refused_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    async with open_desk(tmp_path, WEDNESDAY, days=10, trades_per_day=2) as desk:
        connection, ledger = await desk.connect(), await desk.ledger()
        refused, *others = sorted({one["account"] for one in ledger.values()})
        desk.altered["reports/requestreport"] = lambda body: (
            {"errorText": "Access is denied"}
            if any(row.get("_accountId") == refused for row in rows_of(body["data"]))
            else body
        )

        report = await desk.sync(connection, "reports")

        (sentence,) = {str(one["message"]) for one in report.problems}
        (name,) = [one.name for one in await desk.bs.accounts(connection) if one.account_id == refused]
        assert f"no reports of the account {name}," in sentence
        wanted = {name for name, fill in ledger.items() if fill["account"] in others}
        assert wanted
        assert (await desk.trades()).keys() == wanted
        assert (await desk.bs.connection(connection)).state is ConnectionState.ACTIVE
