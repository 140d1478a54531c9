from __future__ import annotations

from datetime import timedelta

import pytest

from brokersync.matching import Doubt, Match, MatchRule, NamedTrade, Verdict
from brokersync.types import TradeStatus

from .given import AT, BUY, SELL, answers, at, candidates, future, ids, only, row, trade

ORDER = [
    trade("fill:1", order_id="9", quantity="1", price="5012"),
    trade("fill:2", order_id="9", quantity="2", price="5012.75", executed_at=at("15:30:40")),
]


def _order(**facts: object) -> Match:
    return only(row(order_id="9", quantity="3", executed_at=at("00:00:00"), **facts), *ORDER)


def test_a_row_of_a_whole_order_is_its_fills() -> None:
    match = _order(price="5012.5")
    assert (match.verdict, match.rule, ids(match)) == (Verdict.SAME, MatchRule.ORDER_ID, ["fill:1", "fill:2"])


def test_a_row_of_a_whole_order_may_have_rounded_its_average_price() -> None:
    third = only(
        row(order_id="9", quantity="3", price="5012.42"),
        trade("fill:1", order_id="9", quantity="1"),
        trade("fill:2", order_id="9", quantity="2", price="5012.5"),
    )
    assert (third.verdict, ids(third)) == (Verdict.SAME, ["fill:1", "fill:2"])


def test_a_row_of_a_whole_order_at_another_price_is_likely() -> None:
    match = _order(price="5019")
    assert (match.verdict, ids(match), match.doubts) == (
        Verdict.LIKELY,
        ["fill:1", "fill:2"],
        (Doubt.PRICE, Doubt.SUM),
    )


def test_a_row_of_an_order_is_not_taken_for_a_part_of_its_quantity() -> None:
    assert only(row(order_id="9", quantity="5", price="5012.5"), *ORDER).trades == ()


def test_equal_fills_of_an_order_go_to_equal_rows() -> None:
    twins = [trade("fill:1", order_id="9"), trade("fill:2", order_id="9")]
    found = answers([row("b", order_id="9"), row("a", order_id="9")], twins)
    assert {name: (match.verdict, ids(match)) for name, match in found.items()} == {
        "a": (Verdict.SAME, ["fill:1"]),
        "b": (Verdict.SAME, ["fill:2"]),
    }


def test_an_order_of_another_instrument_is_none() -> None:
    other = trade("fill:1", order_id="9", instrument=future("CLF7"))
    assert only(row(order_id="9"), other).verdict is Verdict.NEW


def _filled(*fills: tuple[str, str], first: int = 1, **facts: object) -> list[NamedTrade]:
    """Fills of one order, by quantity and price, some seconds apart."""
    return [
        trade(
            f"fill:{n}",
            order_id="9",
            quantity=quantity,
            price=price,
            executed_at=AT + timedelta(seconds=7 * n),
            **facts,
        )
        for n, (quantity, price) in enumerate(fills, first)
    ]


SPREAD = [
    *_filled(("1", "10"), ("2", "10")),
    *_filled(("1", "7"), ("2", "7"), first=3, side=SELL, instrument=future("CLF7")),
]


@pytest.mark.parametrize("order_id", ["9", None])
def test_each_leg_of_a_spread_order_is_the_fills_of_its_instrument(order_id: str | None) -> None:
    when = {"executed_at": AT + timedelta(seconds=7)}
    bought = row("a", quantity="3", price="10", order_id=order_id, **when)
    when = {"executed_at": AT + timedelta(seconds=21)}
    sold = row("b", side=SELL, symbol="CLF7", quantity="3", price="7", order_id=order_id, **when)
    found = answers([bought, sold], SPREAD)
    assert {name: ids(match) for name, match in found.items()} == {"a": ["fill:1", "fill:2"], "b": ["fill:3", "fill:4"]}
    assert {match.verdict for match in found.values()} == {Verdict.SAME if order_id else Verdict.LIKELY}


def test_both_months_of_one_order_are_told_apart_by_the_symbol() -> None:
    fills = [trade("fill:1", order_id="9"), trade("fill:2", order_id="9", instrument=future("MESM6"))]
    found = answers([row("a", order_id="9"), row("b", order_id="9", symbol="MESM26")], fills)
    assert {name: (match.verdict, ids(match)) for name, match in found.items()} == {
        "a": (Verdict.SAME, ["fill:1"]),
        "b": (Verdict.SAME, ["fill:2"]),
    }


def test_another_month_than_that_of_its_order_is_not_the_same() -> None:
    assert only(row(order_id="9", symbol="MESM6"), trade(order_id="9")).trades == ()


def test_what_an_order_bought_and_sold_are_two_rows() -> None:
    fills = [*_filled(("1", "10"), ("2", "10")), *_filled(("1", "7"), ("2", "7"), first=3, side=SELL)]
    rows = [
        row("a", order_id="9", quantity="3", price="10"),
        row("b", order_id="9", side=SELL, quantity="3", price="7"),
    ]
    found = answers(rows, fills)
    assert {name: ids(match) for name, match in found.items()} == {"a": ["fill:1", "fill:2"], "b": ["fill:3", "fill:4"]}
    assert {match.verdict for match in found.values()} == {Verdict.SAME}


@pytest.mark.parametrize("order_id", ["9", None])
def test_a_row_for_each_price_of_an_order_is_the_fills_at_that_price(order_id: str | None) -> None:
    fills = _filled(("1", "10"), ("2", "10"), ("1", "10.5"), ("2", "10.5"))
    rows = [
        row(name, order_id=order_id, quantity="3", price=price, executed_at=AT + timedelta(seconds=seconds))
        for name, price, seconds in (("a", "10", 7), ("b", "10.5", 21))
    ]
    found = answers(rows, fills)
    assert {name: ids(match) for name, match in found.items()} == {"a": ["fill:1", "fill:2"], "b": ["fill:3", "fill:4"]}


def test_a_price_of_an_order_is_not_rounded_to_what_another_fill_of_it_has() -> None:
    fills = _filled(("3", "10"), ("3", "10.5"), ("3", "10"))
    rows = [row("a", order_id="9", quantity="3", price="10"), row("b", quantity="3", price="10.5")]
    assert answers(rows, fills)["a"].trades == ()


@pytest.mark.parametrize("order_id", ["9", None])
def test_what_other_rows_leave_of_an_order_is_one_row(order_id: str | None) -> None:
    fills = _filled(("1", "10"), ("2", "10"), ("1", "10.5"), ("2", "10.5"))
    first = row("a", order_id=order_id, quantity="1", price="10", executed_at=AT + timedelta(seconds=7))
    rest = row("b", order_id=order_id, quantity="5", price="10.3", executed_at=AT + timedelta(seconds=14))
    found = answers([first, rest], fills)
    assert {name: ids(match) for name, match in found.items()} == {"a": ["fill:1"], "b": ["fill:2", "fill:3", "fill:4"]}


def test_a_row_of_an_order_that_its_fills_do_not_add_up_to_is_said_and_not_linked() -> None:
    busted = trade("fill:3", order_id="9", quantity="2", status=TradeStatus.CANCELLED)
    match = only(row(order_id="9", quantity="5", price="5012.5"), *ORDER, busted)
    assert (match.verdict, match.rule, match.trades) == (Verdict.LIKELY, MatchRule.ORDER_ID, ())
    assert candidates(match) == ["fill:1", "fill:2"]
    assert match.doubts == (Doubt.QUANTITY, Doubt.AMBIGUOUS)
    assert "says quantity 5 where the broker says 3" in match.reason


def test_an_order_all_of_whose_fills_have_a_row_leaves_none_open() -> None:
    found = answers([row("a", order_id="9", trade_ids=("1", "2"), quantity="3"), row("b", order_id="9")], ORDER)
    assert (found["b"].verdict, found["b"].candidates) == (Verdict.NEW, ())


@pytest.mark.parametrize("fills", [ORDER, [trade("fill:1", order_id="9", quantity="3", price="5012.5")]])
def test_a_row_of_an_order_on_another_day_is_likely(fills: list[NamedTrade]) -> None:
    match = only(row(order_id="9", quantity="3", price="5012.5", executed_at=at("2027-03-04T15:30:12")), *fills)
    assert (match.verdict, len(match.trades)) == (Verdict.LIKELY, len(fills))
    assert Doubt.DAY in match.doubts
    assert "says 2027-03-04 where the broker says 2026-03-04" in match.reason


def test_an_order_whose_number_was_given_twice_is_the_row_of_its_day() -> None:
    rows = [row("a", order_id="9", executed_at=at("2025-03-04T15:30:12")), row("b", order_id="9")]
    found = answers(rows, [trade(order_id="9")])
    assert (found["a"].trades, found["b"].verdict, ids(found["b"])) == ((), Verdict.SAME, ["fill:1"])


def test_another_row_of_an_order_on_another_day_is_none_of_it() -> None:
    match = only(row(order_id="9", quantity="5", executed_at=at("2027-03-04T15:30:12"), side=BUY), *ORDER)
    assert match.verdict is Verdict.NEW
