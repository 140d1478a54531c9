from __future__ import annotations

import secrets
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokersync.store import SqliteStore, SqlStore, TradeFilter, reading
from brokersync.store.sql import Fetch, Script
from brokersync.types import (
    AssetClass,
    BookingEffect,
    BrokerTrade,
    Fee,
    FeeKind,
    FeesState,
    Granularity,
    IdQuality,
    Instrument,
    PositionEffect,
    PriceUnit,
    Right,
    Side,
    TimePrecision,
    TradeBooking,
    TradeEvent,
)

from .pages import ALL, DAY, RULES, START, page, trade

digits = st.decimals(allow_nan=False, allow_infinity=False, places=25, min_value=-(10**20), max_value=10**20)
positive = st.one_of(
    st.decimals(min_value=Decimal("0.00000001"), max_value=10**9, places=11).filter(bool),
    st.just(Decimal("0.10000000000000000000001")),
)
names = st.one_of(
    st.integers(2**53, 2**70).map(str),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1),
    st.just("a/b#2'\"\\"),
)
instants = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
maybe = st.none()

instruments = st.builds(
    Instrument,
    symbol=names, broker_id=maybe | names, asset_class=st.sampled_from(AssetClass), currency=maybe | st.just("USD"),
    multiplier=maybe | digits, exchange=maybe | names, isin=maybe | names, underlying=maybe | names,
    expiry=maybe | st.dates(date(1990, 1, 1)), strike=maybe | digits, right=maybe | st.sampled_from(Right),
)  # fmt: skip
trades = st.builds(
    BrokerTrade,
    provider=st.just("paper"), environment=st.just("live"), account_id=names, trade_id=names, order_id=maybe | names,
    group_id=maybe | names, leg=maybe | st.integers(0, 9), related=st.lists(names, max_size=2).map(tuple),
    instrument=instruments, side=st.sampled_from(Side), position_effect=st.sampled_from(PositionEffect),
    quantity=positive, price=digits, price_unit=st.sampled_from(PriceUnit), executed_at=instants,
    time_precision=st.sampled_from(TimePrecision), trade_date=maybe | st.dates(date(1990, 1, 1)),
    fees=st.lists(
        st.builds(Fee, kind=st.sampled_from(FeeKind), amount=digits, currency=st.just("EUR")), max_size=3
    ).map(tuple),
    fees_state=st.sampled_from(FeesState), net_cash=maybe | digits, accrued_interest=maybe | digits,
    event=st.sampled_from(TradeEvent), granularity=st.sampled_from(Granularity),
    tags=st.lists(names, max_size=2).map(tuple), id_quality=st.sampled_from(IdQuality),
)  # fmt: skip


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(trades, min_size=1, max_size=5, unique_by=lambda one: (one.account_id, one.trade_id)))
async def test_what_is_read_is_what_was_kept_to_the_last_digit(store: SqlStore, kept: list[BrokerTrade]) -> None:
    owner = secrets.token_hex(8)  # one store holds all examples, each under an owner of its own
    await store.commit_page(page(*kept, owner=owner), RULES)
    found, _ = await store.trades(owner, ALL)
    assert (await store.commit_page(page(*kept, owner=owner), RULES)).unchanged == len(kept)
    told = {(one.account_id, one.trade_id): one for one in found}
    assert told == {(one.account_id, one.trade_id): attrs.evolve(one, sources=("fills",)) for one in kept}
    for one in kept:
        again = told[one.account_id, one.trade_id]
        assert [format(fee.amount, "f") for fee in again.fees] == [format(fee.amount, "f") for fee in one.fees]
        assert format(again.quantity, "f") == format(one.quantity, "f")


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_reading_in_parts_gives_every_trade_once_in_the_order_of_execution(store: SqlStore, limit: int) -> None:
    moments = [
        START,
        START + timedelta(microseconds=1),
        START - DAY,
        START.replace(microsecond=0) + timedelta(seconds=1),
    ]
    made = [
        trade(f"t{number}", account=f"A{number % 11}", at=moments[number % 4]) for number in range(40)
    ]  # fmt: skip
    await store.commit_page(page(*made), RULES)
    await store.commit_page(page(*made[:9], owner="x"), RULES)
    read: list[BrokerTrade] = []
    after = None
    for _ in range(200):
        part, after = await store.trades("o", ALL, after=after, limit=limit)
        assert len(part) <= limit
        read += part
        if after is None:
            break
    assert sorted(one.trade_id for one in read) == sorted(one.trade_id for one in made)
    assert [one.executed_at for one in read] == sorted(one.executed_at for one in made)


async def test_a_trade_that_arrives_behind_the_reader_is_read_and_one_before_it_is_not_doubled(
    store: SqlStore,
) -> None:
    await store.commit_page(page(*(trade(f"t{number}", at=START + number * DAY) for number in range(4))), RULES)
    first, after = await store.trades("o", ALL, limit=2)
    await store.commit_page(page(trade("early", at=START - DAY), trade("late", at=START + 9 * DAY)), RULES)
    rest, end = await store.trades("o", ALL, after=after, limit=9)
    assert [one.trade_id for one in (*first, *rest)] == ["t0", "t1", "t2", "t3", "late"]
    assert end is None


@pytest.mark.parametrize(
    ("only", "wanted"),
    [
        (TradeFilter(), ["a", "b", "c"]),
        (TradeFilter(cancelled=True), ["a", "b", "c", "gone"]),
        (TradeFilter(account_id="B"), ["c"]),
        (TradeFilter(symbol="USD"), ["b"]),
        (TradeFilter(provider="other"), []),
        (TradeFilter(since=START + DAY), ["b", "c"]),
        (TradeFilter(until=START + DAY), ["a"]),
        (TradeFilter(since=START + DAY, until=START + DAY + timedelta(microseconds=1)), ["b"]),
        (TradeFilter(account_id="A", symbol="EUR", since=START, until=START + 9 * DAY), ["a"]),
    ],
)
async def test_a_filter_narrows_by_each_field_that_is_set(
    store: SqlStore, only: TradeFilter, wanted: list[str]
) -> None:
    cancel = TradeBooking(
        booking_id="x", environment="live", account_id="A", effect=BookingEffect.CANCEL, refs=("gone",)
    )
    made = [
        trade("a"),
        trade("b", at=START + DAY, symbol="USD"),
        trade("c", at=START + 2 * DAY, account="B"),
        trade("gone", at=START + 3 * DAY, symbol="USD"),
    ]
    await store.commit_page(page(*made), RULES)
    await store.commit_page(page(bookings=(cancel,)), RULES)
    if only.symbol == "USD":
        assert [one.trade_id for one in (await store.trades("o", attrs.evolve(only, cancelled=True)))[0]] == [
            "b",
            "gone",
        ]
    assert [one.trade_id for one in (await store.trades("o", only))[0]] == wanted


async def test_reading_is_found_by_an_index_and_never_sorted(store: SqlStore) -> None:
    await store.commit_page(page(trade("a")), RULES)
    asked = next(reading.trades("o", ALL, (START.isoformat(), "1/a"), 10))
    assert isinstance(asked, Fetch)
    plan = "\n".join(await store._read(lambda: _plan(asked, isinstance(store, SqliteStore))))
    assert "trades_by_time" in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan


def _plan(asked: Fetch, lite: bool) -> Script[list[str]]:
    if not lite:
        # of a table with one row, Postgres would read it all and sort that
        for way in ("seqscan", "bitmapscan", "sort"):
            yield Fetch(f"SET LOCAL enable_{way} = off")
    rows = yield Fetch(f"EXPLAIN {'QUERY PLAN' if lite else ''} {asked.sql}", asked.params)
    return [str(row[-1]) for row in rows]
