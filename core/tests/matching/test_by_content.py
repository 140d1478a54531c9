"""The traps of other journals, one table row each."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from brokersync.matching import Doubt, MatchRule, Verdict
from brokersync.types import Instrument, TradeEvent, TradeStatus

from .given import AT, BUY, SELL, answers, at, candidates, future, ids, only, row, stock, trade


def test_the_same_economics_at_the_same_second_are_likely_without_a_doubt() -> None:
    match = only(row(executed_at=AT + timedelta(milliseconds=7)), trade(executed_at=AT + timedelta(milliseconds=431)))
    assert (match.verdict, match.rule, match.doubts, ids(match)) == (Verdict.LIKELY, MatchRule.CONTENT, (), ["fill:1"])


def test_times_rounded_to_the_second_are_told_apart_by_all_of_the_rows() -> None:
    trades = [trade(f"fill:{n}", executed_at=AT + timedelta(milliseconds=700 + 900 * n)) for n in range(4)]
    rounded = [13, 14, 15, 15]  # of 12.7, 13.6, 14.5 and 15.4
    rows = [row(str(n), executed_at=AT.replace(second=second)) for n, second in enumerate(rounded)]
    assert [ids(match) for match in answers(rows, trades).values()] == [[one.trade.trade_id] for one in trades]


@pytest.mark.parametrize(
    ("trap", "of_row", "of_trade", "doubts"),
    [
        ("seconds cut off", {"executed_at": at("15:30:00")}, {}, {Doubt.MINUTES}),
        (
            "a time rounded to the second, as MySQL does",
            {"executed_at": at("15:30:13")},
            {"executed_at": AT + timedelta(milliseconds=700)},
            set(),
        ),
        ("local time taken for UTC", {"executed_at": at("10:30:12")}, {}, {Doubt.SHIFTED}),
        ("the same in summer", {"executed_at": at("11:30:12")}, {}, {Doubt.SHIFTED}),
        ("a zone of half hours", {"executed_at": at("21:00:12")}, {}, {Doubt.SHIFTED}),
        ("UTC taken for local time", {"executed_at": at("20:30:12")}, {}, {Doubt.SHIFTED}),
        ("both", {"executed_at": at("10:30:00")}, {}, {Doubt.SHIFTED, Doubt.MINUTES}),
        ("a date only", {"executed_at": date(2026, 3, 4)}, {}, {Doubt.DATE_ONLY}),
        (
            "the session's date, which is the next day's",
            {"executed_at": date(2026, 3, 5)},
            {"executed_at": at("23:30:12"), "trade_date": date(2026, 3, 5)},
            {Doubt.DATE_ONLY},
        ),
        (
            "the date of another zone",
            {"executed_at": date(2026, 3, 5)},
            {"executed_at": at("23:30:12")},
            {Doubt.DATE_ONLY, Doubt.SHIFTED},
        ),
        ("the broker tells a date only", {}, {"executed_at": date(2026, 3, 4)}, {Doubt.DATE_ONLY}),
        ("a price to the cent", {"price": "1.08"}, {"price": "1.0842"}, {Doubt.ROUNDED}),
        ("a price cut off", {"price": "1.08"}, {"price": "1.0899"}, {Doubt.ROUNDED}),
        ("a price in a wide column", {"price": "1.0800000"}, {"price": "1.0842"}, {Doubt.ROUNDED}),
        ("an average price", {"price": "5012.33"}, {"price": "5012.333333333333"}, {Doubt.ROUNDED}),
        ("a negative price", {"price": "-37.63"}, {"price": "-37.63"}, set()),
        ("a future without its month", {"symbol": "MES"}, {}, {Doubt.SYMBOL}),
        ("a continuous future", {"symbol": "CME_MINI:MES1!"}, {}, {Doubt.SYMBOL}),
        ("a future on its exchange", {"symbol": "MESH6.CME"}, {}, {Doubt.SYMBOL}),
        ("a year of two digits", {"symbol": "MESH26"}, {}, set()),
        ("a month in digits", {"symbol": "MES 03-26"}, {}, set()),
        ("a month by name", {"symbol": "MES MAR26"}, {}, set()),
        ("a slash before it", {"symbol": "/MESH26"}, {}, set()),
        ("a month at the row alone", {}, {"instrument": future("MES")}, {Doubt.SYMBOL}),
        ("a listing in the symbol", {"symbol": "AAPL.US"}, {"instrument": stock("AAPL")}, {Doubt.SYMBOL}),
        ("an exchange before it", {"symbol": "NASDAQ:AAPL"}, {"instrument": stock("AAPL")}, set()),
        ("a class of shares", {"symbol": "BRK.B"}, {"instrument": stock("BRK B")}, set()),
        ("a pair", {"symbol": "EUR/USD"}, {"instrument": stock("EUR.USD")}, set()),
        (
            "an ISIN",
            {"symbol": "US0378331005"},
            {"instrument": stock("AAPL", isin="US0378331005")},
            set(),
        ),
        (
            "the broker's number",
            {"symbol": "Apple", "instrument_ids": ("265598",)},
            {"instrument": stock("AAPL", broker_id="265598")},
            set(),
        ),
        (
            "spaces of an option",
            {"symbol": "AAPL261218C00150000"},
            {"instrument": stock("AAPL  261218C00150000")},
            set(),
        ),
        (
            "two digits of a year that the expiry tells",
            {"symbol": "MESH26"},
            {"instrument": future(expiry=date(2026, 3, 20))},
            set(),
        ),
        (
            "a contract that expires the year before",
            {"symbol": "CLF27"},
            {"instrument": future("CLF7", expiry=date(2026, 12, 18))},
            set(),
        ),
        ("no account", {"account_id": None}, {}, set()),
        ("a busted trade", {}, {"status": TradeStatus.CANCELLED}, {Doubt.CANCELLED}),
    ],
)
def test_what_journals_do_to_a_trade_is_tolerated_and_said(
    trap: str, of_row: dict[str, Any], of_trade: dict[str, Any], doubts: set[Doubt]
) -> None:
    match = only(row(**({"price": of_trade.get("price", "5012.25")} | of_row)), trade(**of_trade))
    assert (match.verdict, match.rule, ids(match)) == (Verdict.LIKELY, MatchRule.CONTENT, ["fill:1"]), trap
    assert set(match.doubts) == doubts


@pytest.mark.parametrize(
    ("what", "of_row", "of_trade"),
    [
        ("fees counted into the price", {"price": "5012.87"}, {}),
        ("a price with more digits", {"price": "5012.2501"}, {}),
        ("a minute later", {"executed_at": at("15:31:12")}, {}),
        ("an hour and a second", {"executed_at": at("16:30:13")}, {}),
        ("hours off, where the zone is certain", {"executed_at": at("10:30:12"), "zone_doubtful": False}, {}),
        ("further off than any zone", {"executed_at": at("15:30:12") - timedelta(hours=15)}, {}),
        ("a quarter of an hour, which is no zone", {"executed_at": at("15:45:12")}, {}),
        ("another side", {"side": SELL}, {}),
        ("a larger quantity", {"quantity": "3"}, {}),
        ("another month", {"symbol": "MESM6"}, {}),
        ("another decade", {"symbol": "MESH16"}, {"instrument": future(expiry=date(2026, 3, 20))}),
        ("another decade, by its symbol", {"symbol": "MESH16"}, {"instrument": future("MESH26")}),
        ("the large contract", {"symbol": "ESH6"}, {}),
        ("the root of the large contract", {"symbol": "ES"}, {}),
        ("two classes of shares", {"symbol": "BRK.A"}, {"instrument": stock("BRK.B")}),
        ("another account", {"account_id": "A2"}, {}),
        ("another environment", {"environment": "demo"}, {}),
        ("two days off", {"executed_at": date(2026, 3, 6)}, {}),
        ("the next day, where the zone is certain", {"executed_at": date(2026, 3, 5), "zone_doubtful": False}, {}),
    ],
)
def test_what_is_another_trade_is_new(what: str, of_row: dict[str, Any], of_trade: dict[str, Any]) -> None:
    match = only(row(**of_row), trade(**of_trade))
    assert (match.verdict, match.rule, match.trades, match.candidates) == (Verdict.NEW, MatchRule.NONE, (), ()), what


def test_nothing_in_the_store_makes_every_row_new() -> None:
    assert only(row()).verdict is Verdict.NEW


def test_two_equal_partial_fills_go_to_two_equal_rows() -> None:
    found = answers([row("b"), row("a")], [trade("fill:2"), trade("fill:1")])
    assert {name: ids(match) for name, match in found.items()} == {"a": ["fill:1"], "b": ["fill:2"]}


def test_milliseconds_tell_equal_fills_apart() -> None:
    moments = [AT + timedelta(milliseconds=n) for n in (100, 200, 300)]
    fills = [trade(f"fill:{n}", executed_at=moment) for n, moment in enumerate(moments)]
    found = answers([row("a", executed_at=moments[2]), row("b", executed_at=moments[0])], fills)
    assert {name: ids(match) for name, match in found.items()} == {"a": ["fill:2"], "b": ["fill:0"]}


@pytest.mark.parametrize(("rows", "fills"), [(1, 2), (2, 1), (3, 2), (2, 3)])
def test_where_equal_rows_and_equal_fills_differ_in_number_none_is_guessed(rows: int, fills: int) -> None:
    known = [trade(f"fill:{n}") for n in range(fills)]
    found = answers([row(f"r{n}") for n in range(rows)], known)
    for match in found.values():
        assert (match.verdict, match.trades) == (Verdict.LIKELY, ())
        assert candidates(match) == [one.trade.trade_id for one in known]
        assert Doubt.AMBIGUOUS in match.doubts


def test_a_row_that_is_there_twice_is_new_and_said_to_be_perhaps_a_double() -> None:
    found = answers([row("a", trade_ids=("1",)), row("b")], [trade("fill:1")])
    assert ids(found["a"]) == ["fill:1"]
    assert (found["b"].verdict, found["b"].rule, candidates(found["b"])) == (
        Verdict.NEW,
        MatchRule.TAKEN,
        ["fill:1"],
    )
    assert "row a" in found["b"].reason


def test_a_better_fit_has_the_trade() -> None:
    found = answers([row("a", executed_at=at("15:30:00")), row("b")], [trade()])
    assert (ids(found["b"]), found["a"].trades, found["a"].rule) == (["fill:1"], (), MatchRule.TAKEN)


def test_one_shift_that_explains_all_rows_stands_before_several() -> None:
    fills = [trade("fill:1", executed_at=at("14:03:00")), trade("fill:2", executed_at=at("15:03:00"))]
    rows = [row("a", executed_at=at("10:03:00")), row("b", executed_at=at("11:03:00"))]
    found = answers(rows, fills)
    assert {name: ids(match) for name, match in found.items()} == {"a": ["fill:1"], "b": ["fill:2"]}


def test_two_explanations_that_are_equally_good_are_left_open() -> None:
    fills = [trade("fill:1", executed_at=at("14:03:00")), trade("fill:2", executed_at=at("18:03:00"))]
    rows = [row("a", executed_at=at("10:03:00")), row("b", executed_at=at("14:03:00"))]
    found = answers(rows, fills)
    assert [found[name].trades for name in "ab"] == [(), ()]
    assert candidates(found["b"]) == ["fill:1", "fill:2"]


def test_a_row_of_an_order_without_its_id_is_found_by_the_sum_of_its_fills() -> None:
    fills = [
        trade("fill:1", order_id="9", quantity="1", price="5012"),
        trade("fill:2", order_id="9", quantity="2", price="5012.75", executed_at=AT + timedelta(seconds=40)),
    ]
    for moment in (AT, AT + timedelta(seconds=40), at("10:30:12"), at("15:30:00"), date(2026, 3, 4)):
        match = only(row(quantity="3", price="5012.5", executed_at=moment), *fills)
        assert (match.verdict, ids(match)) == (Verdict.LIKELY, ["fill:1", "fill:2"])
        assert Doubt.SUM in match.doubts


def test_fills_of_one_second_that_add_up_are_one_row() -> None:
    fills = [trade("fill:1", quantity="1"), trade("fill:2", quantity="2"), trade("fill:3", side=SELL)]
    match = only(row(quantity="3"), *fills)
    assert (match.verdict, ids(match)) == (Verdict.LIKELY, ["fill:1", "fill:2"])


def test_fills_that_do_not_add_up_are_not_chosen_from() -> None:
    fills = [trade(f"fill:{n}", quantity="1") for n in range(3)]
    match = only(row(quantity="2"), *fills)
    assert (match.verdict, match.trades) == (Verdict.NEW, ())


def test_a_sum_is_not_made_with_a_fill_that_has_a_row() -> None:
    fills = [trade("fill:1", quantity="1"), trade("fill:2", quantity="2")]
    found = answers([row("a", quantity="3"), row("b", quantity="1", trade_ids=("1",))], fills)
    assert (ids(found["b"]), found["a"].trades) == (["fill:1"], ())


ENTRY = trade("fill:1")
EXIT = trade("fill:2", side=SELL, price="5020", executed_at=at("16:00:00"))


def test_a_round_trip_stands_for_its_entry_and_its_exit() -> None:
    match = only(row(exit_price="5020", exited_at=at("16:00:00")), ENTRY, EXIT)
    assert (match.verdict, ids(match), match.doubts) == (Verdict.LIKELY, ["fill:1", "fill:2"], (Doubt.ROUND_TRIP,))
    assert "several fills" in match.reason


def test_a_short_round_trip_buys_at_its_end() -> None:
    match = only(
        row(side=SELL, price="5020", executed_at=at("16:00:00"), exit_price="5012.25", exited_at=AT), ENTRY, EXIT
    )
    assert ids(match) == ["fill:1", "fill:2"]


def test_a_round_trip_of_several_fills_names_them_all() -> None:
    exits = [
        trade(f"fill:{n}", side=SELL, quantity="1", price=price, order_id="8", executed_at=at("16:00:00"))
        for n, price in ((2, "5019"), (3, "5021"))
    ]
    match = only(row(exit_price="5020", exited_at=at("16:00:00")), ENTRY, *exits)
    assert ids(match) == ["fill:1", "fill:2", "fill:3"]


def test_half_a_round_trip_is_said_to_be_half() -> None:
    match = only(row(exit_price="5020", exited_at=at("16:00:00")), ENTRY)
    assert (match.verdict, ids(match)) == (Verdict.LIKELY, ["fill:1"])
    assert Doubt.HALF in match.doubts


def test_a_round_trip_of_nothing_we_know_is_new() -> None:
    match = only(row(exit_price="1", exited_at=at("16:00:00"), price="2"), ENTRY, EXIT)
    assert (match.verdict, match.trades) == (Verdict.NEW, ())


def test_a_part_of_a_fill_is_said_and_not_linked() -> None:
    match = only(row(quantity="1"), trade("fill:1", quantity="3"))
    assert (match.verdict, match.rule, match.trades) == (Verdict.LIKELY, MatchRule.PART, ())
    assert candidates(match) == ["fill:1"]
    assert "1 of 3" in match.reason


def test_a_fill_that_closes_one_round_trip_and_opens_the_next_is_said_of_both() -> None:
    flip = trade("fill:9", side=SELL, quantity="5", price="5020", executed_at=at("16:00:00"))
    closed = row("a", exit_price="5020", exited_at=at("16:00:00"))
    opened = row("b", side=SELL, quantity="3", price="5020", executed_at=at("16:00:00"))
    found = answers([closed, opened], [ENTRY, flip])
    assert (ids(found["a"]), candidates(found["a"])) == (["fill:1"], ["fill:9"])
    assert (ids(found["b"]), candidates(found["b"]), found["b"].rule) == ([], ["fill:9"], MatchRule.PART)


def test_a_round_trip_whose_exit_came_first_is_a_short_one_written_from_its_buy() -> None:
    sold = trade("fill:2", side=SELL, price="5020", executed_at=at("15:00:00"))
    match = only(row(exit_price="5020", exited_at=at("15:00:00")), ENTRY, sold)
    assert ids(match) == ["fill:1", "fill:2"]


def test_an_expiry_at_no_price_is_a_trade_like_any_other() -> None:
    expired = trade("tx:1", side=SELL, price="0", event=TradeEvent.EXPIRATION, executed_at=date(2026, 3, 4))
    match = only(row(side=SELL, price="0", executed_at=at("21:20:00")), expired)
    assert ids(match) == ["tx:1"]


def test_a_live_trade_stands_before_a_cancelled_one() -> None:
    match = only(row(), trade("fill:1", status=TradeStatus.CANCELLED), trade("fill:2"))
    assert ids(match) == ["fill:2"]


def test_an_instrument_that_says_its_root_is_found_by_it() -> None:
    known = Instrument(symbol="Micro S&P", asset_class=future().asset_class, underlying="MES")
    match = only(row(symbol="MES", side=BUY), trade(instrument=known))
    assert (ids(match), match.doubts) == (["fill:1"], (Doubt.SYMBOL,))
