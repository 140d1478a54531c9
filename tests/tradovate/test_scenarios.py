"""What a user of Tradovate runs into, each a test by its name, over loopback from the broker to the journal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from brokersync.plugin import TimeWindow
from brokersync.records import SpanState
from brokersync.sync.ledger import subtract
from brokersync.types import FeeKind, FeesState

from .desk import Desk, booked_costs, booked_executions, costs, executions, file_of, open_desk, rows_of

NOW = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)  # a Wednesday, 10:00 in Chicago
_CHICAGO = ZoneInfo("America/Chicago")
_DAY = timedelta(days=1)
_REPORT = "reports/requestreport"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, NOW, days=20, trades_per_day=10) as made:
        yield made


async def test_two_accounts_interleaved_in_one_fill_list(desk: Desk) -> None:
    await desk.sync(await desk.connect(login=1), "session")

    trades, ledger = await desk.trades(), await desk.ledger(login=1)
    assert len({one.account_id for one in trades.values()}) == 2
    assert {one.environment for one in trades.values()} == {"demo"}
    assert executions(trades.values()).items() <= booked_executions(ledger).items()


async def test_fill_whose_order_is_missing(desk: Desk) -> None:
    """It is held, and booked once the order is there."""
    connection = await desk.connect(login=1)
    desk.altered["order/list"] = lambda rows: []
    desk.altered["order/items"] = lambda rows: rows[:1]
    await desk.sync(connection, "session")
    held = await desk.bs.quarantined("me")
    assert held
    assert all("does not tell of the order" in one["reason"] for one in held)

    desk.altered.clear()
    await desk.sync(connection, "session")

    assert await desk.bs.quarantined("me") == ()


@pytest.mark.parametrize("at_once", [41, 10])
async def test_items_404_at_41_ids_then_success_in_tens(
    tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than ten at once are answered with 404, and halved until they are not; asked for in tens none is."""
    monkeypatch.setattr("brokersync_tradovate.client._ITEMS_AT_ONCE", at_once)
    async with open_desk(tmp_path, NOW, days=120, trades_per_day=40) as desk:
        connection = await desk.connect()
        await desk.sync(connection, "reports", again_from=NOW - 120 * _DAY)
        batches = [one.partition("ids=")[2].split(",") for one in desk.asked if one.startswith("contract/items")]
        ids = {one for batch in batches for one in batch}
        assert len(ids) > 10, "there was something to divide"
        assert (max(map(len, batches)) > 10) is (at_once > 10)
        assert {one.instrument.complete for one in (await desk.trades()).values()} == {True}


async def test_fill_fee_missing_and_late(tmp_path: Path) -> None:
    async with open_desk(tmp_path, NOW, days=3, trades_per_day=400) as desk:
        connection = await desk.connect()
        await desk.sync(connection, "session")
        early = await desk.trades()
        late = [name for name, one in early.items() if NOW - one.executed_at < timedelta(minutes=9)]
        assert {early[name].fees_state for name in late} == {FeesState.PENDING}

        desk.clock.time += timedelta(minutes=30)
        report = await desk.sync(connection, "session")

        after = await desk.trades()
        assert {after[name].fees_state for name in late} == {FeesState.ESTIMATED}
        assert costs(after[name] for name in late) == {name: booked_costs(await desk.ledger())[name] for name in late}
        assert report.modified >= len(late) > 0


async def test_currency_ids_not_1(desk: Desk) -> None:
    """The two sides number currencies in their own ways, and 2 is the euro here and the franc there."""
    await desk.sync(await desk.connect())

    trades, ledger = await desk.trades(), await desk.ledger()
    assert {name: one.instrument.currency for name, one in trades.items()} == {
        name: fill["currency"] for name, fill in ledger.items()
    }
    assert {(one.environment, one.instrument.currency) for one in trades.values()} >= {("live", "EUR"), ("demo", "EUR")}


async def test_empty_session(tmp_path: Path) -> None:
    async with open_desk(tmp_path, NOW, days=3, trades_per_day=0) as desk:
        connection = await desk.connect()
        report = await desk.sync(connection, "session")
        assert (report.added, report.problems) == (0, ())
        assert not [one for one in desk.asked if one.startswith(("order/", "fillFee/", "contract/"))]
        assert len(await desk.bs.coverage("me", "tradovate", "session")) == 2


async def test_report_ok_and_empty(desk: Desk) -> None:
    connection = await desk.connect()
    desk.altered[_REPORT] = lambda body: {"data": "\r\n"}
    report = await desk.sync(connection, "reports")

    assert (report.added, report.problems) == (0, ())
    assert await _uncovered(desk) == []


@pytest.mark.parametrize(
    "said", [{"errorText": "account is not found (ID:0)"}, {"errorText": "Something new"}, {"data": None}, []]
)
async def test_report_error_text(desk: Desk, said: Any) -> None:
    """What is no report covers nothing, is told, and is asked for again."""
    connection = await desk.connect()
    desk.altered[_REPORT] = lambda body: said
    report = await desk.sync(connection, "reports")
    assert report.problems
    assert await _uncovered(desk)

    desk.altered.clear()
    desk.clock.time += _DAY
    await desk.sync(connection)

    assert await _uncovered(desk) == []
    assert executions((await desk.trades()).values()) == booked_executions(await desk.ledger())


async def test_report_500(desk: Desk) -> None:
    connection = await desk.connect()
    await desk.arm(fault="server_error", operation=_REPORT, times=2)
    report = await desk.sync(connection, "reports")

    assert report.problems == ()
    assert executions((await desk.trades()).values()) == booked_executions(await desk.ledger())


async def test_csv_with_leading_spaces_quotes_negatives_crlf_bom_extra_and_missing_columns(desk: Desk) -> None:
    connection = await desk.connect()
    desk.altered[_REPORT] = _odd
    report = await desk.sync(connection, "reports")

    trades, ledger = await desk.trades(), await desk.ledger()
    assert report.problems == ()
    assert {name: told[:-1] for name, told in executions(trades.values()).items()} == {
        name: told[:-1] for name, told in booked_executions(ledger).items()
    }, "all but the date of the session, whose column is missing"
    assert {fee.amount for one in trades.values() for fee in one.fees} == {Decimal("-1234.50")}


def _odd(body: dict[str, str]) -> dict[str, str]:
    rows = rows_of(body["data"])
    if not rows or "_id" not in rows[0]:
        return body
    odd = {"Product Description": 'a "quoted", thing', "commission": "$(1,234.50)", "Venue": "new"}
    columns = [f" {name}" for name in (*rows[0], "Venue") if name != "_tradeDate"]
    return {
        "data": "\ufeff"
        + file_of([{f" {name}": f" {value}" for name, value in (row | odd).items()} for row in rows], columns)
    }


@pytest.mark.parametrize(
    "now", [datetime(2026, 3, 20, 15, tzinfo=UTC), datetime(2025, 11, 14, 15, tzinfo=UTC)], ids=["spring", "autumn"]
)
async def test_session_date_roll_at_2200_utc_and_daylight_saving(tmp_path: Path, now: datetime) -> None:
    async with open_desk(tmp_path, now, days=30, trades_per_day=20) as desk:
        await desk.sync(await desk.connect())
        rolled = set()
        for trade in (await desk.trades()).values():
            local = trade.executed_at.astimezone(_CHICAGO)
            day = local.date() + (_DAY if local.time() >= time(17) else timedelta(0))
            assert trade.trade_date == day + timedelta(days=max(0, 7 - day.weekday()) if day.weekday() > 4 else 0)
            if local.hour == 17:
                rolled.add(trade.executed_at.hour)
        assert rolled == {22, 23}, "the roll is at 22:00 UTC in summer and at 23:00 in winter"


async def test_same_fill_from_rest_and_report_merged(desk: Desk) -> None:
    connection = await desk.connect()
    for sources in (["session"], ["reports"], ["session"]):
        await desk.sync(connection, *sources)

    trades = await desk.trades()
    assert {one.sources for one in trades.values()} == {("reports", "session"), ("reports",)}
    assert executions(trades.values()) == booked_executions(await desk.ledger())
    changes = await desk.bs.changes("me", limit=5000)
    assert len([one for one in changes if str(one.kind) == "added"]) == len(trades)


async def test_failed_month_does_not_advance_the_cursor(tmp_path: Path) -> None:
    async with open_desk(tmp_path, NOW, days=100, trades_per_day=3) as desk:
        connection = await desk.connect()
        failing = _one_month_fails()
        desk.altered[_REPORT] = failing
        report = await desk.sync(connection)
        assert report.problems
        assert await _uncovered(desk, 90), "what failed is not passed over"

        desk.altered.clear()
        desk.clock.time += _DAY
        await desk.sync(connection)

        assert await _uncovered(desk, 90) == []
        assert executions((await desk.trades()).values()) == booked_executions(await desk.ledger())


def _one_month_fails() -> Callable[[Any], Any]:
    def alter(body: Any) -> Any:
        april = any(row.get("_tradeDate", "").startswith("2026-04") for row in rows_of(body["data"]))
        return {"errorText": "Something new"} if april else body

    return alter


async def test_account_renamed_between_syncs(desk: Desk) -> None:
    """Reports are asked for by the name that the account has now."""
    desk.altered["account/list"] = lambda rows: [row | {"name": f"OLD-{row['id']}"} for row in rows]
    connection = await desk.connect()
    await desk.sync(connection, "session")
    desk.altered.clear()

    report = await desk.sync(connection)

    assert report.problems == ()
    assert executions((await desk.trades()).values()) == booked_executions(await desk.ledger())
    assert not [one.name for one in await desk.bs.accounts(connection) if (one.name or "").startswith("OLD")]


async def test_contract_already_expired(tmp_path: Path) -> None:
    async with open_desk(tmp_path, NOW, days=400, trades_per_day=1) as desk:
        await desk.sync(await desk.connect())
        trades = (await desk.trades()).values()
        expired = [one.instrument for one in trades if one.instrument.expiry and one.instrument.expiry < NOW.date()]
        assert len(expired) > 100
        assert {one.complete for one in expired} == {True}


async def test_a_login_without_the_right_to_the_cash_history_keeps_its_fills(desk: Desk) -> None:
    connection = await desk.connect()
    desk.altered[_REPORT] = lambda body: body if "_id" in body["data"] else {"errorText": "Access is denied"}
    report = await desk.sync(connection, "reports")

    trades, ledger = await desk.trades(), await desk.ledger()
    assert executions(trades.values()) == booked_executions(ledger)
    assert {one.fees_state for one in trades.values()} == {FeesState.PENDING}
    assert {fee.kind for one in trades.values() for fee in one.fees} == {FeeKind.COMMISSION}
    assert any("Cash History" in name for name in report.unmapped)
    assert not [one for one in desk.asked if one.startswith("auth/renew")], "an address has few renewals"


async def _uncovered(desk: Desk, days: int = 18) -> list[TimeWindow]:
    """What the reports have not covered of the accounts' time up to two days ago."""
    spans = await desk.bs.coverage("me", "tradovate", "reports")
    wanted = TimeWindow(NOW - days * _DAY, desk.clock.time - 2 * _DAY)
    missing = []
    for number in await _numbers(desk):
        known = next((one for (_, account), one in spans.items() if account == number), ())
        read = [one.window for one in known if one.state in (SpanState.FINAL, SpanState.PROVISIONAL)]
        missing += subtract([wanted], read)
    return missing


async def _numbers(desk: Desk) -> list[str]:
    (connection,) = await desk.bs.connections("me")
    return [one.account_id for one in await desk.bs.accounts(connection.connection_id)]
