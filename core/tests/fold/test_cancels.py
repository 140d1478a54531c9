"""A cancel takes back one row, however many times and in whatever words it is told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from brokersync.dispositions import Rule
from brokersync.types import FeesMode, IdQuality, TradeBooking

from .rows import ACTIVE, CANCEL, CANCELLED, fee, only, row
from .test_rulings import rulings

_PART = FeesMode.PART
_ORIGINAL = row("a", key="x", fees=(fee("1"),), mode=_PART, order=(1,))
_REBOOKED = row("c", key="x", price="2", fees=(fee("0.5"),), mode=_PART, order=(3,))


def _cancel(name: str, *refs: str, quality: IdQuality = IdQuality.BROKER, order: int = 2) -> TradeBooking:
    return row(
        name, CANCEL, refs=("x", *refs), fees=(fee("-0.25"),), mode=_PART, order=(order,), id_quality=quality
    )  # fmt: skip


def test_a_cancel_that_another_source_told_without_its_target_takes_nothing_more_back() -> None:
    one = only(_ORIGINAL, _cancel("b", "a"), _REBOOKED, ("file", _cancel("f")))
    assert (one.status, one.price, one.fees) == (ACTIVE, Decimal(2), (fee("1.25"),))


def test_a_cancel_read_with_fewer_ids_from_the_same_source_takes_nothing_more_back() -> None:
    for poorer in (_cancel("r", quality=IdQuality.SYNTHETIC), _cancel("r", "a", quality=IdQuality.SYNTHETIC)):
        one = only(_ORIGINAL, _cancel("b", "a"), _REBOOKED, poorer)
        assert (one.status, one.price, one.fees) == (ACTIVE, Decimal(2), (fee("1.25"),))


def test_two_cancels_of_one_row_leave_the_row_that_was_booked_instead_and_each_books_its_own_fee() -> None:
    one = only(_ORIGINAL, _cancel("b", "a"), _cancel("b2", "a", order=4), _REBOOKED)
    assert (one.status, one.price, one.fees) == (ACTIVE, Decimal(2), (fee("1.00"),))


def test_the_cancels_of_a_source_that_names_no_row_take_back_as_many_rows_as_there_are_of_them() -> None:
    two = [("file", _cancel(name, order=order)) for name, order in (("f", 2), ("g", 4))]
    assert only(_ORIGINAL, _cancel("b", "a"), _REBOOKED, *two).status is CANCELLED


def test_a_cancel_that_a_better_source_tells_too_is_still_one_of_those_that_the_poorer_one_counts() -> None:
    counted = [_cancel(name, quality=IdQuality.SYNTHETIC, order=0) for name in ("n", "n#2", "n#3")]
    rows = (_ORIGINAL, _REBOOKED, row("e", key="x", price="3", fees=(fee("2"),), mode=_PART, order=(5,)))
    told = [("file", one) for one in counted]
    assert (only(*rows, *told).status, only(*rows, *told, counted[0]).status) == (CANCELLED, CANCELLED)
    assert only(*rows, *told, *counted).fees == only(*rows, *told).fees == (fee("2.75"),)


def test_a_cancel_told_again_says_whose_cancel_it_is() -> None:
    rows = (_ORIGINAL, _cancel("b", "a"), _cancel("b2", "a", order=4), _REBOOKED, ("file", _cancel("f")))
    found = rulings(*rows)
    assert found["service b"] == (Rule.CANCELS, "x", "a")
    assert found["service b2"] == (Rule.CANCELS, "x", "a")
    assert found["file f"] == (Rule.TOLD_BETTER, "x", "b")
    assert found["service c"] == (Rule.GIVES_CONTENT, "x", None)


def test_an_id_leads_a_cancel_to_its_row_where_another_row_has_its_name_too() -> None:
    both: dict[str, Any] = {"key": "x", "aliases": ("of both",)}
    rows = (row("a", price="1", order=(1,), **both), row("c", price="2", order=(3,), **both))
    one = only(*rows, row("b", CANCEL, refs=("a", "of both"), order=(2,)), row("b2", CANCEL, refs=("a", "of both")))
    assert (one.status, one.price) == (ACTIVE, Decimal(2))
    assert only(*rows, row("d", CANCEL, refs=("c", "of both"))).status is CANCELLED
