"""Each kind of file that IBKR's users were seen to have is read by a test: the list is plugins/ibkr/tests/README.md."""

from __future__ import annotations

import ast
import json
import re
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from brokersync.plugin import AssetClass, FeesState, StatementHints, TimePrecision, TradeEvent, TradePage
from brokersync_ibkr.identity import split_execution_id
from brokersync_ibkr.statements import FlexStatementReader

from .test_flex_readings import _CANCEL, _ORIGINAL, read, statement

ROOT = Path(__file__).parents[2]
LIST = ROOT / "plugins" / "ibkr" / "tests" / "README.md"
SHARED = ROOT.parent / "shared"
REFERENCE = SHARED / "reference" / "ibkr.md"
WEB_API = SHARED / "samples" / "ibkr" / "webapi"


def _number(place: int, **changes: str) -> dict[str, str]:
    """A fill with ids of its own."""
    ids = {"tradeID": str(700 + place), "transactionID": str(9000 + place), "ibExecID": f"0000aa.{place:08x}.01.01"}
    return _ORIGINAL | ids | changes


_BOOKED = {"transactionType": "BookTrade", "ibExecID": "", "exchange": "--", "ibCommission": "0"}


def _option(place: int, **changes: str) -> dict[str, str]:
    contract = {
        "assetCategory": "OPT", "symbol": "ACME  260320C00012500", "conid": "21", "underlyingSymbol": "ACME",
        "underlyingConid": "11", "multiplier": "100", "strike": "12.5", "expiry": "20260320", "putCall": "C",
    }  # fmt: skip
    return _number(place, **contract | changes)


def _pages(body: bytes) -> list[TradePage]:
    reader = FlexStatementReader()
    reader.source(BytesIO(body), StatementHints())
    return list(reader.read_statement(BytesIO(body), StatementHints()))


def _costs(trade: Any) -> Decimal:
    return sum((fee.amount for fee in trade.fees), Decimal(0))


async def _trades(folder: Path, *files: bytes) -> dict[str, Any]:
    """The trades by what IBKR calls them; a row in quarantine fails the test."""
    trades, _, quarantined = await read(folder, *files)
    assert quarantined == []
    return {trade.trade_id: trade for trade in trades}


async def test_stocks_of_several_currencies_keep_theirs_and_that_of_their_commission(tmp_path: Path) -> None:
    told = {"USD": ("QRX", "USD"), "EUR": ("QRXD", "EUR"), "GBP": ("QRL", "EUR"), "CHF": ("QRS", "CHF")}
    rows = [
        _number(place, currency=currency, symbol=symbol, conid=str(place), ibCommissionCurrency=costs)
        for place, (currency, (symbol, costs)) in enumerate(told.items(), 1)
    ]
    trades = await _trades(tmp_path, statement(*rows))
    assert {
        one.instrument.currency: (one.instrument.symbol, *(fee.currency for fee in one.fees))
        for one in trades.values()
    } == told  # fmt: skip


async def test_a_fraction_is_paid_out_taken_back_and_paid_anew_under_dates_with_dashes(tmp_path: Path) -> None:
    nothing = {"tradeID": "", "ibExecID": "", "exchange": "--", "dateTime": "2026-03-02 20:25:00"}
    day = {"tradeDate": "2026-03-02", "reportDate": "2026-03-02"}
    paid = _number(1, **nothing, **day, transactionType="FracShare", buySell="SELL", quantity="-0.25", ibCommission="0")
    back = paid | {
        "transactionType": "FracShareCancel", "buySell": "SELL (Ca.)", "quantity": "0.25", "transactionID": "9002",
        "ibCommission": "0.287",
    }  # fmt: skip
    anew = paid | {"tradePrice": "11.5", "transactionID": "9003"}
    bought = _number(4, **day, dateTime="2026-03-02;100000")
    body = statement(paid, back, anew, bought)
    trades = await _trades(tmp_path, body.replace(b'"20260302" toDate="20260306"', b'"2026-03-02" toDate="2026-03-06"'))
    assert sorted((one.status.value, one.event, one.price, _costs(one)) for one in trades.values()) == [
        ("active", TradeEvent.CASH_IN_LIEU, Decimal("11.5"), 0),
        ("active", TradeEvent.EXECUTION, Decimal("10.5"), 1),
        ("cancelled", TradeEvent.CASH_IN_LIEU, Decimal("10.5"), Decimal("-0.287")),
    ]


async def test_futures_and_their_options_in_euro_and_pound_keep_multiplier_and_month(tmp_path: Path) -> None:
    future = _number(1, assetCategory="FUT", symbol="QDX MAR 26", conid="31", currency="EUR", multiplier="25",
                     expiry="20260320", netCash="-812.4", ibCommission="-2.4", ibCommissionCurrency="EUR")  # fmt: skip
    option = _number(2, assetCategory="FOP", symbol="QL1H6 C8000", conid="32", currency="GBP", multiplier="10",
                     underlyingSymbol="QL1H6", underlyingConid="33", strike="8000", expiry="20260320", putCall="C",
                     netCash="-1051.7", ibCommission="-1.7", ibCommissionCurrency="GBP")  # fmt: skip
    trades = await _trades(tmp_path, statement(future, option))
    kept = {one.instrument.asset_class: one for one in trades.values()}
    assert {name: one.instrument.multiplier for name, one in kept.items()} == {
        AssetClass.FUTURE: 25,
        AssetClass.FUTURE_OPTION: 10,
    }
    assert {one.instrument.expiry.isoformat() for one in trades.values()} == {"2026-03-20"}
    assert [fee.currency for one in trades.values() for fee in one.fees] == ["EUR", "GBP"]
    # what IBKR calls the net cash of a future is its variation margin
    assert kept[AssetClass.FUTURE].net_cash is None


async def test_options_are_opened_closed_expired_and_exercised_and_a_rebate_lowers_a_chains_cost(
    tmp_path: Path,
) -> None:
    close = {"buySell": "SELL", "quantity": "-1", "openCloseIndicator": "C"}
    at_the_end = {"dateTime": "20260320;162000", "tradeDate": "20260320", "reportDate": "20260320"}
    chain = [
        _option(5, conid="25", quantity="2", ibCommission="-1.4"),
        _option(5, conid="25", transactionID="9051", transactionType="TradeCancel", buySell="BUY (Ca.)", quantity="-2",
                tradeID="", origTradeID="705", origTransactionID="9005", ibExecID="", notes="Ca", ibCommission="0"),
        _option(5, conid="25", transactionID="9052", ibExecID="0000aa.00000005.01.02", quantity="1",
                ibCommission="0.35"),
    ]  # fmt: skip
    rows = [
        _option(1, quantity="3", openCloseIndicator="O"),
        _option(2, **close),
        _option(3, **close | at_the_end | _BOOKED, tradePrice="0", notes="Ep"),
        _option(4, **close | at_the_end | _BOOKED, tradePrice="0", notes="Ex"),
        _number(6, **at_the_end | _BOOKED, tradePrice="12.5", notes="Ex"),
        *chain,
    ]
    trades = await _trades(tmp_path, statement(*rows))
    assert [trades[f"trade:70{place}"].event for place in (3, 4, 6)] == [
        TradeEvent.EXPIRATION,
        TradeEvent.EXERCISE,
        TradeEvent.EXERCISE,
    ]
    assert [trades[f"exec:0000aa.0000000{place}.01"].position_effect.value for place in (1, 2)] == ["open", "close"]
    assert trades["trade:704"].related == ("trade:706",)
    rebooked = trades["exec:0000aa.00000005.01"]
    assert (rebooked.quantity, _costs(rebooked)) == (1, Decimal("1.05"))


async def test_a_currency_trade_is_booked_anew_with_another_size_and_an_automatic_one_is_marked(tmp_path: Path) -> None:
    pair = {"assetCategory": "CASH", "symbol": "EUR.CZK", "conid": "41", "currency": "CZK", "netCash": "0"}
    sold = {"buySell": "SELL", "quantity": "-1200.5", "tradePrice": "25.3", "ibCommissionCurrency": "EUR"}
    rows = [
        _number(1, **pair, **sold, ibCommission="-2"),
        _CANCEL | pair | {"buySell": "SELL (Ca.)", "quantity": "1200.5", "tradePrice": "25.3", "origTradeID": "701",
                          "origTransactionID": "9001", "ibCommission": "0", "ibCommissionCurrency": "EUR"},
        _number(1, **pair, **sold | {"quantity": "-1203.25", "tradePrice": "25.2"}, ibCommission="0.5",
                transactionID="9003", ibExecID="0000aa.00000001.01.02"),
        _number(2, **pair, **sold | {"quantity": "-3"}, ibExecID="CUSTHSFX.0000aa01.01.01", notes="AFx"),
    ]  # fmt: skip
    trades = await _trades(tmp_path, statement(*rows))
    anew, automatic = trades.pop("exec:0000aa.00000001.01"), trades.pop("exec:CUSTHSFX.0000aa01.01")
    assert trades == {}
    assert (anew.quantity, anew.price, _costs(anew)) == (Decimal("1203.25"), Decimal("25.2"), Decimal("1.5"))
    assert anew.net_cash is None
    assert "auto_fx" in automatic.tags


@pytest.mark.parametrize("cancel_first", [False, True])
async def test_a_cancel_that_is_booked_days_later_leaves_a_cost_and_no_position(
    tmp_path: Path, cancel_first: bool
) -> None:
    bought = statement(_number(1, ibCommission="-2.4"))
    later = statement(
        _CANCEL | {"origTradeID": "701", "origTransactionID": "9001", "reportDate": "20260305", "ibCommission": "0"}
    ).replace(b'"20260302" toDate', b'"20260305" toDate')
    [trade] = (await _trades(tmp_path, *([later, bought] if cancel_first else [bought, later]))).values()
    assert (trade.status.value, _costs(trade)) == ("cancelled", Decimal("2.4"))


def test_rows_without_their_level_and_type_are_trades() -> None:
    [page] = _pages(statement(_number(1), _number(2), without=("levelOfDetail", "transactionType")))
    assert [booking.trade.event for booking in page.bookings if booking.trade] == [TradeEvent.EXECUTION] * 2


def test_confirmations_with_a_zone_behind_their_times_beside_orders_of_several_days() -> None:
    fills = [_number(place, dateTime="2026-03-09;11:08:05 EDT", tradeDate="2026-03-09") for place in (1, 2)]
    order = _number(3, dateTime="MULTI", tradeDate="MULTI", levelOfDetail="ORDER", ibExecID="")
    body = statement(*fills, order, confirmations=True)
    cut = body.rindex(b"<TradeConfirm ")
    body = body[:cut] + body[cut:].replace(b"<TradeConfirm ", b"<Order ", 1)
    [page] = _pages(body)
    assert [booking.trade.executed_at.isoformat() for booking in page.bookings if booking.trade] == [
        "2026-03-09T15:08:05+00:00"
    ] * 2
    assert page.skipped == {"Order": 1}


def test_confirmed_options_of_the_day_tell_what_they_open_among_their_codes() -> None:
    [page] = _pages(statement(_option(1, notes="O;P"), _option(2, notes="C"), confirmations=True))
    told = [booking.trade for booking in page.bookings if booking.trade]
    assert [(one.position_effect.value, one.tags, one.fees_state) for one in told] == [
        ("open", ("partial",), FeesState.ESTIMATED),
        ("close", (), FeesState.ESTIMATED),
    ]


def test_a_trade_date_alone_is_a_trade_of_its_day() -> None:
    [page] = _pages(statement(_number(1, orderTime="20260302;093000"), without=("dateTime",)))
    [booking] = page.bookings
    assert booking.trade is not None
    assert (booking.trade.time_precision, booking.trade.executed_at.isoformat()) == (
        TimePrecision.DAY,
        "2026-03-02T05:00:00+00:00",
    )


def test_thousands_of_exchange_rates_beside_the_trades_change_nothing() -> None:
    alone = statement(_number(1))
    rates = "".join(
        f'<ConversionRate reportDate="20260302" fromCurrency="C{place}" toCurrency="EUR" rate="1.1" />'
        for place in range(9_000)
    )
    beside = alone.replace(b"</Trades>", f"</Trades><ConversionRates>{rates}</ConversionRates>".encode())
    before = alone.replace(b"<Trades>", f"<ConversionRates>{rates}</ConversionRates><Trades>".encode())
    [plain] = _pages(alone)
    assert _pages(beside) == _pages(before) == [plain]


def test_the_web_apis_execution_ids_are_those_of_flex() -> None:
    [page] = _pages(statement(_number(1, ibExecID="00018f00.67890a01.01.02")))
    base, revision = split_execution_id("00018f00.67890a01.01.02")
    assert page.bookings[0].refs == (f"exec:{base}",)
    assert revision == 2


@pytest.mark.skipif(not WEB_API.is_dir(), reason="other people's samples do not lie beside the project")
def test_each_execution_id_that_the_web_api_was_seen_to_tell_has_its_revision_behind() -> None:
    told = json.loads((WEB_API / "conduit-Orders-GET-trades.json").read_text())["Response"]["Body"]
    assert told
    for one in told:
        base, revision = split_execution_id(one["execution_id"])
        assert (base.count("."), revision) == (2, 1)


def _table(number: int) -> list[list[str]]:
    """The cells of a table of the list, without its head."""
    tables = re.findall(r"(?:^\|.*\n)+", LIST.read_text(), re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in tables[number].splitlines()[2:]]


def _tests() -> set[str]:
    files = [file for folder in (LIST.parent, Path(__file__).parent) for file in folder.glob("test_*.py")]
    nodes = [node for file in files for node in ast.parse(file.read_text()).body]
    return {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


@pytest.mark.parametrize(("number", "lines"), [(0, 20), (1, 6)])
def test_each_line_of_the_list_has_tests_that_are_there(number: int, lines: int) -> None:
    told = [re.findall(r"`(\w+)`", cells[-1]) for cells in _table(number)]
    assert len(told) == lines
    assert all(told)
    assert {name for names in told for name in names} - _tests() == set()


@pytest.mark.skipif(not REFERENCE.is_file(), reason="the facts that were collected do not lie beside the project")
def test_the_list_has_a_line_for_each_of_the_facts_that_were_collected() -> None:
    section = REFERENCE.read_text().partition("\n## 10.")[2].partition("\n## 11.")[0]
    theirs = [row.strip("| ").rpartition("|")[2] for row in section.splitlines() if row.startswith("| ")][1:]
    for ours, files in zip(_table(0), theirs, strict=True):
        assert all(name in files for name in ours[1].split(", ")), ours[0]
