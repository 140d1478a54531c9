"""Fees that are known are not taken back by a reading that does not know them yet."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs
import pytest

from brokersync.records import PageCommit
from brokersync.store import SqlStore
from brokersync.types import BookingEffect, Fee, FeeKind, FeesState, TradeBooking

from .pages import ALL, DAY, RULES, START, page, rows, trade

COMMISSION = Fee(kind=FeeKind.COMMISSION, amount=Decimal("0.5"), currency="USD")
BOTH = (COMMISSION, Fee(kind=FeeKind.EXCHANGE, amount=Decimal("0.25"), currency="USD"))


def charged(fees: tuple[Fee, ...], state: FeesState, *, as_of: datetime | None = None, **facts: Any) -> PageCommit:
    return page(trade("a", fees=fees, fees_state=state, **facts), as_of=as_of)


async def stands(store: SqlStore) -> tuple[tuple[Fee, ...], FeesState]:
    ((one,), _) = await store.trades("o", ALL)
    return one.fees, one.fees_state


@pytest.mark.parametrize("state", [FeesState.FINAL, FeesState.ESTIMATED])
@pytest.mark.parametrize("told", [(), (COMMISSION,)], ids=["nothing", "a part"])
async def test_a_reading_with_fees_to_come_leaves_those_that_are_known(
    store: SqlStore, state: FeesState, told: tuple[Fee, ...]
) -> None:
    await store.commit_page(charged(BOTH, state), RULES)
    before = await rows(store)
    again = await store.commit_page(charged(told, FeesState.PENDING), RULES)
    assert await stands(store) == (BOTH, state)
    assert (again.unchanged, again.dispositions) == (1, ("unchanged",))
    assert await rows(store) == before


async def test_what_else_such_a_reading_tells_is_taken(store: SqlStore) -> None:
    await store.commit_page(charged(BOTH, FeesState.FINAL), RULES)
    await store.commit_page(charged((), FeesState.PENDING, order_id="7"), RULES)
    ((one,), _) = await store.trades("o", ALL)
    assert (one.order_id, one.fees, one.fees_state) == ("7", BOTH, FeesState.FINAL)


async def test_a_part_is_not_taken_back_by_a_reading_that_knows_none(store: SqlStore) -> None:
    await store.commit_page(charged((COMMISSION,), FeesState.PENDING), RULES)
    await store.commit_page(charged((), FeesState.PENDING), RULES)
    assert await stands(store) == ((COMMISSION,), FeesState.PENDING)


@pytest.mark.parametrize("state", [FeesState.FINAL, FeesState.ESTIMATED])
async def test_fees_that_a_later_reading_knows_otherwise_are_taken(store: SqlStore, state: FeesState) -> None:
    await store.commit_page(charged(BOTH, FeesState.FINAL), RULES)
    await store.commit_page(charged((COMMISSION,), state), RULES)
    assert await stands(store) == ((COMMISSION,), state)


@pytest.mark.parametrize("state", list(FeesState))
async def test_fees_that_a_reading_contradicts_do_not_stay_though_it_waits_for_the_rest(
    store: SqlStore, state: FeesState
) -> None:
    other = attrs.evolve(COMMISSION, amount=Decimal("0.75"))
    await store.commit_page(charged(BOTH, state), RULES)
    await store.commit_page(charged((other,), FeesState.PENDING), RULES)
    assert await stands(store) == ((other,), FeesState.PENDING)


async def test_fees_of_another_execution_than_was_told_are_not_kept(store: SqlStore) -> None:
    await store.commit_page(charged(BOTH, FeesState.FINAL), RULES)
    await store.commit_page(charged((), FeesState.PENDING, quantity=Decimal(3)), RULES)
    assert await stands(store) == ((), FeesState.PENDING)


async def test_of_dated_readings_the_one_made_later_stands_whatever_it_knows(store: SqlStore) -> None:
    """Else what stands would hang on which of them was read first."""
    await store.commit_page(charged(BOTH, FeesState.FINAL, as_of=START), RULES)
    await store.commit_page(charged((), FeesState.PENDING, as_of=START + DAY), RULES)
    assert await stands(store) == ((), FeesState.PENDING)


async def test_a_cancel_has_no_fees_to_keep(store: SqlStore) -> None:
    await store.commit_page(charged(BOTH, FeesState.FINAL), RULES)
    cancel = TradeBooking(
        booking_id="a", account_id="A", environment="live", effect=BookingEffect.CANCEL, refs=("a",), trade=None
    )
    assert (await store.commit_page(page(bookings=(cancel,)), RULES)).dispositions != ("unchanged",)
