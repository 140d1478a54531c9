from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.records import KeptBooking
from brokersync.sync.fold import _joined, fold
from brokersync.types import BookingEffect, Fee, FeesMode, FeesState, TradeBooking

from .rows import ACTIVE, AMEND, CANCEL, CANCELLED, NEW, REPLACE, fee, folded, only, row, trade

_FEES = st.lists(st.sampled_from([fee("1.5"), fee("-0.25"), fee("0.1", "EUR")]), max_size=4)


def test_one_row_is_one_trade() -> None:
    assert only(row("a", price="7", fees=(fee("0.5"),))) == attrs.evolve(
        trade("a", price="7", fees=(fee("0.5"),)), sources=("service",)
    )


def test_a_cancel_voids_its_trade() -> None:
    assert only(row("a"), row("c", CANCEL, refs=("a",))).status is CANCELLED


@pytest.mark.parametrize("effect", [NEW, REPLACE])
@pytest.mark.parametrize("refs", [("a", "x"), ("x",)])
@pytest.mark.parametrize("orders", [((1,), (2,), (3,)), ((1, 1), (0, 2), (2, 3)), ((), (), ())])
def test_a_cancel_and_its_replacement_end_in_one_trade(
    effect: BookingEffect, refs: tuple[str, ...], orders: Sequence[tuple[int, ...]]
) -> None:
    one = only(
        row("a", key="x", price="1", order=orders[0]),
        row("b", CANCEL, refs=refs, order=orders[1]),
        row("c", effect, key="x", price="2", order=orders[2]),
    )
    assert (one.trade_id, one.status, one.price) == ("x", ACTIVE, Decimal(2))


def test_a_replacement_that_is_cancelled_too_leaves_nothing() -> None:
    one = only(
        row("a", key="x", order=(1,)),
        row("b", CANCEL, refs=("a",), order=(2,)),
        row("c", key="x", price="2", order=(3,)),
        row("d", CANCEL, refs=("c",), order=(4,)),
    )
    assert (one.status, one.price) == (CANCELLED, Decimal(2))


def test_a_replacement_without_an_order_still_follows_what_it_replaces() -> None:
    # by name it would come first
    assert only(row("z", key="x"), row("a", REPLACE, key="x", price="2")).price == 2
    assert only(row("z", key="x", order=(5,)), ("file", row("a", REPLACE, key="x", price="2"))).price == 2


def test_the_key_is_the_original_rows_whatever_the_replacement_calls_itself() -> None:
    assert only(row("z"), row("a", REPLACE, refs=("z",), price="2")).trade_id == "z"


def test_a_replacement_supersedes_without_a_cancel_and_can_be_cancelled_by_the_trades_key() -> None:
    first, second = TradeBooking.of(trade("x"), order=(1,)), row("x/2", REPLACE, key="x", price="2", order=(2,))
    assert only(first, second).status is ACTIVE
    assert only(first, second, row("x/3", CANCEL, refs=("x",), order=(3,))).status is CANCELLED


def test_a_cancel_belongs_to_the_original_where_nothing_orders_it_behind_the_replacement() -> None:
    for order in ((), (2,)):
        cancel = row("x/3", CANCEL, refs=("x",), order=order)
        assert only(row("x", order=(1,)), row("x/2", REPLACE, key="x", price="2"), cancel).status is ACTIVE


def test_the_last_number_that_all_rows_know_orders_them() -> None:
    # the first number of the last row is not known to be larger, since its statement does not tell it
    of_one_kind = [
        row("a", key="x", order=(1, 10)),
        row("b", CANCEL, refs=("a",)),
        row("c", key="x", price="2", order=(2, 20)),
        row("d", CANCEL, refs=("c",)),
        row("e", key="x", price="3", order=(1, 30)),
    ]
    one = only(*of_one_kind)
    assert (one.status, one.price) == (ACTIVE, Decimal(3))
    of_two_kinds = [row("a", key="x", order=(1, 10)), row("c", key="x", price="2", order=(2, 0))]
    assert only(*of_two_kinds).price == Decimal(2)


def test_a_late_cancel_of_what_was_replaced_leaves_the_replacement() -> None:
    one = only(
        row("a", key="x", order=(1,)),
        row("b", REPLACE, key="x", price="2", order=(2,)),
        row("c", CANCEL, refs=("a",), order=(3,)),
    )
    assert (one.status, one.price) == (ACTIVE, Decimal(2))


def test_a_replacement_newer_than_an_amendment_wins() -> None:
    one = only(
        row("a", key="x", order=(1,)),
        row("b", AMEND, key="x", price="2", order=(2,)),
        row("c", REPLACE, key="x", price="3", order=(3,)),
    )
    assert one.price == 3


def test_an_amendment_changes_the_content_and_not_the_key() -> None:
    one = only(row("z", key="x"), row("a", AMEND, key="y", refs=("x",), price="2"))
    assert (one.trade_id, one.price, one.status) == ("x", Decimal(2), ACTIVE)


def test_an_amendment_whose_original_is_unknown_is_a_trade_and_can_be_cancelled() -> None:
    assert only(row("a", AMEND, key="x", price="2")).price == 2
    assert only(row("a", AMEND, key="x"), row("b", CANCEL, refs=("x",))).status is CANCELLED


def test_a_cancel_alone_gives_no_trade_even_with_the_trades_content() -> None:
    assert folded(row("c", CANCEL, refs=("a",))) == []
    assert folded(row("c", CANCEL, key="a", price="5")) == []


def test_a_cancel_with_the_trades_content_voids_it_and_does_not_name_it() -> None:
    one = only(row("z", key="x", price="2"), ("service", row("a", CANCEL, key="a", refs=("x",), price="9")))
    assert (one.trade_id, one.status, one.price) == ("x", CANCELLED, Decimal(2))


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [
        (row("a", price="1"), row("a", price="2")),
        (row("e1", key="x", price="1", mode=FeesMode.PART), row("t1", key="x", aliases=("e1",), price="2")),
        (row("e1", key="x", price="1"), row("t1", key="x", price="2")),
    ],
    ids=["the same id", "an alias", "shared refs"],
)
def test_where_two_sources_tell_of_one_row_the_higher_precedence_wins(
    weaker: TradeBooking, stronger: TradeBooking
) -> None:
    one = only(("file", weaker), ("service", stronger))
    assert (one.price, one.sources) == (Decimal(2), ("file", "service"))


def test_the_higher_precedence_wins_though_only_the_other_source_orders_its_rows() -> None:
    assert only(("file", row("e", key="x", order=(4,))), ("service", row("t", key="x", price="2"))).price == 2


def test_parts_of_a_commission_are_summed_over_the_chain_and_told_rows_count_once() -> None:
    part = FeesMode.PART
    original = row("t1", key="x", aliases=("e1",), fees=(fee("2"), fee("1", "EUR")), mode=part, order=(1,))
    cancel = row("t2", CANCEL, refs=("t1",), fees=(fee("-0.25"),), mode=part, order=(2,))
    replacement = row("t3", key="x", fees=(fee("-0.5"),), mode=part, order=(3,))
    again = ("live", row("e1", key="x", fees=(fee("2.1"),), mode=part, order=(1,)))
    assert only(original, cancel, replacement, again).fees == (fee("1", "EUR"), fee("1.25"))
    assert only(original, cancel, again).fees == (fee("1", "EUR"), fee("1.75"))


def test_three_sources_tell_of_one_row_though_only_the_middle_one_knows_both_of_its_names() -> None:
    part = {"key": "x", "fees": (fee("2"),), "mode": FeesMode.PART}
    one = only(
        ("service", row("t1", **part)), ("live", row("t1", aliases=("e1",), **part)), ("file", row("e1", **part))
    )
    assert one.fees == (fee("2"),)


def test_a_cancel_finds_its_row_by_a_name_that_another_source_gave_it() -> None:
    one = only(
        row("t1", key="x", order=(1,)),
        row("t2", key="x", order=(2,)),
        ("live", row("e2", key="x", aliases=("t2",), order=(2,))),
        ("live", row("c", CANCEL, refs=("e2",), order=(3,))),
    )
    assert one.status is CANCELLED


def test_a_total_replaces_the_commission_and_a_cancelled_total_costs_what_its_cancel_says() -> None:
    original, cancel = row("a", key="x", fees=(fee("2"),), order=(1,)), row("b", CANCEL, refs=("a",), fees=(fee("1"),))
    assert only(original, row("c", REPLACE, key="x", fees=(fee("3"),), order=(2,))).fees == (fee("3"),)
    assert only(original, cancel).fees == (fee("1"),)


def test_a_sum_of_commissions_keeps_every_digit() -> None:
    small, large = "0.00000000000000000000000000000000000001", "10000000000000000000000000000000000000000"
    one = only(
        row("a", key="x", fees=(fee(large),), mode=FeesMode.PART),
        row("b", REPLACE, key="x", fees=(fee(small),), mode=FeesMode.PART),
    )
    assert str(one.fees[0].amount) == large + small[1:]


def test_one_cancel_by_content_voids_one_of_two_equal_rows() -> None:
    twins = [row(name, loose_refs=("content",)) for name in ("a", "b")]
    cancels = [row(name, CANCEL, loose_refs=("content",)) for name in ("c", "d")]
    assert [one.status for one in folded(*twins)] == [ACTIVE, ACTIVE]
    assert [one.status for one in folded(*twins, cancels[0])] == [CANCELLED, ACTIVE]
    assert [one.status for one in folded(*twins, *cancels)] == [CANCELLED, CANCELLED]
    assert [one.status for one in folded(twins[0], *cancels)] == [CANCELLED]


def test_a_cancel_with_an_id_leaves_its_target_to_it_and_the_content_leads_to_the_other() -> None:
    twins = [row(name, loose_refs=("content",)) for name in ("a", "b")]
    by_id = row("c", CANCEL, refs=("a",), loose_refs=("content",))
    assert [one.status for one in folded(*twins, by_id)] == [CANCELLED, ACTIVE]
    assert [one.status for one in folded(*twins, by_id, row("d", CANCEL, loose_refs=("content",)))] == [CANCELLED] * 2


def test_rows_that_share_a_loose_name_stay_two_and_a_row_that_holds_it_joins_its_own() -> None:
    one, other = (row(name, loose_refs=("T",)) for name in "ab")
    assert [trade.trade_id for trade in folded(one, other)] == ["a", "b"]
    assert only(one, ("file", row("f", key="a", refs=("T",), price="9"))).price == 1


@pytest.mark.parametrize("cancelled", ["a", "b"])
def test_a_cancel_of_one_of_two_executions_under_one_loose_name_leaves_the_other(cancelled: str) -> None:
    fills = [row(name, loose_refs=("T",), order=(place,)) for place, name in enumerate("ab", 1)]
    ends = folded(*fills, row("c", CANCEL, refs=("T", cancelled)))
    assert {one.trade_id: one.status is CANCELLED for one in ends} == {"a": cancelled == "a", "b": cancelled == "b"}


def test_a_cancel_that_names_no_more_than_what_two_executions_share_voids_one_of_them() -> None:
    fills = [row(name, loose_refs=("T",), order=(place,)) for place, name in enumerate("ab", 1)]
    assert [one.status for one in folded(*fills, row("c", CANCEL, refs=("T",)))] == [CANCELLED, ACTIVE]


def test_every_cancel_by_a_loose_name_counts_where_a_replacement_was_cancelled_too() -> None:
    fills = [row("a", key="x", loose_refs=("T",), order=(1,)), row("b", key="x", loose_refs=("T",), order=(3,))]
    cancels = [row(name, CANCEL, refs=("T",), order=(0, place)) for place, name in enumerate("cd")]
    assert only(*fills, cancels[0]).status is ACTIVE
    assert only(*fills, *cancels).status is CANCELLED


def _pending(booking: TradeBooking) -> TradeBooking:
    return _in_state(booking, FeesState.PENDING)


def _in_state(booking: TradeBooking, state: FeesState) -> TradeBooking:
    assert booking.trade is not None
    return attrs.evolve(booking, trade=attrs.evolve(booking.trade, fees_state=state))


def test_fees_that_the_better_source_waits_for_are_taken_from_one_that_knows_them() -> None:
    one = only(("service", _pending(row("a", price="2"))), ("file", row("a", price="3", fees=(fee("0.5"),))))
    assert (one.price, one.fees, one.fees_state) == (Decimal(2), (fee("0.5"),), FeesState.FINAL)


@pytest.mark.parametrize("state", [FeesState.PENDING, FeesState.ESTIMATED])
def test_fees_that_the_better_source_does_not_know_for_good_are_taken_from_one_that_does(state: FeesState) -> None:
    estimated = _in_state(row("a", price="2", fees=(fee("0.3"),)), state)
    one = only(("service", estimated), ("live", row("a", price="4", fees=(fee("0.4"),))), ("file", row("a")))
    assert (one.price, one.fees, one.fees_state) == (Decimal(2), (fee("0.4"),), FeesState.FINAL)
    worse = _in_state(row("a", price="3", fees=(fee("0.5"),)), FeesState.ESTIMATED)
    assert only(("service", estimated), ("live", worse)).fees == (fee("0.3"),)


@pytest.mark.parametrize("state", [FeesState.PENDING, FeesState.ESTIMATED])
@pytest.mark.parametrize(
    ("others", "stand"),
    [
        (("0.3", "0.2 EUR"), ("0.3", "0.2 EUR")),
        (("0.2 EUR",), ("0.3",)),
        (("0.4", "0.2 EUR"), ("0.3",)),
        (("0.3",), ("0.3",)),
    ],
    ids=["all of them and more", "others alone", "one of them otherwise", "no more"],
)
def test_fees_that_nobody_knows_for_good_are_those_of_who_tells_all_of_the_better_sources_and_more(
    state: FeesState, others: tuple[str, ...], stand: tuple[str, ...]
) -> None:
    part = _in_state(row("a", fees=(fee("0.3"),)), state)
    more = _in_state(row("a", fees=tuple(fee(*one.split()) for one in others)), FeesState.ESTIMATED)
    one = only(("service", part), ("live", more))
    assert one.fees == tuple(fee(*one.split()) for one in stand)
    assert one.fees_state is (FeesState.ESTIMATED if stand == others and len(others) > 1 else state)


def test_fees_that_the_better_source_knows_to_be_none_stay_none() -> None:
    assert only(("service", row("a")), ("file", row("a", fees=(fee("0.5"),)))).fees == ()


def test_a_row_read_with_fewer_columns_is_the_same_row_and_adds_no_fee() -> None:
    poorer = row("ex:1", key="x", fees=(fee("1"),), mode=FeesMode.PART)
    richer = attrs.evolve(row("tx:1", key="x", fees=(fee("1"),), mode=FeesMode.PART), aliases=("ex:1",))
    assert only(poorer, richer).fees == (fee("1"),)


def test_a_loose_name_that_another_row_has_for_its_own_makes_the_two_one_row() -> None:
    part: dict[str, Any] = {"fees": (fee("1"),), "mode": FeesMode.PART}
    loose = row("ex:1", key="x", loose_refs=("T", "T of 1"), **part)
    for holder in (
        row("tx:1", key="T", aliases=("T of 1",), price="2", **part),
        row("T of 1", key="T", price="2", **part),
    ):
        one = only(("file", loose), ("service", holder))
        assert (one.price, one.fees) == (Decimal(2), (fee("1"),))
        assert only(("service", loose), ("file", holder)).fees == (fee("1"),)
    assert only(loose, row("T of 1", key="T", **part)).fees == (fee("1"),)


def test_of_two_steps_that_share_a_loose_name_both_count_beside_a_row_that_holds_it() -> None:
    part: dict[str, Any] = {"key": "x", "fees": (fee("1"),), "mode": FeesMode.PART, "loose_refs": ("T of 1",)}
    steps = [row(name, order=(place,), **part) for place, name in enumerate(("t1", "t3"), 1)]
    other = row("f", key="x", fees=(fee("9"),), mode=FeesMode.PART, aliases=("T of 1",))
    assert only(*steps, ("file", other)).fees == (fee("2"),)


def test_where_nothing_orders_the_rows_what_a_cancel_names_comes_first() -> None:
    one = only(row("z", key="x", price="1"), row("c", CANCEL, refs=("x", "z")), row("a", key="x", price="2"))
    assert (one.status, one.price) == (ACTIVE, Decimal(2))


def test_a_rebooking_that_only_a_lower_source_has_told_so_far_stands_behind_what_a_cancel_names() -> None:
    one = only(
        row("a", key="x"), row("b", CANCEL, refs=("x", "a")), ("live", row("c", key="x", price="2")),
    )  # fmt: skip
    assert (one.status, one.price) == (ACTIVE, Decimal(2))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([NEW, REPLACE, AMEND]),
    st.sampled_from(FeesMode),
    st.integers(1, 9),
    _FEES,
)
def test_a_row_alone_comes_to_what_the_rules_for_many_make_of_it(
    effect: BookingEffect, mode: FeesMode, version: int, fees: list[Fee]
) -> None:
    booking = row("a", effect, key="t", mode=mode, fees=tuple(fees), refs=("r",), loose_refs=("l", "r"), order=(1,))
    assert booking.trade is not None
    booking = attrs.evolve(booking, trade=attrs.evolve(booking.trade, related=("l", "another")))
    kept = KeptBooking(source="live", version=version, precedence=1, booking=booking)
    assert fold([kept]) == _joined([kept])
