"""One execution told by files whose queries leave columns out: the same end, whichever file is read first."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import permutations
from pathlib import Path

import pytest

from brokersync import BrokerConfigError, BrokerSync
from brokersync.store import TradeFilter

from .test_corrections_in_any_order import _CANCEL, _ORIGINAL, _REBOOKED, statement

_CONFIRMED = {
    "tradePrice": "price", "ibCommission": "commission", "ibCommissionCurrency": "commissionCurrency",
    "ibExecID": "execID",
}  # fmt: skip
_NOT_CONFIRMED = {"transactionID", "origTransactionID", "reportDate"}
_FULL = (_ORIGINAL, _CANCEL, _REBOOKED)


def without(rows: Sequence[Mapping[str, str]], *columns: str) -> bytes:
    return statement([{name: text for name, text in row.items() if name not in columns} for row in rows])


def confirmations(rows: Sequence[Mapping[str, str]], *left_out: str) -> bytes:
    """The rows as a Trade Confirmation query tells them, on the evening of the day."""
    told = [
        {_CONFIRMED.get(name, name): text for name, text in row.items() if name not in _NOT_CONFIRMED | set(left_out)}
        for row in rows
    ]
    return (
        statement(told)
        .replace(b'type="AF"', b'type="TCF"')
        .replace(b"<Trade ", b"<TradeConfirm ")
        .replace(b"Trades>", b"TradeConfirms>")
        .replace(b'whenGenerated="20260307"', b'whenGenerated="20260302;180000"')
    )


CANCELLED_AND_REBOOKED = {
    "confirmations without conid": confirmations(_FULL[:2], "conid"),
    "all confirmations without conid": confirmations(_FULL, "conid"),
    "activity without ibExecID": without(_FULL, "ibExecID"),
    "activity without conid and ids of bookings": without(_FULL, "conid", "origTransactionID"),
}


async def ends(path: Path, *files: bytes) -> list[tuple[object, ...]]:
    """What the trades are after each order of the files."""
    found = []
    async with BrokerSync.open(path) as bs:
        for number, order in enumerate(permutations(files)):
            owner = f"owner {number}"
            for file in order:
                await bs.import_statement("ibkr", io.BytesIO(file), owner=owner)
            trades = [one async for one in bs.trades(owner, TradeFilter(cancelled=True))]
            found += [(one.status.value, one.price, *(fee.amount for fee in one.fees)) for one in trades]
            assert len(found) == number + 1
    return found


@pytest.mark.parametrize("poorer", CANCELLED_AND_REBOOKED.values(), ids=list(CANCELLED_AND_REBOOKED))
async def test_a_cancel_told_by_two_files_leaves_the_rebooked_trade(tmp_path: Path, poorer: bytes) -> None:
    found = await ends(tmp_path / "s.db", poorer, statement(_FULL))
    assert found == [("active", Decimal("10.4"), Decimal("1.25"))] * 2


REFUSED = {
    "Trade ID": without(_FULL, "tradeID"),
    "Transaction ID": without(_FULL, "transactionID"),
    "Trade ID and Transaction ID": without(_FULL, "tradeID", "transactionID", "ibExecID"),
    "Exec ID": confirmations(_FULL, "ibExecID"),
    "Trade ID and Exec ID": confirmations(_FULL, "tradeID", "ibExecID"),
}


@pytest.mark.parametrize(("columns", "file"), REFUSED.items(), ids=list(REFUSED))
async def test_a_file_without_the_ids_that_others_know_its_trades_by_is_refused_with_what_to_tick(
    tmp_path: Path, columns: str, file: bytes
) -> None:
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        with pytest.raises(BrokerConfigError) as refused:
            await bs.import_statement("ibkr", io.BytesIO(file), owner="me")
        assert [one async for one in bs.trades("me")] == []
    assert f"tick {columns}, save it" in (refused.value.remedy or "")


@pytest.mark.parametrize("kind", ["activity", "confirmations"])
async def test_a_cancel_that_names_no_trade_is_quarantined_until_a_file_tells_it_in_full(
    tmp_path: Path, kind: str
) -> None:
    less = ("origTradeID", "origTransactionID")
    poorer = without(_FULL[:2], *less) if kind == "activity" else confirmations(_FULL[:2], *less)
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        report = await bs.import_statement("ibkr", io.BytesIO(poorer), owner="me")
        assert (report.added, report.quarantined) == (1, 1)
        await bs.import_statement("ibkr", io.BytesIO(statement(_FULL)), owner="me")
        assert [(one.price, one.status.value) async for one in bs.trades("me")] == [(Decimal("10.4"), "active")]


async def test_a_confirmation_that_repeats_an_execution_id_with_other_words_is_quarantined(tmp_path: Path) -> None:
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        report = await bs.import_statement("ibkr", io.BytesIO(confirmations(_FULL)), owner="me")
        assert (report.added, report.quarantined) == (1, 1)
        (kept,) = await bs.quarantined("me")
        assert "execution id" in kept["reason"]
        await bs.import_statement("ibkr", io.BytesIO(statement(_FULL)), owner="me")
        assert [(one.price, one.status.value) async for one in bs.trades("me")] == [(Decimal("10.4"), "active")]


async def test_the_commission_of_one_execution_counts_once(tmp_path: Path) -> None:
    found = await ends(tmp_path / "s.db", confirmations([_ORIGINAL]), without([_ORIGINAL], "ibExecID"))
    assert set(found) == {("active", Decimal("10.5"), Decimal(1))}


async def test_a_later_file_with_a_column_less_doubles_no_commission(tmp_path: Path) -> None:
    later = without([_ORIGINAL], "ibExecID").replace(b'whenGenerated="20260307"', b'whenGenerated="20260308"')
    found = await ends(tmp_path / "s.db", confirmations([_ORIGINAL]), statement([_ORIGINAL]), later)
    assert set(found) == {("active", Decimal("10.5"), Decimal(1))}


async def test_a_trade_booked_again_at_the_same_price_keeps_the_commissions_of_both_bookings(tmp_path: Path) -> None:
    again = _REBOOKED | {"tradePrice": "10.5"}
    rows = (_ORIGINAL, _CANCEL, again)
    for name, left_out in (("full", ()), ("poorer", ("ibExecID",))):
        found = await ends(tmp_path / f"{name}.db", without(rows, *left_out), confirmations(rows[:2]))
        assert found == [("active", Decimal("10.5"), Decimal("1.25"))] * 2
