"""Whatever is told, in whatever order and pages, ends in the same state."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.types import FeesMode, TradeBooking

from .rows import AMEND, CANCEL, NEW, PRECEDENCE, REPLACE, fee, row
from .runs import Runs

Told = tuple[str, TradeBooking]

_names = st.lists(st.sampled_from(["x", "y", "z"]), max_size=2, unique=True).map(tuple)
_loose = st.lists(st.sampled_from(["l", "m", "x", "a"]), max_size=2, unique=True).map(tuple)
_orders = st.one_of(st.just(()), st.tuples(st.integers(1, 4)), st.tuples(st.integers(0, 2), st.integers(1, 4)))
_fees = st.lists(st.sampled_from(["1.5", "-0.25", "0.1"]).map(fee), max_size=2).map(tuple)


@st.composite
def any_rows(draw: st.DrawFn) -> list[list[Told]]:
    """Rows of any kind that share names in any way; each with the contents that its source gave for it, in order."""
    ids = draw(st.lists(st.tuples(st.sampled_from(sorted(PRECEDENCE)), st.sampled_from("abcdef")), unique=True))
    return [
        [(source, draw(_any_row(name))) for _ in range(draw(st.integers(1, 2)))]
        for source, name in ids
    ]  # fmt: skip


def _any_row(name: str) -> st.SearchStrategy[TradeBooking]:
    return st.builds(
        row,
        st.just(name),
        st.sampled_from([NEW, NEW, NEW, REPLACE, CANCEL, AMEND]),
        key=st.one_of(st.none(), st.sampled_from(["x", "y", name])),
        price=st.sampled_from(["1", "2", "3.000000000000000000001"]),
        fees=_fees,
        mode=st.sampled_from(FeesMode),
        refs=_names,
        aliases=st.one_of(st.just(()), st.just(()), _names),
        loose_refs=_loose,
        order=_orders,
    )


@st.composite
def a_history(draw: st.DrawFn) -> list[list[Told]]:
    """What brokers really tell: chains in several sources, late fees, twins with cancels by content, lone cancels."""
    rows: list[list[Told]] = []
    mode = draw(st.sampled_from(FeesMode))
    for chain in range(draw(st.integers(1, 3))):
        rows += _chain(draw, f"k{chain}", mode)
    for number in range(draw(st.integers(0, 3))):
        rows.append([("service", row(f"twin{number}", loose_refs=("content",)))])
    for number in range(draw(st.integers(0, 2))):
        rows.append([("service", row(f"loose{number}", CANCEL, loose_refs=("content",)))])
    if draw(st.booleans()):
        rows.append([("service", row("lone", CANCEL, refs=("older than our history",)))])
    return rows


def _chain(draw: st.DrawFn, key: str, mode: FeesMode) -> list[list[Told]]:
    steps = draw(st.integers(1, 3))
    orders = draw(st.booleans())
    rows: list[list[Told]] = []
    for step in range(steps):
        order = (step * 2 + 1,) if orders else ()
        last = step == steps - 1
        facts: dict[str, Any] = {"key": key, "mode": mode, "aliases": (f"{key}e{step}",), "order": order}
        effect = NEW if step == 0 else REPLACE
        booking = row(f"{key}t{step}", effect, price=str(step + 1), fees=(fee("1"),), **facts)
        late = row(f"{key}t{step}", effect, price=str(step + 1), fees=(fee("1.25"),), **facts)
        rows.append([("service", booking), *([("service", late)] if draw(st.booleans()) else [])])
        if draw(st.booleans()):
            alias = draw(st.sampled_from([f"{key}t{step}", f"{key}e{step}"]))
            other = row(alias, effect, key=key, price="9", fees=(fee("7"),), mode=mode, order=order)
            rows.append([(draw(st.sampled_from(["live", "file"])), other)])
        if not last or draw(st.booleans()):
            refs = draw(st.sampled_from([(f"{key}t{step}",), (key,), (f"{key}t{step}", key)]))
            cancel_order = (step * 2 + 2,) if orders else ()
            rows.append([("service", row(f"{key}c{step}", CANCEL, refs=refs, order=cancel_order, mode=mode))])
    return rows


def in_some_order(draw: st.DrawFn, rows: list[list[Told]]) -> list[tuple[str, list[TradeBooking]]]:
    """Pages that tell all of it: rows and contents shuffled, each row's contents in their order, some rows repeated."""
    tokens = draw(st.permutations([number for number, contents in enumerate(rows) for _ in contents]))
    next_content = [iter(contents) for contents in rows]
    arrivals: list[Told] = []
    latest: dict[int, Told] = {}
    for number in tokens:
        latest[number] = next(next_content[number])
        arrivals.append(latest[number])
        again = draw(st.one_of(st.none(), st.none(), st.sampled_from(sorted(latest))))
        if again is not None:
            arrivals.append(latest[again])
    pages: list[tuple[str, list[TradeBooking]]] = []
    for source, booking in arrivals:
        if not pages or pages[-1][0] != source or draw(st.booleans()):
            pages.append((source, []))
        pages[-1][1].append(booking)
    return pages


@settings(deadline=None, max_examples=60)
@given(rows=st.one_of(any_rows(), a_history()), data=st.data())
def test_any_order_pages_and_repeats_end_in_the_same_trades_and_feed(
    runs: Runs, rows: list[list[Told]], data: st.DataObject
) -> None:
    one, other = runs.new(), runs.new()
    for contents in rows:
        for source, booking in contents:
            one.commit(source, booking)
    pages = data.draw(st.composite(in_some_order)(rows))
    for source, bookings in pages:
        other.commit(source, *bookings)
    assert other.trades() == one.trades()
    assert other.counts() == one.counts()
    for source, bookings in pages:  # and once more, which changes nothing unless a row has its older content again
        if all((source, booking) == told_last(rows, source, booking) for booking in bookings):
            assert other.commit(source, *bookings).unchanged == len(bookings)
    assert other.trades() == one.trades()


def told_last(rows: list[list[Told]], source: str, booking: TradeBooking) -> Told:
    return next(told[-1] for told in rows if (told[0][0], told[0][1].booking_id) == (source, booking.booking_id))


@settings(deadline=None, max_examples=40)
@given(rows=a_history(), data=st.data())
def test_a_replaced_trade_is_never_resurrected(runs: Runs, rows: list[list[Told]], data: st.DataObject) -> None:
    run = runs.new()
    for source, bookings in data.draw(st.composite(in_some_order)(rows)):
        run.commit(source, *bookings)
    for number in range(3):
        steps = {told.booking_id for _, told in (one[-1] for one in rows) if told.booking_id[:3] == f"k{number}t"}
        if steps:
            # the service tells every step, and its rows outrank those of the others
            assert run.trades()[f"k{number}"].price == len(steps)
