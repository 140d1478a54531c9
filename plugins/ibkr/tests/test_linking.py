from __future__ import annotations

from typing import Any

import pytest

LEG = {
    "transactionType": "BookTrade",
    "ibExecID": "",
    "notes": "Ex",
    "dateTime": "20240621;162000",
    "ibCommission": "0",
}
OPTION = LEG | {
    "assetCategory": "OPT",
    "symbol": "QRX   240621C00015000",
    "conid": "70010002",
    "underlyingConid": "70010001",
    "underlyingSymbol": "QRX",
    "multiplier": "100",
    "strike": "15",
    "expiry": "20240621",
    "putCall": "C",
    "buySell": "SELL",
    "quantity": "-2",
    "tradePrice": "0",
}
STOCK = LEG | {"quantity": "200", "tradePrice": "15"}


def related(flex: Any, *rows: str) -> dict[str, tuple[str, ...]]:
    return {booking.trade.trade_id: booking.trade.related for booking in flex.bookings(*rows)}


@pytest.mark.parametrize("notes", ["Ex", "A", "AEx"])
def test_an_option_and_what_it_delivered_name_each_other(flex: Any, notes: str) -> None:
    found = related(
        flex, flex.trade(1, **(OPTION | {"notes": notes})), flex.trade(5), flex.trade(2, **(STOCK | {"notes": notes}))
    )
    assert found["trade:500101"] == ("trade:500102",)
    assert found["trade:500102"] == ("trade:500101",)
    assert sorted(found.values()) == [(), ("trade:500101",), ("trade:500102",)]


def test_the_symbol_links_where_the_option_names_no_contract(flex: Any) -> None:
    option = OPTION | {"underlyingConid": None}
    assert related(flex, flex.trade(2, **STOCK), flex.trade(1, **option))["trade:500101"] == ("trade:500102",)


def test_an_option_on_a_future_delivers_the_future(flex: Any) -> None:
    option = OPTION | {"assetCategory": "FOP", "multiplier": "50"}
    future = STOCK | {"assetCategory": "FUT", "multiplier": "50", "quantity": "2"}
    assert related(flex, flex.trade(1, **option), flex.trade(2, **future))["trade:500102"] == ("trade:500101",)


@pytest.mark.parametrize(
    "change",
    [
        {"dateTime": "20240621;162001"},
        {"quantity": "100"},
        {"tradePrice": "15.5"},
        {"conid": "70019999"},
        {"accountId": "U4711002"},
        {"notes": ""},
    ],
)
def test_what_differs_in_anything_is_not_linked(flex: Any, change: dict[str, str]) -> None:
    found = related(flex, flex.trade(1, **OPTION), flex.trade(2, **(STOCK | change)))
    assert set(found.values()) == {()}


def test_where_two_fit_none_is_linked(flex: Any) -> None:
    found = related(flex, flex.trade(1, **OPTION), flex.trade(2, **STOCK), flex.trade(3, **STOCK))
    assert set(found.values()) == {()}


def test_an_option_settled_in_cash_stays_alone(flex: Any) -> None:
    assert related(flex, flex.trade(1, **OPTION)) == {"trade:500101": ()}


def test_every_leg_is_told_once_however_many_there_are(flex: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokersync_ibkr.pages._MOST_LEGS", 3)
    rows = [flex.trade(number, **OPTION) for number in range(1, 11)]
    assert len(related(flex, *rows)) == 10
