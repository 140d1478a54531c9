"""Why is my trade missing? Each answer from what was really read: through files, and from IBKR's sandbox."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerConfigError, BrokerSync, Deferred
from brokersync.dispositions import Disposition, Rule
from brokersync.explaining import Explanation, SourceState
from brokersync.plugin import StatementHints
from brokersync.store import TradeFilter

DAY = date(2026, 3, 2)
BASE = {
    "accountId": "U7", "currency": "USD", "assetCategory": "STK", "symbol": "ACME", "conid": "11", "multiplier": "1",
    "dateTime": "20260302;100000", "tradeDate": "20260302", "ibCommissionCurrency": "USD", "ibCommission": "-1",
    "transactionType": "ExchTrade", "buySell": "BUY", "quantity": "100", "tradePrice": "10.5",
}  # fmt: skip


def fill(number: int, **changes: str) -> dict[str, str]:
    ids = {"tradeID": f"7{number}", "transactionID": f"80{number}", "ibExecID": f"0000aa.{number:08d}.01.01"}
    return BASE | ids | changes


def cancel(number: int, of: int, **changes: str) -> dict[str, str]:
    told = {"transactionType": "TradeCancel", "buySell": "BUY (Ca.)", "quantity": "-100", "ibCommission": "1"}
    ids = {"tradeID": "", "ibExecID": "", "origTradeID": f"7{of}", "origTransactionID": f"80{of}"}
    return BASE | told | ids | {"transactionID": f"80{number}"} | changes


def statement(*rows: dict[str, str], extra: str = "", days: tuple[int, int] = (2, 6)) -> bytes:
    body = "".join("<Trade " + " ".join(f'{name}="{value}"' for name, value in row.items()) + " />" for row in rows)
    return (
        '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1"><FlexStatement accountId="U7"'
        f' fromDate="202603{days[0]:02}" toDate="202603{days[1]:02}" period="" whenGenerated="20260307">'
        f"<Trades>{body}{extra}</Trades></FlexStatement></FlexStatements></FlexQueryResponse>"
    ).encode()


@pytest.fixture
async def bs(tmp_path: Path) -> AsyncIterator[BrokerSync]:
    async with BrokerSync.open(tmp_path / "s.db") as made:
        yield made


async def read(bs: BrokerSync, *rows: dict[str, str], owner: str = "me", **facts: Any) -> None:
    hints = StatementHints(name="march.xml")
    await bs.import_statement("ibkr", io.BytesIO(statement(*rows, **facts)), owner=owner, hints=hints)


async def ask(bs: BrokerSync, symbol: str = "ACME", day: date = DAY) -> Explanation:
    return await bs.explain("me", account="U7", symbol=symbol, day=day)


def state(found: Explanation, source: str) -> SourceState:
    return next(one.state for one in found.sources if one.source == source)


async def test_a_trade_that_is_there_shows_its_row_and_where_it_was_read(bs: BrokerSync) -> None:
    await read(bs, fill(1))
    found = await ask(bs)
    assert found.verdict.startswith("It is there: buy 100 ACME at 10.5 USD on 2026-03-02 15:00:00 UTC")
    (row,) = found.bookings
    assert (row.rule, row.disposition, row.file) == (Rule.GIVES_CONTENT, Disposition.STORED, "march.xml")
    assert row.read_at is not None
    assert row.raw is not None
    assert row.raw["transactionID"] == "801"
    assert (await ask(bs, "acme")).trades == found.trades


async def test_a_cancelled_trade_names_the_cancel(bs: BrokerSync) -> None:
    await read(bs, fill(1), cancel(2, of=1))
    found = await ask(bs)
    assert found.verdict.startswith("The broker cancelled it: buy 100 ACME")
    assert "activity_file tx:802" in found.verdict
    assert {row.booking_id: (row.rule, row.by) for row in found.bookings} == {
        "tx:801": (Rule.CANCELLED, "activity_file tx:802"),
        "tx:802": (Rule.CANCELS, "activity_file tx:801"),
    }


async def test_a_trade_that_was_booked_anew_with_another_symbol_says_so(bs: BrokerSync) -> None:
    await read(bs, fill(1), cancel(2, of=1), fill(3, ibExecID="0000aa.00000001.01.02", symbol="BOLT"))
    found = await ask(bs)
    assert found.verdict.startswith("The broker booked it and then changed it: buy 100 ACME")
    assert "it is now buy 100 BOLT" in found.verdict
    assert found.trades[0].instrument.symbol == "BOLT"
    assert (
        next(row for row in found.bookings if row.booking_id == "tx:801").words == "cancelled by activity_file tx:802"
    )


async def test_a_lone_cancel_waits_for_its_trade(bs: BrokerSync) -> None:
    await read(bs, cancel(2, of=1))
    found = await ask(bs)
    assert found.verdict.startswith("Only a cancel of it was read, activity_file tx:802")
    assert [row.disposition for row in found.bookings] == [Disposition.WAITING]


async def test_a_row_in_quarantine_that_names_symbol_and_day_is_the_answer(bs: BrokerSync) -> None:
    await read(bs, fill(1, transactionType="Unheard"))
    found = await ask(bs)
    assert found.verdict.startswith("A row that is probably it was not understood")
    assert "'Unheard'" in found.verdict
    assert found.quarantined[0]["raw"]["symbol"] == "ACME"


async def test_a_day_that_was_read_completely_says_when_and_what_it_passed_over(bs: BrokerSync) -> None:
    await read(bs, fill(1), extra='<Lot symbol="ACME" /><Order symbol="ACME" />')
    found = await ask(bs, "NONE")
    assert found.verdict.startswith("There is no such trade: 2026-03-02 was read completely from activity_file on 20")
    assert found.verdict.endswith("held no row for NONE.")
    answer = next(one for one in found.sources if one.source == "activity_file")
    assert (answer.state, answer.skipped) == (SourceState.FINAL, {"Lot": 1, "Order": 1})
    assert answer.asked is not None


async def test_a_day_of_booking_alone_does_not_deny_a_trade_that_is_booked_on_the_next(bs: BrokerSync) -> None:
    await read(bs, fill(1), days=(2, 2))
    found = await ask(bs, "BETA")
    assert found.verdict.startswith("There is no such trade so far: 2026-03-02 was read completely from activity_file")
    assert found.verdict.endswith("may be booked on a later one, and 2026-03-03 is not read yet.")
    evening = fill(2, symbol="BETA", dateTime="20260302;193000", tradeDate="20260303")
    await read(bs, evening, days=(3, 3))
    assert (await ask(bs, "BETA")).verdict.startswith("It is there")


async def test_an_evening_in_new_york_is_not_denied_on_its_day_of_utc_while_its_own_is_unread(bs: BrokerSync) -> None:
    await read(bs, days=(3, 10))
    found = await ask(bs, day=date(2026, 3, 3))
    assert found.verdict.startswith("There is no such trade so far: 2026-03-03 was read completely from activity_file")
    assert found.verdict.endswith(
        "hours that are not read completely: 2026-03-02 (no statement that tells of this day was imported)."
    )
    await read(bs, fill(1, dateTime="20260302;200000"), days=(2, 2))
    assert (await ask(bs, day=date(2026, 3, 3))).verdict.startswith("It is there")


@pytest.mark.parametrize("wrong", ["ACMA", "AMCE", "ACM", "ACMEE", "acme.us"])
async def test_a_symbol_that_was_misspelled_is_asked_back(bs: BrokerSync, wrong: str) -> None:
    await read(bs, fill(1), fill(2, symbol="ZULU", conid="13"))
    found = await ask(bs, wrong)
    similar = [trade.instrument.symbol for trade in (*found.similar, *found.trades)]
    assert similar == ["ACME"]


async def test_the_same_symbol_on_a_neighbouring_day_is_shown(bs: BrokerSync) -> None:
    await read(bs, fill(1))
    found = await ask(bs, day=date(2026, 3, 4))
    assert [trade.trade_id for trade in found.nearby] == ["exec:0000aa.00000001.01"]
    assert found.verdict.startswith("There is no such trade")


async def test_a_trade_belongs_to_the_days_of_utc_and_of_new_york(bs: BrokerSync) -> None:
    await read(bs, fill(1, dateTime="20260302;203000", tradeDate="20260303"))
    for day in (date(2026, 3, 2), date(2026, 3, 3)):
        assert (await ask(bs, day=day)).verdict.startswith("It is there")
    assert not (await ask(bs, day=date(2026, 3, 4))).trades


async def test_a_day_that_nobody_has_read_says_what_to_do(bs: BrokerSync) -> None:
    await read(bs, fill(1))
    found = await ask(bs, day=date(2026, 4, 3))
    assert found.verdict.startswith("Nobody has read 2026-04-03: no connection reads this account")
    assert state(found, "activity_file") is SourceState.NO_FILE


async def test_a_trade_is_found_by_its_key_and_by_every_name_of_its_rows(bs: BrokerSync) -> None:
    await read(bs, fill(1))
    for name in ("exec:0000aa.00000001.01", "tx:801"):
        found = await bs.explain("me", account="U7", trade_id=name)
        assert found.verdict.startswith("It is there")
        assert state(found, "activity_file") is SourceState.FINAL
    found = await bs.explain("me", account="U7", trade_id="nothing")
    assert found.verdict == "No trade of this account has ever been known as nothing."


async def test_a_row_that_was_not_understood_is_found_by_its_ids(bs: BrokerSync) -> None:
    await read(bs, fill(1, transactionType="Unheard"), fill(2, symbol="BOLT"))
    for name in ("exec:0000aa.00000001.01", "0000aa.00000001.01.01", "tx:801", "801"):
        found = await bs.explain("me", account="U7", trade_id=name)
        assert found.verdict.startswith("A row that is probably it was not understood")
        assert [row["sure"] for row in found.quarantined] == [True]
    found = await bs.explain("me", account="U7", trade_id="tx:9")
    assert found.verdict == (
        "No trade of this account has ever been known as tx:9; a row that was not understood waits in quarantine, and "
        "may be it."
    )
    found = await bs.explain("me", account="U7", trade_id="tx:802")
    assert found.quarantined == ()


async def test_an_owner_sees_only_rows_of_its_own(bs: BrokerSync) -> None:
    await read(bs, fill(1), fill(2, transactionType="Unheard"), owner="other")
    await read(bs, fill(3, symbol="BOLT"))
    found = await ask(bs)
    assert (found.trades, found.bookings, found.quarantined) == ((), (), ())
    with pytest.raises(BrokerConfigError, match="no account"):
        await bs.explain("nobody", account="U7", symbol="ACME", day=DAY)


async def test_a_question_without_a_trade_is_refused(bs: BrokerSync) -> None:
    with pytest.raises(BrokerConfigError, match="names no trade"):
        await bs.explain("me", account="U7", symbol="ACME")


async def test_before_and_while_a_day_is_read_the_answer_says_what_is_missing(staged: Any) -> None:
    async with staged("ibkr", days=60, trades_per_day=2, think=timedelta(seconds=60)) as stage:
        bs, clock = stage.bs, stage.clock
        connection = await stage.connect()
        account = sorted(stage.sandbox.logins[0].trades)[0]
        question: dict[str, Any] = {"account": account, "symbol": "ACME", "day": date(2026, 5, 12)}
        found = await bs.explain("me", **question)
        assert found.verdict.startswith("2026-05-12 has not been read yet from activity")
        outcome = await bs.run(connection.connection_id)
        assert isinstance(outcome, Deferred)
        found = await bs.explain("me", **question)
        assert state(found, "activity") is SourceState.WAITS
        assert found.verdict.startswith("2026-05-12 is being read from activity")
        while isinstance(outcome, Deferred):
            clock.time = max(clock.time, outcome.until)
            outcome = await bs.run(connection.connection_id)
        found = await bs.explain("me", **question)
        assert state(found, "activity") is SourceState.FINAL
        assert found.verdict.startswith(
            "There is no such trade: 2026-05-12 was read completely from activity on 2026-06-10"
        )
        trades = [one async for one in bs.trades("me", TradeFilter(account_id=account))]
        known = trades[len(trades) // 2]
        day = known.trade_date
        assert day is not None
        there = await bs.explain("me", account=account, symbol=known.instrument.symbol, day=day)
        row = next(one for one in there.bookings if one.trade_id == known.trade_id)
        assert row.asked is not None
        assert row.read_at == clock.time or row.read_at is not None
        assert known.trade_id in {one.trade_id for one in there.trades}
        assert (
            state(await bs.explain("me", **(question | {"day": date(2026, 6, 30)})), "activity") is SourceState.FUTURE
        )
