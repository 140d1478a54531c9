"""A journal that keeps no seconds: its times were cut off or rounded, and it says which by all of its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.matching import Doubt, ExistingTrade, Match, MatchRule, NamedTrade, Verdict, match_rows

from .given import AT, SELL, answers, at, candidates, ids, only, row, trade

MINUTE = timedelta(minutes=1)
START = AT.replace(hour=15, minute=0, second=0)


def cut(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def rounded(moment: datetime) -> datetime:
    return cut(moment + MINUTE / 2)


def copies(trades: Sequence[NamedTrade], told: Callable[[datetime], datetime], **facts: Any) -> list[ExistingTrade]:
    """A row for each trade, under its id, with its time as the journal tells it."""
    return [
        row(
            one.trade.trade_id,
            side=one.trade.side,
            quantity=one.trade.quantity,
            price=one.trade.price,
            executed_at=told(one.trade.executed_at),
            **facts,
        )
        for one in trades
    ]


def told_by(match: Match) -> tuple[Verdict, MatchRule, tuple[Doubt, ...], list[str]]:
    return match.verdict, match.rule, match.doubts, ids(match)


LIKELY = (Verdict.LIKELY, MatchRule.CONTENT, (Doubt.MINUTES,), ["fill:1"])


@pytest.mark.parametrize("second", [30, 31, 42, 59])
def test_a_time_rounded_to_the_next_minute_is_likely_and_says_so(second: int) -> None:
    match = only(row(executed_at=at("15:31:00")), trade(executed_at=at(f"15:30:{second}")))
    assert told_by(match) == LIKELY
    assert "at the same minute. Its time was rounded to the minute" in match.reason


@pytest.mark.parametrize("second", [1, 29, 30, 59])
def test_a_time_that_was_cut_off_is_as_likely(second: int) -> None:
    match = only(row(executed_at=at("15:30:00")), trade(executed_at=at(f"15:30:{second:02}")))
    assert told_by(match) == LIKELY
    assert "rounded" not in match.reason


def test_a_rounded_local_time_is_both() -> None:
    match = only(row(executed_at=at("10:31:00")), trade(executed_at=at("15:30:42")))
    assert (set(match.doubts), ids(match)) == ({Doubt.MINUTES, Doubt.SHIFTED}, ["fill:1"])
    assert "5 hours earlier" in match.reason
    assert "rounded" in match.reason


@pytest.mark.parametrize(
    ("of_row", "of_trade"), [("15:31:00", "15:30:29"), ("15:32:00", "15:30:42"), ("15:30:00", "15:31:01")]
)
def test_what_is_told_neither_way_is_new(of_row: str, of_trade: str) -> None:
    match = only(row(executed_at=at(of_row)), trade(executed_at=at(of_trade)))
    assert (match.verdict, match.rule) == (Verdict.NEW, MatchRule.NONE)


def test_a_journal_that_keeps_seconds_somewhere_was_not_rounded_to_the_minute() -> None:
    seconds = row("b", price="1", executed_at=at("12:00:07"))
    found = answers([row("a", executed_at=at("15:31:00")), seconds], [trade(executed_at=at("15:30:42"))])
    assert found["a"].verdict is Verdict.NEW
    elsewhere = row("b", provider="other", executed_at=at("12:00:07"))
    found = answers([row("a", executed_at=at("15:31:00")), elsewhere], [trade(executed_at=at("15:30:42"))])
    assert ids(found["a"]) == ["fill:1"], "how another broker's rows are told says nothing of these"


def test_an_exit_that_tells_seconds_counts_as_much() -> None:
    both = row("a", executed_at=at("15:31:00"), exit_price="5020", exited_at=at("16:00:12"))
    exit_ = trade("fill:2", side=SELL, price="5020", executed_at=at("16:00:12"))
    assert ids(only(both, trade(executed_at=at("15:30:42")), exit_)) == ["fill:2"]


def test_a_trade_at_the_full_minute_agrees_to_the_second() -> None:
    match = only(row(executed_at=at("15:30:00")), trade(executed_at=at("15:30:00") + timedelta(milliseconds=200)))
    assert told_by(match) == (Verdict.LIKELY, MatchRule.CONTENT, (), ["fill:1"])


def test_a_trade_at_the_full_minute_is_not_chosen_before_an_equal_one_within_it() -> None:
    fills = [trade("fill:1", executed_at=at("15:30:00")), trade("fill:2", executed_at=at("15:30:20"))]
    match = only(row(executed_at=at("15:30:00")), *fills)
    assert (match.verdict, match.trades, candidates(match)) == (Verdict.LIKELY, (), ["fill:1", "fill:2"])


@pytest.mark.parametrize("told", [cut, rounded])
def test_equal_trades_a_minute_apart_go_each_to_its_own_row(told: Callable[[datetime], datetime]) -> None:
    fills = [trade(f"fill:{n}", executed_at=at("15:30:45") + n * MINUTE) for n in range(9)]
    found = answers(copies(fills, told), fills)
    assert {name: ids(match) for name, match in found.items()} == {name: [name] for name in found}


def test_rows_that_were_cut_off_keep_their_trades_where_some_are_not_in_the_store() -> None:
    fills = [trade(f"fill:{n}", executed_at=at("15:30:45") + n * MINUTE) for n in range(6)]
    found = answers(copies(fills, cut), fills[:5:2])
    linked = {name: ids(match) for name, match in found.items() if match.trades}
    assert linked == {"fill:0": ["fill:0"], "fill:2": ["fill:2"], "fill:4": ["fill:4"]}
    assert {match.verdict for name, match in found.items() if name not in linked} == {Verdict.NEW}


def test_a_row_told_the_other_way_than_most_is_found_too() -> None:
    fills = [trade(f"fill:{n}", price=f"{n + 1}", executed_at=at("15:30:45")) for n in range(5)]
    rows = [*copies(fills[:4], cut), *copies(fills[4:], rounded)]
    assert [ids(match) for match in match_rows(rows, fills)] == [[one.trade.trade_id] for one in fills]


def test_the_fills_of_an_order_are_found_by_their_rounded_time() -> None:
    fills = [trade(f"fill:{n}", order_id="9", quantity="1", executed_at=at("15:30:42")) for n in (1, 2)]
    match = only(row(executed_at=at("15:31:00")), *fills)
    assert (ids(match), set(match.doubts)) == (["fill:1", "fill:2"], {Doubt.MINUTES, Doubt.SUM})


def test_a_double_of_a_rounded_row_is_not_linked_again() -> None:
    rows = [row("a", executed_at=at("15:31:00"), trade_ids=("1",)), row("b", executed_at=at("15:31:00"))]
    found = answers(rows, [trade(executed_at=at("15:30:42"))])
    assert (ids(found["a"]), found["b"].verdict, found["b"].rule) == (["fill:1"], Verdict.NEW, MatchRule.TAKEN)


_SECONDS = st.integers(0, 1800).map(lambda second: START + timedelta(seconds=second))
_ALIKE = st.lists(st.tuples(_SECONDS, st.sampled_from(["10", "10", "11"])), max_size=12)


def _trades(moments: Sequence[tuple[datetime, str]]) -> list[NamedTrade]:
    return [trade(f"fill:{n}", executed_at=moment, price=price) for n, (moment, price) in enumerate(moments)]


@given(moments=_ALIKE, told=st.sampled_from([cut, rounded]))
@settings(deadline=None, max_examples=300)
def test_no_row_of_a_faithful_journal_is_new_and_no_trade_is_linked_twice(
    moments: list[tuple[datetime, str]], told: Callable[[datetime], datetime]
) -> None:
    trades = _trades(moments)
    by_id = {one.trade.trade_id: one.trade for one in trades}
    rows = copies(trades, told, zone_doubtful=False)
    matches = match_rows(rows, trades)
    for one, match in zip(rows, matches, strict=True):
        assert match.verdict is Verdict.LIKELY
        for name in ids(match):
            assert (told(by_id[name].executed_at), by_id[name].price) == (one.executed_at, one.price)
    links = Counter(key for match in matches for key in match.trades)
    assert all(count == 1 for count in links.values())


@given(
    moments=st.lists(_SECONDS, max_size=12),
    told=st.sampled_from([cut, rounded]),
    hours=st.sampled_from([0, 0, -5, 2]),
)
@settings(deadline=None, max_examples=200)
def test_where_the_economics_differ_each_row_has_its_own_trade(
    moments: list[datetime], told: Callable[[datetime], datetime], hours: int
) -> None:
    trades = _trades([(moment, f"{n + 1}") for n, moment in enumerate(moments)])
    rows = copies(trades, lambda moment: told(moment) + timedelta(hours=hours))
    assert [ids(match) for match in match_rows(rows, trades)] == [[one.row_id] for one in rows]


@given(moments=_ALIKE, kept=st.lists(st.booleans(), min_size=12, max_size=12), told=st.sampled_from([cut, rounded]))
@settings(deadline=None, max_examples=200)
def test_whatever_is_missing_in_the_store_no_trade_is_linked_twice_or_to_a_row_a_minute_off(
    moments: list[tuple[datetime, str]], kept: list[bool], told: Callable[[datetime], datetime]
) -> None:
    trades = _trades(moments)
    by_id = {one.trade.trade_id: one.trade for one in trades}
    rows = copies(trades, told, zone_doubtful=False)
    matches = match_rows(rows, [one for one, is_there in zip(trades, kept, strict=False) if is_there])
    links = Counter(key for match in matches for key in match.trades)
    assert all(count == 1 for count in links.values())
    for one, match in zip(rows, matches, strict=True):
        assert isinstance(one.executed_at, datetime)
        assert all(abs(by_id[name].executed_at - one.executed_at) < MINUTE for name in ids(match))
