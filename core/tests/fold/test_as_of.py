"""Versions of one row that say when they were made end in the same state, whichever was read first."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.types import TradeBooking

from .rows import CANCEL, REPLACE, START, fee, row
from .runs import Run, Runs, told

Version = tuple[str, datetime | None, TradeBooking]

_times = st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True).map(sorted)


@st.composite
def versions_of_some_rows(draw: st.DrawFn, *, repeating: bool) -> list[list[Version]]:
    """Rows of one execution or of several, each with what two equal sources gave for it; one content may be undated."""
    rows = []
    names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True))
    key = draw(st.sampled_from(["x", None]))
    for place, name in enumerate(names):
        times = [START + timedelta(hours=number) for number in draw(_times)]
        fees = draw(st.lists(st.sampled_from(["1", "2"] if repeating else ["1", "2", "3", "4"]),
                             min_size=len(times), max_size=len(times), unique=not repeating))  # fmt: skip
        effect = draw(st.sampled_from([REPLACE, CANCEL])) if place else draw(st.sampled_from([REPLACE, None]))
        facts: dict[str, Any] = {"key": key, "order": (place + 1,)}
        made = [
            row(name, *([effect] if effect else []), fees=(fee(one),), **facts)
            for one in fees
        ]  # fmt: skip
        dates: list[datetime | None] = list(times)
        if draw(st.booleans()):
            dates[0] = None
        sources = [draw(st.sampled_from(["file", "copy"])) for _ in made]
        rows.append(list(zip(sources, dates, made, strict=True)))
    return rows


def read(run: Run, versions: list[Version]) -> None:
    for source, as_of, booking in versions:
        run.commit(source, booking, as_of=as_of)


def in_any_order(draw: st.DrawFn, rows: list[list[Version]]) -> list[Version]:
    every = [version for versions in rows for version in versions]
    return draw(st.permutations([*every, *draw(st.lists(st.sampled_from(every), max_size=3))]))


@settings(deadline=None, max_examples=30)
@given(rows=versions_of_some_rows(repeating=False), data=st.data())
def test_versions_in_any_order_and_repeated_end_in_one_state(
    runs: Runs, rows: list[list[Version]], data: st.DataObject
) -> None:
    one, other = runs.new(), runs.new()
    read(one, [version for versions in rows for version in versions])
    order = data.draw(st.composite(in_any_order)(rows))
    read(other, order)
    assert other.trades() == one.trades()
    assert other.counts() == one.counts()
    position = other.position
    for source, as_of, booking in order:  # and once more, which changes nothing
        outcome = other.commit(source, booking, as_of=as_of)
        assert (outcome.unchanged, outcome.waiting) == (1, 0)
    assert (other.trades(), other.position) == (one.trades(), position)


@settings(deadline=None, max_examples=30)
@given(rows=versions_of_some_rows(repeating=True), data=st.data())
def test_a_content_that_comes_back_stands_by_when_it_was_told_last(
    runs: Runs, rows: list[list[Version]], data: st.DataObject
) -> None:
    one, other = runs.new(), runs.new()
    read(one, [version for versions in rows for version in versions])
    read(other, data.draw(st.composite(in_any_order)(rows)))
    # how often a content came back to a reader depends on the order; what stands does not
    assert {key: told(trade) for key, trade in other.trades().items()} == {
        key: told(trade) for key, trade in one.trades().items()
    }


def test_an_older_version_changes_nothing_for_a_reader_of_the_feed_and_is_counted(runs: Runs) -> None:
    run = runs.new()
    late, early = row("a", fees=(fee("1.25"),)), row("a", fees=(fee("1"),))
    run.commit("file", late, as_of=START + timedelta(days=1))
    position = run.position
    outcome = run.commit("file", early, row("b"), as_of=START)
    assert outcome.dispositions == ("outdated", "added")
    assert [fate.value for fate in outcome.fates] == ["outdated", "stored"]
    assert (outcome.unchanged, outcome.added, outcome.modified) == (1, 1, 0)
    assert [change.trade_id for change in run.feed if change.position > position] == ["b"]
    assert run.trades()["a"].fees == (fee("1.25"),)


def test_a_version_made_at_the_same_time_is_another_reading_and_stands(runs: Runs) -> None:
    run = runs.new()
    run.commit("file", row("a", price="1"), as_of=START)
    assert run.commit("file", row("a", price="2"), as_of=START).modified == 1
    assert run.trades()["a"].price == 2


def test_of_two_equal_sources_the_one_that_told_the_row_last_stands(runs: Runs) -> None:
    run = runs.new()
    for hours, source, price, standing in ((1, "copy", "1", 1), (3, "file", "2", 2), (2, "copy", "3", 2)):
        run.commit(source, row("a", price=price), as_of=START + timedelta(hours=hours))
        assert run.trades()["a"].price == standing
    again = run.commit("copy", row("a", price="3"), as_of=START + timedelta(hours=4))
    assert (again.modified, run.trades()["a"].price) == (1, 3)
    assert run.commit("copy", row("a", price="3"), as_of=START + timedelta(hours=5)).unchanged == 1
    assert run.commit("service", row("a", price="9"), as_of=START).modified == 1
    assert run.trades()["a"].price == 9


def test_of_two_equal_sources_one_that_tells_a_time_stands_against_one_that_does_not(runs: Runs) -> None:
    for order in (0, 1):
        run = runs.new()
        told = [("copy", row("a", price="1"), None), ("file", row("a", price="2"), START)]
        for source, booking, as_of in told[::-1] if order else told:
            run.commit(source, booking, as_of=as_of)
        assert run.trades()["a"].price == 2


def test_rows_that_only_the_older_of_two_equal_sources_told_stay(runs: Runs) -> None:
    run = runs.new()
    chain = (row("a", key="x", order=(1,), aliases=("e",)), row("b", key="x", order=(2,), price="2", aliases=("e",)))
    run.commit("file", *chain, as_of=START)
    run.commit("copy", attrs.evolve(chain[0], order=(1,)), as_of=START + timedelta(hours=1))
    assert run.trades()["x"].price == 2


def test_without_a_time_on_either_side_the_last_read_stands(runs: Runs) -> None:
    run = runs.new()
    for price in ("1", "2", "1"):
        run.commit("file", row("a", price=price))
    assert (run.trades()["a"].price, run.trades()["a"].revision) == (1, 3)


def test_a_service_that_does_not_say_when_it_answers_with_what_holds_now(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("a", price="1"), as_of=START - timedelta(days=1), connection_id="c")
    assert run.commit("service", row("a", price="2"), connection_id="c").modified == 1
    assert run.commit("service", row("a", price="1"), as_of=START - timedelta(hours=1)).unchanged == 1
    assert run.trades()["a"].price == 2


def test_an_older_cancel_that_waits_is_not_counted_again(runs: Runs) -> None:
    run = runs.new()
    assert run.commit("file", row("c", CANCEL, refs=("later",)), as_of=START).waiting == 1
    older = row("c", CANCEL, refs=("another",))
    outcome = run.commit("file", older, as_of=START - timedelta(days=1))
    assert (outcome.waiting, outcome.dispositions) == (0, ("outdated",))
    assert attrs.asdict(run.commit("file", older, as_of=START - timedelta(days=1)))["waiting"] == 0
