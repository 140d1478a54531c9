"""What holds for any rows and trades."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.matching import Doubt, ExistingTrade, NamedTrade, Verdict, match_rows

from .given import AT, BUY, SELL, row, trade

_SHIFTS = st.sampled_from([0, 0, 0, 1, 30, 48, 60, 3600, -3600, 18000, 18048])
_MOMENTS = _SHIFTS.map(lambda seconds: AT + timedelta(seconds=seconds))
_WHEN = st.one_of(_MOMENTS, _MOMENTS.map(lambda at: at.replace(second=0)), _MOMENTS.map(lambda at: at.date()))
_SIDES = st.sampled_from([BUY, BUY, SELL])
_QUANTITIES = st.sampled_from(["1", "1", "2", "3"])
_PRICES = st.sampled_from(["10.254", "10.254", "10.25", "10.26"])
_IDS = st.lists(st.sampled_from(["1", "2", "tx:3", "4", "404"]), max_size=2, unique=True).map(tuple)
_ORDERS = st.sampled_from([None, None, "o1", "o2"])


@st.composite
def _trades(draw: st.DrawFn) -> list[NamedTrade]:
    return [
        trade(
            f"fill:{number}",
            names=draw(st.lists(st.sampled_from(["tx:3", "x:4"]), max_size=1)),
            side=draw(_SIDES),
            quantity=draw(_QUANTITIES),
            price=draw(_PRICES),
            executed_at=draw(_WHEN),
            order_id=draw(_ORDERS),
        )
        for number in range(draw(st.integers(0, 7)))
    ]


@st.composite
def _rows(draw: st.DrawFn) -> list[ExistingTrade]:
    return [_row(draw, f"r{number}") for number in range(draw(st.integers(0, 7)))]


def _row(draw: st.DrawFn, name: str) -> ExistingTrade:
    facts: dict[str, Any] = {}
    if draw(st.booleans()) and draw(st.booleans()):
        facts = {"exit_price": draw(_PRICES), "exited_at": draw(_WHEN)}
    return row(
        name,
        symbol=draw(st.sampled_from(["MESH6", "MESH6", "MES", "CLF7"])),
        account_id=draw(st.sampled_from(["A1", "A1", None])),
        side=draw(_SIDES),
        quantity=draw(_QUANTITIES),
        price=draw(_PRICES),
        executed_at=draw(_WHEN),
        trade_ids=draw(st.one_of(st.just(()), _IDS)),
        order_id=draw(_ORDERS),
        zone_doubtful=draw(st.booleans()),
        **facts,
    )


@given(rows=_rows(), trades=_trades(), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=300)
def test_the_order_of_rows_and_trades_decides_nothing(
    rows: list[ExistingTrade], trades: list[NamedTrade], seed: int
) -> None:
    expected = {match.row_id: match for match in match_rows(rows, trades)}
    mixed = random.Random(seed)
    shuffled = mixed.sample(rows, len(rows))
    found = match_rows(shuffled, mixed.sample(trades, len(trades)))
    assert [match.row_id for match in found] == [one.row_id for one in shuffled]
    assert {match.row_id: match for match in found} == expected


@given(rows=_rows(), trades=_trades())
@settings(deadline=None, max_examples=300)
def test_a_trade_is_linked_to_one_row_at_most(rows: list[ExistingTrade], trades: list[NamedTrade]) -> None:
    matches = match_rows(rows, trades)
    links = Counter(key for match in matches for key in match.trades)
    assert all(count == 1 for count in links.values())
    for match in matches:
        assert not set(match.trades) & set(match.candidates)
        assert match.reason
        if match.verdict is Verdict.SAME:
            assert match.trades
        if match.verdict is Verdict.LIKELY:
            assert match.trades or match.candidates
        if match.verdict is Verdict.NEW:
            assert not match.trades


@given(rows=_rows(), trades=_trades())
@settings(deadline=None, max_examples=300)
def test_a_row_of_another_quantity_than_what_it_is_linked_to_has_a_doubt(
    rows: list[ExistingTrade], trades: list[NamedTrade]
) -> None:
    quantities = {named.trade.trade_id: named.trade.quantity for named in trades}
    for one, match in zip(rows, match_rows(rows, trades), strict=True):
        linked = sum(quantities[key.trade_id] for key in match.trades)
        if match.trades and one.exit_price is None and linked != one.quantity:
            assert Doubt.QUANTITY in match.doubts
            assert match.verdict is Verdict.LIKELY


@given(trades=_trades())
@settings(deadline=None)
def test_a_faithful_copy_with_its_ids_is_the_same_throughout(trades: list[NamedTrade]) -> None:
    rows = [_copy(named, trade_ids=(named.trade.trade_id,)) for named in trades]
    for named, match in zip(trades, match_rows(rows, trades), strict=True):
        assert (match.verdict, [key.trade_id for key in match.trades]) == (Verdict.SAME, [named.trade.trade_id])


def _copy(named: NamedTrade, **facts: Any) -> ExistingTrade:
    one = named.trade
    return row(
        f"of {one.trade_id}",
        side=one.side,
        quantity=one.quantity,
        price=one.price,
        executed_at=one.executed_at,
        **facts,
    )


def _calls(work: Callable[[], object]) -> int:
    count = 0

    def profile(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    ("what", "trade_of", "row_of"),
    [
        ("all equal", lambda n: trade(f"fill:{n}"), lambda n: row(f"r{n}")),
        (
            "one price, a second apart",
            lambda n: trade(f"fill:{n}", executed_at=AT + timedelta(seconds=n)),
            lambda n: row(f"r{n}", executed_at=AT + timedelta(seconds=n, hours=5)),
        ),
        (
            "one minute, a day apart",
            lambda n: trade(f"fill:{n}", executed_at=AT + timedelta(days=n)),
            lambda n: row(f"r{n}", executed_at=(AT + timedelta(days=n)).replace(second=0)),
        ),
        (
            "one id of several fills",
            lambda n: trade(f"fill:{n}", executed_at=AT + timedelta(seconds=n)),
            lambda n: row(f"r{n}", trade_ids=(f"fill:{3 * n}",), quantity="6"),
        ),
        (
            "nothing fits",
            lambda n: trade(f"fill:{n}", price=Decimal(n)),
            lambda n: row(f"r{n}", price=Decimal(n) + Decimal("0.001")),
        ),
    ],
)
def test_twice_as_many_cost_twice_as_much(
    what: str, trade_of: Callable[[int], NamedTrade], row_of: Callable[[int], ExistingTrade]
) -> None:
    """Counted in calls, which no other load of the machine changes."""
    costs = []
    for size in (400, 1600):
        rows, trades = [row_of(n) for n in range(size)], [trade_of(n) for n in range(size)]
        costs.append(_calls(lambda rows=rows, trades=trades: match_rows(rows, trades)))  # type: ignore[misc]  # bound now
    assert costs[1] < 5 * costs[0], what
