from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from brokersync.matching import Doubt, Match, MatchRule, NamedTrade, TradeKey, Verdict
from brokersync.types import TradeStatus

from .given import AT, SELL, answers, at, candidates, future, ids, only, row, trade


@pytest.mark.parametrize("kept", ["fill:1", "1", "exec:0a.1", "0a.1", "tx:77", "77"])
def test_an_id_of_the_trade_or_of_a_booking_is_the_same(kept: str) -> None:
    match = only(row(trade_ids=(kept,)), trade(names=("exec:0a.1", "tx:77")))
    assert (match.verdict, match.rule, match.doubts) == (Verdict.SAME, MatchRule.BROKER_ID, ())
    assert match.trades == (TradeKey("acme", "live", "A1", "fill:1"),)


def test_an_id_stands_before_content_that_fits_another_trade() -> None:
    match = only(row(trade_ids=("2",)), trade("fill:1"), trade("fill:2", price="5013"))
    assert ids(match) == ["fill:2"]


def test_an_id_means_the_trade_that_has_it_before_one_that_has_only_a_booking_of_that_name() -> None:
    match = only(row(trade_ids=("7",)), trade("fill:7"), trade("fill:8", names=("tx:7",)))
    assert (match.verdict, ids(match)) == (Verdict.SAME, ["fill:7"])


def test_one_id_over_two_executions_is_settled_by_what_else_agrees() -> None:
    shared = [trade("exec:1", names=("trade:7",)), trade("exec:2", names=("trade:7",), quantity="3")]
    assert ids(only(row(trade_ids=("7",)), *shared)) == ["exec:1"]


def test_one_id_over_two_executions_is_left_open_where_nothing_settles_it() -> None:
    shared = [trade("exec:1", names=("trade:7",)), trade("exec:2", names=("trade:7",))]
    match = only(row(trade_ids=("7",)), *shared)
    assert (match.verdict, match.trades, candidates(match)) == (Verdict.LIKELY, (), ["exec:1", "exec:2"])
    assert Doubt.AMBIGUOUS in match.doubts


def test_an_id_is_one_of_its_account() -> None:
    match = only(row(trade_ids=("1",), account_id="A2"), trade("fill:1"))
    assert match.verdict is Verdict.NEW


def test_a_row_without_an_account_may_be_of_any_and_two_are_said_to_be_two() -> None:
    live, demo = trade("fill:1"), trade("fill:1", environment="demo")
    either = only(row(trade_ids=("1",), account_id=None), live, demo)
    assert (either.trades, len(either.candidates)) == ((), 2)
    one = only(row(trade_ids=("1",), account_id=None, environment="demo"), live, demo)
    assert [key.environment for key in one.trades] == ["demo"]


def test_an_id_of_another_broker_is_none() -> None:
    assert only(row(trade_ids=("1",), provider="other"), trade("fill:1")).verdict is Verdict.NEW


def test_an_id_whose_trade_is_of_another_side_and_instrument_is_said() -> None:
    match = only(row(trade_ids=("1",), side=SELL, symbol="CLF7"), trade("fill:1"))
    assert (match.verdict, ids(match)) == (Verdict.LIKELY, ["fill:1"])
    assert match.doubts == (Doubt.SIDE, Doubt.SYMBOL)
    assert "sell" in match.reason
    assert "CLF7" in match.reason


def test_a_cancelled_trade_is_found_by_its_id_and_said_to_be_cancelled() -> None:
    match = only(row(trade_ids=("1",)), trade("fill:1", status=TradeStatus.CANCELLED))
    assert match.verdict is Verdict.SAME
    assert "cancelled" in match.reason


def test_two_rows_with_one_id_are_not_both_linked() -> None:
    found = answers([row("a", trade_ids=("1",)), row("b", trade_ids=("1",))], [trade("fill:1")])
    assert [(found[name].verdict, found[name].trades, candidates(found[name])) for name in "ab"] == [
        (Verdict.LIKELY, (), ["fill:1"])
    ] * 2


def test_of_two_rows_with_one_id_that_which_agrees_in_all_has_it() -> None:
    found = answers([row("a", trade_ids=("1",), price="9"), row("b", trade_ids=("1",))], [trade("fill:1")])
    assert (found["a"].trades, candidates(found["a"]), ids(found["b"])) == ((), ["fill:1"], ["fill:1"])
    assert "row b" in found["a"].reason


def test_a_row_that_kept_the_ids_of_all_its_fills_stands_for_them() -> None:
    match = only(row(trade_ids=("1", "2"), quantity="4"), trade("fill:1"), trade("fill:2"), trade("fill:3"))
    assert (match.verdict, ids(match)) == (Verdict.SAME, ["fill:1", "fill:2"])
    assert Doubt.SUM in match.doubts


def test_a_row_that_kept_one_id_of_a_whole_order_stands_for_all_its_fills() -> None:
    fills = [trade(f"fill:{n}", order_id="9", quantity=str(n)) for n in (1, 2)]
    match = only(row(trade_ids=("1",), quantity="3"), *fills)
    assert (match.verdict, ids(match), match.doubts) == (Verdict.SAME, ["fill:1", "fill:2"], (Doubt.SUM,))
    assert "fill:2" in match.reason


def test_a_fill_of_the_order_that_another_row_has_stays_with_it() -> None:
    fills = [trade(f"fill:{n}", order_id="9", quantity=str(n)) for n in (1, 2)]
    found = answers([row("a", trade_ids=("1",), quantity="3"), row("b", trade_ids=("2",))], fills)
    assert {name: ids(match) for name, match in found.items()} == {"a": ["fill:1"], "b": ["fill:2"]}


def test_a_rest_of_an_order_that_two_rows_could_have_goes_to_neither() -> None:
    fills = [trade(f"fill:{n}", order_id="9", quantity="1") for n in (1, 2, 3)]
    found = answers([row("a", trade_ids=("1",)), row("b", trade_ids=("2",))], fills)
    assert {name: ids(match) for name, match in found.items()} == {"a": ["fill:1"], "b": ["fill:2"]}


def test_a_quantity_that_is_no_sum_of_the_order_leaves_the_other_fills_alone() -> None:
    fills = [trade(f"fill:{n}", order_id="9", quantity=str(n)) for n in (1, 2)]
    assert ids(only(row(trade_ids=("1",), quantity="7"), *fills)) == ["fill:1"]


def _doubts(*trades: NamedTrade, kept: tuple[str, ...] = ("1",), **facts: object) -> Match:
    match = only(row(trade_ids=kept, **facts), *trades)
    assert (match.verdict, match.rule) == (Verdict.LIKELY, MatchRule.BROKER_ID)
    return match


@pytest.mark.parametrize("quantity", ["0.1", "3"])
def test_another_quantity_than_that_of_its_id_is_said(quantity: str) -> None:
    match = _doubts(trade("fill:1"), quantity=quantity)
    assert (ids(match), match.doubts, match.candidates) == (["fill:1"], (Doubt.QUANTITY,), ())
    assert f"says quantity {quantity} where the broker says 2" in match.reason


def test_another_price_than_that_of_its_id_is_said_but_for_rounding() -> None:
    match = _doubts(trade("fill:1"), price="99")
    assert (ids(match), match.doubts) == (["fill:1"], (Doubt.PRICE,))
    assert "says price 99 where the broker says 5012.25" in match.reason
    assert only(row(trade_ids=("1",), price="5012.3"), trade("fill:1")).verdict is Verdict.SAME


def test_another_day_than_that_of_its_id_is_said_but_for_time_zones() -> None:
    match = _doubts(trade("fill:1"), executed_at=at("2025-05-08T15:30:12"))
    assert (ids(match), match.doubts) == (["fill:1"], (Doubt.DAY,))
    assert "says 2025-05-08 where the broker says 2026-03-04" in match.reason
    assert only(row(trade_ids=("1",), executed_at=at("2026-03-05T05:00:00")), trade("fill:1")).verdict is Verdict.SAME


def test_ids_that_do_not_add_up_to_the_quantity_are_said() -> None:
    match = _doubts(trade("fill:1"), trade("fill:2"), kept=("1", "2"), quantity="5")
    assert (ids(match), match.doubts) == (["fill:1", "fill:2"], (Doubt.QUANTITY, Doubt.SUM))


def test_of_several_ids_one_of_another_side_is_said() -> None:
    match = _doubts(trade("fill:1"), trade("fill:2", side=SELL), kept=("1", "2"), quantity="4")
    assert match.doubts == (Doubt.SIDE, Doubt.SUM)
    assert "says buy where the broker says sell" in match.reason


def _filled(*seconds: int, **facts: object) -> list[NamedTrade]:
    return [trade(f"fill:{n}", executed_at=AT + timedelta(seconds=s), **facts) for n, s in enumerate(seconds, 1)]


def test_a_row_with_one_id_and_the_quantity_of_several_fills_looks_like_a_sum() -> None:
    match = _doubts(*_filled(0, 60, 120), quantity="6")
    assert (ids(match), match.doubts) == (["fill:1"], (Doubt.QUANTITY, Doubt.SUM))
    assert candidates(match) == ["fill:2", "fill:3"]
    assert "looks like a sum" in match.reason


def test_what_looks_like_a_sum_may_begin_before_the_fill_whose_id_is_kept() -> None:
    assert candidates(_doubts(*_filled(0, 60, -5), quantity="4")) == ["fill:3"]


def test_fills_of_its_order_look_like_its_sum_before_nearer_ones() -> None:
    fills = [
        trade("fill:1", order_id="9"),
        trade("fill:2", executed_at=at("15:30:13")),
        trade("fill:3", order_id="9", executed_at=at("15:31:00")),
        trade("fill:4", order_id="9", executed_at=at("15:50:00")),
    ]
    assert candidates(_doubts(*fills, quantity="4")) == ["fill:3"]


@pytest.mark.parametrize(
    "other",
    [
        {"side": SELL},
        {"instrument": future("CLF7")},
        {"account_id": "A2"},
        {"status": TradeStatus.CANCELLED},
        {"executed_at": at("2026-03-06T15:30:12")},
    ],
)
def test_what_is_of_something_else_looks_like_no_sum(other: dict[str, object]) -> None:
    match = _doubts(trade("fill:1"), trade("fill:2", **other), quantity="4")
    assert (match.doubts, match.candidates) == ((Doubt.QUANTITY,), ())


def test_a_fill_that_another_row_has_looks_like_no_part_of_a_sum() -> None:
    found = answers([row("a", trade_ids=("1",), quantity="4"), row("b", executed_at=at("15:30:17"))], _filled(0, 5))
    assert (ids(found["b"]), found["a"].doubts, found["a"].candidates) == (["fill:2"], (Doubt.QUANTITY,), ())


def test_a_round_trip_with_the_ids_of_its_fills_is_the_same() -> None:
    match = only(
        row(trade_ids=("1", "2"), exit_price="5020", exited_at=at("16:00:00")),
        trade("fill:1"),
        trade("fill:2", side=SELL, price="5020", executed_at=at("16:00:00")),
    )
    assert (match.verdict, ids(match), match.rule) == (Verdict.SAME, ["fill:1", "fill:2"], MatchRule.BROKER_ID)
    assert Doubt.ROUND_TRIP in match.doubts


def test_two_round_trips_over_one_entry_leave_the_entry_open_and_keep_their_exits() -> None:
    entry = trade("fill:1", quantity="3")
    exits = [
        trade(f"fill:{n}", side=SELL, quantity=str(n - 1), price="5020", executed_at=at("16:00:00")) for n in (2, 3)
    ]
    rows = [
        row(f"r{n}", trade_ids=("1", str(n)), quantity=str(n - 1), exit_price="5020", exited_at=at("16:00:00"))
        for n in (2, 3)
    ]
    found = answers(rows, [entry, *exits])
    assert {name: (ids(match), candidates(match)) for name, match in found.items()} == {
        "r2": (["fill:2"], ["fill:1"]),
        "r3": (["fill:3"], ["fill:1"]),
    }
    assert found["r2"].verdict is Verdict.LIKELY
    assert "r2, r3" in found["r2"].reason


def test_ids_that_name_nothing_leave_the_row_to_its_content() -> None:
    match = only(row(trade_ids=("404",), order_id="405"), trade("fill:1"))
    assert (match.rule, ids(match)) == (MatchRule.CONTENT, ["fill:1"])


def test_quantities_are_compared_as_numbers() -> None:
    match = only(row(quantity=Decimal("2.000")), trade(quantity="2"))
    assert ids(match) == ["fill:1"]
