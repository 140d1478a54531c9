"""What the fold says of each row: exactly one ruling, and the same for any order of arrival."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.dispositions import Disposition, Rule
from brokersync.records import KeptBooking
from brokersync.sync.fold import fold
from brokersync.types import FeesMode, TradeBooking

from .rows import AMEND, CANCEL, PRECEDENCE, REPLACE, fee, row
from .runs import Runs
from .test_any_order import a_history, any_rows

Told = tuple[str, TradeBooking]


def kept(*rows: TradeBooking | Told) -> list[KeptBooking]:
    told = [one if isinstance(one, tuple) else ("service", one) for one in rows]
    return [
        KeptBooking(source=source, precedence=PRECEDENCE[source], version=1, booking=booking)
        for source, booking in told
    ]


def rulings(*rows: TradeBooking | Told) -> dict[str, tuple[Rule, str | None, str | None]]:
    """The rule, the trade and the other booking for each booking, which are those of every order."""
    found = [
        {
            f"{one.booking.source} {one.booking.booking_id}": (one.rule, one.trade_id, one.by and one.by.booking_id)
            for one in fold(order).rulings
        }
        for order in itertools.permutations(kept(*rows))
    ]
    assert all(one == found[0] for one in found)
    return found[0]


def test_a_rebooked_trade_says_which_cancel_took_the_original_back() -> None:
    part: dict[str, Any] = {"key": "x", "mode": FeesMode.PART}
    rows = (
        row("a", order=(1,), **part),
        row("b", CANCEL, refs=("a", "x"), order=(2,), fees=(fee("-1"),), mode=FeesMode.PART),
        row("c", order=(3,), **part),
    )
    assert rulings(*rows) == {
        "service a": (Rule.CANCELLED, "x", "b"),
        "service b": (Rule.CANCELS, "x", "a"),
        "service c": (Rule.GIVES_CONTENT, "x", None),
    }


def test_a_replacement_and_an_amendment_say_what_follows_them() -> None:
    assert rulings(row("a", key="x"), row("b", REPLACE, key="x"), row("c", AMEND, key="x")) == {
        "service a": (Rule.REPLACED, "x", "b"),
        "service b": (Rule.AMENDED, "x", "c"),
        "service c": (Rule.GIVES_CONTENT, "x", None),
    }


def test_a_row_told_by_two_sources_names_the_one_that_counts() -> None:
    assert rulings(("file", row("a", key="x")), ("service", row("t", key="x", aliases=("a",)))) == {
        "file a": (Rule.TOLD_BETTER, "x", "t"),
        "service t": (Rule.GIVES_CONTENT, "x", None),
    }


def test_a_cancelled_trade_and_a_cancel_that_waits() -> None:
    assert rulings(row("a"), row("b", CANCEL, refs=("a",))) == {
        "service a": (Rule.CANCELLED, "a", "b"),
        "service b": (Rule.CANCELS, "a", "a"),
    }
    assert rulings(row("b", CANCEL, refs=("a",))) == {"service b": (Rule.WAITS, None, None)}


def test_a_cancel_behind_a_replacement_means_the_replacement() -> None:
    rows = (
        row("a", key="x", order=(1,)),
        row("b", REPLACE, key="x", order=(2,)),
        row("c", CANCEL, refs=("x",), order=(3,)),
    )
    assert rulings(*rows)["service b"] == (Rule.CANCELLED, "x", "c")
    assert rulings(*rows)["service a"] == (Rule.REPLACED, "x", "b")


@settings(deadline=None, max_examples=200)
@given(rows=st.one_of(any_rows(), a_history()), data=st.data())
def test_every_row_has_one_ruling_in_any_order(rows: list[list[Told]], data: st.DataObject) -> None:
    last = kept(*(contents[-1] for contents in rows))
    folded = fold(last)
    names = [(one.booking.source, one.booking.booking_id) for one in folded.rulings]
    assert sorted(names) == sorted((one.source, one.booking.booking_id) for one in last)
    again = fold(data.draw(st.permutations(last)))
    assert again.trades == folded.trades
    assert {one.booking: one for one in again.rulings} == {one.booking: one for one in folded.rulings}
    keys = {trade.trade_id for trade in folded.trades}
    assert all((one.trade_id in keys) is (one.rule is not Rule.WAITS) for one in folded.rulings)


def test_the_fates_of_a_page_are_those_of_its_rows(runs: Runs) -> None:
    run = runs.new()
    first = run.commit("service", row("a", key="x"), row("lone", CANCEL, refs=("nothing",)))
    assert first.fates == (Disposition.STORED, Disposition.WAITING)
    again = run.commit("service", row("a", key="x"), row("b", REPLACE, key="x"))
    assert again.fates == (Disposition.SAME, Disposition.STORED)
    assert run.commit("file", row("f", key="x", aliases=("b",))).fates == (Disposition.SAME,)
    late = run.commit("service", row("c", AMEND, key="x", order=(1,)), row("a", key="x", price="3"))
    assert late.fates == (Disposition.STORED, Disposition.SUPERSEDED)
