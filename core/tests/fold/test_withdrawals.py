"""What core takes back itself counts until a source that counts more tells it."""

from __future__ import annotations

from typing import Any

from brokersync.dispositions import Rule
from brokersync.sync.withdrawals import withdrawal_of
from brokersync.types import FeesMode

from .rows import ACTIVE, CANCEL, CANCELLED, fee, folded, row, trade
from .test_rulings import rulings

PART: dict[str, Any] = {"key": "x", "mode": FeesMode.PART}
TAKEN_BACK = ("live", withdrawal_of(trade("x")))


def test_what_nobody_confirmed_is_cancelled_and_costs_nothing() -> None:
    told = ("live", row("a", fees=(fee("1"),), **PART))
    [found] = folded(told, TAKEN_BACK)
    assert (found.trade_id, found.status, found.fees) == ("x", CANCELLED, ())
    assert rulings(told, TAKEN_BACK) == {
        "live a": (Rule.CANCELLED, "x", "unconfirmed:x"),
        "live unconfirmed:x": (Rule.CANCELS, "x", "a"),
    }


def test_its_last_booking_is_taken_back_and_not_the_one_that_was_replaced() -> None:
    first, again = row("a", order=(1,), **PART), row("c", order=(3,), **PART)
    cancel = row("b", CANCEL, refs=("a", "x"), order=(2,))
    [found] = folded(("live", first), ("live", cancel), ("live", again), TAKEN_BACK)
    assert found.status is CANCELLED
    [found] = folded(("live", first), ("live", again), TAKEN_BACK)
    assert found.status is CANCELLED


def test_a_source_that_counts_more_makes_a_trade_of_it_again_in_any_order() -> None:
    provisional = ("live", row("a", fees=(fee("1"),), **PART))
    better = row("a", fees=(fee("2"),), **PART)
    [found] = folded(provisional, TAKEN_BACK, better)
    assert (found.status, found.fees) == (ACTIVE, (fee("2"),))
    assert rulings(provisional, TAKEN_BACK, better)["live unconfirmed:x"] == (Rule.TOLD_BETTER, "x", "a")


def test_what_the_better_source_cancels_stays_cancelled() -> None:
    better, cancel = row("a", fees=(fee("2"),), **PART), row("b", CANCEL, refs=("a",), mode=FeesMode.PART)
    [found] = folded(("live", row("a", **PART)), TAKEN_BACK, better, cancel)
    assert (found.status, found.fees) == (CANCELLED, (fee("2"),))
