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
    """Which rows each row looks for, by what the rows say themselves."""
    bookings = flex.bookings(*rows)
    return {
        one.trade.trade_id: tuple(
            other.trade.trade_id
            for other in bookings
            if set(one.trade.related).intersection(other.loose_refs) - set(other.trade.related)
            and other.account_id == one.account_id
        )
        for one in bookings
    }


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


def test_a_row_says_the_same_of_itself_whatever_stands_beside_it(flex: Any) -> None:
    alone = [flex.bookings(row)[0] for row in (flex.trade(1, **OPTION), flex.trade(2, **STOCK))]
    assert flex.bookings(flex.trade(1, **OPTION), flex.trade(2, **STOCK)) == alone


def test_names_that_are_looked_for_are_the_rows_own_loose_names_and_join_it_to_nothing_by_themselves(flex: Any) -> None:
    for leg in flex.bookings(flex.trade(1, **OPTION), flex.trade(2, **STOCK)):
        assert leg.trade.related
        assert set(leg.trade.related) < set(leg.loose_refs)
        assert not set(leg.loose_refs).intersection(leg.names)


def test_an_option_without_a_strike_looks_for_nothing(flex: Any) -> None:
    [leg] = flex.bookings(flex.trade(1, **(OPTION | {"strike": None})))
    assert (leg.trade.related, leg.loose_refs) == ((), ())
