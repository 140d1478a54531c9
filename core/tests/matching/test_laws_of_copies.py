"""What holds for a journal that was written from the trades, however its rows tell them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.matching import Doubt, ExistingTrade, NamedTrade, Verdict, match_rows
from brokersync.types import BrokerTrade

from .given import AT, BUY, SELL, future, row, trade

_Copy: TypeAlias = tuple[ExistingTrade, tuple[BrokerTrade, ...]]
_SYMBOLS = {"MESH6": ["MESH6", "MESH26", "MES"], "CLF7": ["CLF7", "CL 01-27", "CL"]}
_LEGS = st.tuples(st.sampled_from([BUY, BUY, SELL]), st.sampled_from(list(_SYMBOLS)))
_SECONDS = st.sampled_from([0, 0, 0, 1, 40, 200])


@st.composite
def _fills(draw: st.DrawFn) -> list[NamedTrade]:
    """A few orders, of one leg or two, filled at once or in parts."""
    found: list[NamedTrade] = []
    for order in range(draw(st.integers(1, 4))):
        start = AT + timedelta(seconds=draw(st.sampled_from([0, 0, 1, 90, 4000])))
        for side, symbol in draw(st.lists(_LEGS, min_size=1, max_size=2, unique=True)):
            for _ in range(draw(st.integers(1, 3))):
                one = trade(
                    f"fill:{len(found)}",
                    order_id=f"o{order}",
                    instrument=future(symbol),
                    side=side,
                    quantity=draw(st.sampled_from(["1", "1", "2"])),
                    price=draw(st.sampled_from(["10.254", "10.254", "10.5"])),
                    executed_at=start + timedelta(seconds=draw(_SECONDS)),
                )
                found.append(one)
    return found


@st.composite
def _copies(draw: st.DrawFn, fills: list[NamedTrade]) -> list[_Copy]:
    """A row for each leg of an order, for each of its prices or for each fill; some are missing."""
    groups: defaultdict[tuple[Any, ...], list[BrokerTrade]] = defaultdict(list)
    for named in fills:
        one = named.trade
        groups[one.order_id, one.side, one.instrument.symbol].append(one)
    found: list[_Copy] = []
    for group in groups.values():
        binds = draw(st.sampled_from(["leg", "price", "fill", "nothing"]))
        parts: defaultdict[object, list[BrokerTrade]] = defaultdict(list)
        for one in group:
            parts[{"leg": 0, "price": one.price}.get(binds, one.trade_id)].append(one)
        for part in parts.values() if binds != "nothing" else ():
            found.append((_row(draw, f"r{len(found)}", part), tuple(part)))
    return found


def _row(draw: st.DrawFn, name: str, part: list[BrokerTrade]) -> ExistingTrade:
    first = min(part, key=lambda one: one.executed_at)
    quantity = sum(one.quantity for one in part)
    price = Decimal(sum(one.quantity * one.price for one in part)) / quantity
    at = first.executed_at
    return row(
        name,
        symbol=draw(st.sampled_from(_SYMBOLS[first.instrument.symbol])),
        side=first.side,
        quantity=quantity,
        price=round(price, 2) if draw(st.booleans()) else price,
        executed_at=draw(st.sampled_from([at, at, at.replace(second=0), at.date()])),
        order_id=draw(st.sampled_from([None, None, first.order_id])),
        account_id=draw(st.sampled_from(["A1", "A1", None])),
        zone_doubtful=draw(st.booleans()),
    )


@given(data=st.data(), fills=_fills())
@settings(deadline=None, max_examples=500)
def test_no_row_is_new_whose_fills_are_left_to_be_imported(data: st.DataObject, fills: list[NamedTrade]) -> None:
    copies = data.draw(_copies(fills))
    matches = match_rows([one for one, _ in copies], fills)
    linked = Counter(key.trade_id for match in matches for key in match.trades)
    assert all(count == 1 for count in linked.values())
    for (_, part), match in zip(copies, matches, strict=True):
        if match.verdict is Verdict.NEW:
            assert {one.trade_id for one in part} <= set(linked), match


@given(data=st.data(), fills=_fills())
@settings(deadline=None, max_examples=300)
def test_what_is_the_same_is_told_of_what_the_row_was_written_from(
    data: st.DataObject, fills: list[NamedTrade]
) -> None:
    copies = data.draw(_copies(fills))
    known = {named.trade.trade_id: named.trade for named in fills}
    for (one, part), match in zip(copies, match_rows([one for one, _ in copies], fills), strict=True):
        found = [known[key.trade_id] for key in match.trades]
        assert not found or sum(it.quantity for it in found) == one.quantity
        if match.verdict is Verdict.SAME or (found and not match.doubts):
            assert _bought(found) == _bought(part), match


def _bought(trades: Iterable[BrokerTrade]) -> Counter[tuple[object, ...]]:
    found: Counter[tuple[object, ...]] = Counter()
    for one in trades:
        found[one.instrument.symbol, one.side, one.price] += int(one.quantity)
    return found


_TOLD = ("second", "minute", "day")


@given(
    told=st.lists(
        st.tuples(st.sampled_from(_TOLD), st.sampled_from(["MESH6", "MES"]), st.sampled_from(["10.254", "10.25"])),
        min_size=1,
        max_size=5,
    ),
    more=st.integers(-1, 1),
)
@settings(deadline=None, max_examples=300)
def test_equal_fills_and_as_many_rows_are_linked_however_the_rows_tell_them(
    told: list[tuple[str, str, str]], more: int
) -> None:
    fills = [trade(f"fill:{n}", price="10.254") for n in range(len(told) + more)]
    when = {"second": AT, "minute": AT.replace(second=0), "day": AT.date()}
    rows = [
        row(f"r{n}", executed_at=when[time], symbol=symbol, price=price, zone_doubtful=False)
        for n, (time, symbol, price) in enumerate(told)
    ]
    matches = match_rows(rows, fills)
    linked = [key for match in matches for key in match.trades]
    assert len(set(linked)) == len(linked)
    if more == 0:
        assert len(linked) == len(rows)
    for match in matches if len(linked) < len(fills) else ():
        assert match.verdict is Verdict.LIKELY
        assert Doubt.AMBIGUOUS in match.doubts
