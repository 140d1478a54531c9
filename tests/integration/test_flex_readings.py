"""One execution read several times: from two kinds of statements, with other columns, in any order."""

from __future__ import annotations

import io
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync, BrokerTrade, SyncReport
from brokersync.store import TradeFilter

_BASE = {
    "accountId": "U7", "currency": "USD", "assetCategory": "STK", "symbol": "ACME", "conid": "11", "multiplier": "1",
    "dateTime": "20260302;100000", "tradeDate": "20260302", "reportDate": "20260302", "ibCommissionCurrency": "USD",
    "levelOfDetail": "EXECUTION",
}  # fmt: skip
_ORIGINAL = {
    "transactionType": "ExchTrade", "buySell": "BUY", "quantity": "100", "tradePrice": "10.5", "ibCommission": "-1",
    "tradeID": "700", "transactionID": "8001", "ibExecID": "0000aa.0000bb.01.01", "notes": "",
}  # fmt: skip
_CANCEL = {
    "transactionType": "TradeCancel", "buySell": "BUY (Ca.)", "quantity": "-100", "tradePrice": "10.5",
    "ibCommission": "0.5", "tradeID": "", "origTradeID": "700", "origTransactionID": "8001", "transactionID": "8002",
    "ibExecID": "", "notes": "Ca",
}  # fmt: skip
_REPLACEMENT = _ORIGINAL | {
    "tradePrice": "10.4", "ibCommission": "-0.5", "transactionID": "8003", "ibExecID": "0000aa.0000bb.01.02",
}  # fmt: skip
_CONFIRMATION = {
    "ibExecID": "execID", "ibCommission": "commission", "ibCommissionCurrency": "commissionCurrency",
    "tradePrice": "price", "notes": "code",
}  # fmt: skip


def _row(element: str, changes: dict[str, str], without: tuple[str, ...]) -> str:
    fields = {name: value for name, value in (_BASE | changes).items() if name not in without}
    if element == "TradeConfirm":
        fields.pop("transactionID", None)
        fields.pop("origTransactionID", None)
        fields = {_CONFIRMATION.get(name, name): value for name, value in fields.items()}
    return f"<{element} " + " ".join(f'{name}="{value}"' for name, value in fields.items()) + " />"


def statement(*rows: dict[str, str], confirmations: bool = False, without: tuple[str, ...] = ()) -> bytes:
    section, element = ("TradeConfirms", "TradeConfirm") if confirmations else ("Trades", "Trade")
    body = "".join(_row(element, row, without) for row in rows)
    return (
        f'<FlexQueryResponse queryName="q" type="{"TCF" if confirmations else "AF"}"><FlexStatements count="1">'
        f'<FlexStatement accountId="U7" fromDate="20260302" toDate="20260306" period="" whenGenerated="20260307">'
        f"<{section}>{body}</{section}></FlexStatement></FlexStatements></FlexQueryResponse>"
    ).encode()


async def read(folder: Path, *files: bytes) -> tuple[list[BrokerTrade], list[SyncReport], list[Any]]:
    async with BrokerSync.open(folder / "s.db") as bs:
        reports = [await bs.import_statement("ibkr", io.BytesIO(file), owner="me") for file in files]
        trades = [trade async for trade in bs.trades("me", TradeFilter(cancelled=True))]
        return trades, reports, list(await bs.quarantined("me"))


def _facts(trade: BrokerTrade) -> tuple[str, Decimal, Decimal]:
    return trade.status.value, trade.price, sum((fee.amount for fee in trade.fees), Decimal(0))


_CHAIN = (_ORIGINAL, _CANCEL, _REPLACEMENT)


@pytest.mark.parametrize("confirmed_first", [True, False])
async def test_a_correction_told_by_both_kinds_of_statements_counts_once(tmp_path: Path, confirmed_first: bool) -> None:
    files = [statement(*_CHAIN, confirmations=True), statement(*_CHAIN)]
    trades, _, _ = await read(tmp_path, *(files if confirmed_first else reversed(files)))
    assert [_facts(trade) for trade in trades] == [("active", Decimal("10.4"), Decimal(1))]


@pytest.mark.parametrize("poorer_first", [True, False])
async def test_a_file_without_execution_ids_does_not_double_the_commission(tmp_path: Path, poorer_first: bool) -> None:
    files = [statement(_ORIGINAL, without=("ibExecID",)), statement(_ORIGINAL)]
    trades, _, _ = await read(tmp_path, *(files if poorer_first else reversed(files)))
    assert [_facts(trade) for trade in trades] == [("active", Decimal("10.5"), Decimal(1))]


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_a_price_correction_known_by_its_trade_id_alone_ends_in_the_replacement(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    nameless = {"transactionID": "", "origTransactionID": "", "ibExecID": ""}
    trades, _, _ = await read(tmp_path, statement(*(_CHAIN[number] | nameless for number in order)))
    assert [_facts(trade) for trade in trades] == [("active", Decimal("10.4"), Decimal(1))]


async def test_a_cancel_known_by_its_code_alone_is_not_taken_for_a_trade(tmp_path: Path) -> None:
    file = statement(_ORIGINAL, _CANCEL, without=("transactionType", "buySell"))
    trades, reports, quarantined = await read(tmp_path, file)
    assert [trade.side.value for trade in trades] == ["buy"]
    assert reports[0].quarantined == len(quarantined) == 1
    assert "Transaction Type" in quarantined[0]["reason"]


async def test_a_number_that_can_not_be_kept_costs_its_own_row_only(tmp_path: Path) -> None:
    endless = _ORIGINAL | {"tradePrice": "1e999999999", "transactionID": "9", "tradeID": "9", "ibExecID": "c.d.01.01"}
    trades, reports, quarantined = await read(tmp_path, statement(_ORIGINAL, endless))
    assert len(trades) == 1
    assert reports[0].quarantined == len(quarantined) == 1
    assert reports[0].spans[0].covered


async def test_every_digit_of_quantity_and_commission_is_kept(tmp_path: Path) -> None:
    long = "1." + "1234567890" * 3 + "12"
    trades, _, _ = await read(tmp_path, statement(_ORIGINAL | {"quantity": long, "ibCommission": f"-{long}"}))
    assert trades[0].quantity == Decimal(long)
    assert trades[0].fees[0].amount == Decimal(long)


async def test_dates_of_trades_booked_late_do_not_decide_between_day_and_month(tmp_path: Path) -> None:
    from brokersync import BrokerConfigError

    late = {"dateTime": "03/02/2026;100000", "tradeDate": "03/02/2026"}
    file = statement(_ORIGINAL | late, without=("reportDate",)).replace(b"20260302", b"02/03/2026")
    with pytest.raises(BrokerConfigError, match="day"):
        await read(tmp_path, file.replace(b"20260306", b"06/03/2026"))


async def test_a_file_of_whoever_sells_the_same_service_holds_the_trades_of_the_one_broker(tmp_path: Path) -> None:
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        for label in ("captrader", "ibkr", "lynx"):
            report = await bs.import_statement(label, io.BytesIO(statement(_ORIGINAL)), owner="me")
            assert report.provider == "ibkr"
        assert [trade.provider async for trade in bs.trades("me")] == ["ibkr"]
