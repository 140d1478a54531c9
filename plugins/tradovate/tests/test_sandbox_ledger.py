from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.plugin import SandboxSettings
from brokersync_tradovate.sandbox_ledger import Book, Fill
from brokersync_tradovate.sandbox_logins import invent_users
from brokersync_tradovate.sandbox_market import (
    PRODUCTS,
    closes,
    front,
    next_session,
    opens,
    previous_session,
    session_of,
    trading_day,
)

NOW = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


def book(first: date, seed: int = 7, **changes: float) -> Book:
    settings = SandboxSettings(now=lambda: NOW, seed=seed, trades_per_day=changes.get("trades_per_day", 5.0))
    accounts = [account for user in invent_users(settings, opens(first)) for account in user.accounts]
    return Book(settings, [account for account in accounts if account.environment == "demo"], first)


def fills(of: Book, last: date) -> list[Fill]:
    return [fill for session in of.sessions(opens(of.first), opens(last)) for fill in session.fills]


def told(fill: Fill) -> tuple[object, ...]:
    return fill.id, fill.order.id, fill.account.id, fill.contract, fill.at, fill.side, fill.quantity, fill.price


@given(MOMENTS)
def test_a_moment_lies_between_the_opening_of_its_session_and_of_the_next(moment: datetime) -> None:
    day = session_of(moment)

    assert day.weekday() < 5
    assert previous_session(next_session(day)) == day
    assert opens(day) <= moment < opens(next_session(day)) or closes(previous_session(day)) <= moment < opens(day)


@given(st.dates(date(2020, 1, 1), date(2035, 1, 1)))
def test_the_contract_traded_expires_within_four_months_and_not_within_a_week(day: date) -> None:
    contract = front(PRODUCTS[0], day)

    assert timedelta(days=8) <= contract.expires - day < timedelta(days=110)
    assert contract.expires.weekday() == 4


def test_fills_lie_within_sessions_and_ids_grow_with_time() -> None:
    rows = fills(book(date(2026, 2, 2)), date(2026, 6, 10))

    assert all(opens(fill.session) <= fill.at < closes(fill.session) for fill in rows)
    assert [fill.id for fill in rows] == sorted({fill.id for fill in rows})
    assert [fill.at for fill in rows] == sorted(fill.at for fill in rows)
    assert all(10**11 <= fill.id < 10**12 for fill in rows)


def test_history_holds_what_a_mapping_must_cope_with() -> None:
    ledger = book(date(2026, 2, 2))
    rows = fills(ledger, date(2026, 6, 10))
    sessions = list(ledger.sessions(opens(ledger.first), opens(date(2026, 6, 10))))
    orders = [order for session in sessions for order in session.orders]

    assert {fill.contract.product.name for fill in rows} == {"MES", "MNQ", "NQ", "ES", "FDXS", "EW", "ZN"}
    assert len(rows) > len({fill.order.id for fill in rows})  # orders of several fills
    assert any(not order.intent.parts for order in orders)  # cancelled orders
    assert any(position.previous for session in sessions for position in session.positions)  # held over a session
    assert any(pair.buy.session != pair.sell.session for session in sessions for pair in session.pairs)
    assert any(pair.buy.at > pair.sell.at for session in sessions for pair in session.pairs)  # shorts
    assert {fill.at.date() == fill.session for fill in rows} == {True, False}


@pytest.mark.parametrize("day", range(2, 12))
def test_pairs_use_up_each_fill_once_whenever_the_books_begin(day: int) -> None:
    ledger = book(trading_day(date(2026, 4, day)))
    used: dict[int, int] = {}
    for session in ledger.sessions(opens(ledger.first), opens(date(2026, 6, 10))):
        for pair in session.pairs:
            for fill in (pair.buy, pair.sell):
                used[fill.id] = used.get(fill.id, 0) + pair.quantity
                assert used[fill.id] <= fill.quantity
    rows = fills(ledger, date(2026, 6, 1))
    assert all(used[fill.id] == fill.quantity for fill in rows)


@pytest.mark.parametrize("later", [date(2026, 3, 3), date(2026, 3, 9)])
def test_books_that_begin_later_tell_the_same_of_the_days_they_share(later: date) -> None:
    long, short = fills(book(date(2026, 2, 2)), date(2026, 4, 1)), fills(book(later), date(2026, 4, 1))

    shared = [told(fill) for fill in long if fill.session > later]
    assert shared == [told(fill) for fill in short if fill.session > later]
    assert {told(fill) for fill in short} <= {told(fill) for fill in long}


def test_another_seed_is_another_history() -> None:
    assert [told(f) for f in fills(book(date(2026, 6, 1)), NOW.date())] != [
        told(f) for f in fills(book(date(2026, 6, 1), seed=8), NOW.date())
    ]


@pytest.mark.parametrize("mean", [0.0, 0.5, 2.0, 12.0])
def test_the_mean_of_trades_a_session_and_account_is_what_was_asked_for(mean: float) -> None:
    ledger = book(date(2024, 6, 3), trades_per_day=mean)
    rows = fills(ledger, date(2026, 6, 10))
    days = sum(1 for _ in ledger.sessions(opens(ledger.first), opens(date(2026, 6, 10))))

    assert len(rows) / (days * 3) == pytest.approx(mean, rel=0.1)
