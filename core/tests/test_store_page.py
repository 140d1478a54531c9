from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.records import AccountKey, KeptBooking, OpenRequest, PageCommit, Span, SpanState
from brokersync.store import PageRules, SqliteStore, TradeFilter
from brokersync.sync.fold import fold
from brokersync.sync.ledger import cover
from brokersync.types import (
    AssetClass,
    BookingEffect,
    BrokerAccount,
    BrokerTrade,
    Fee,
    FeeKind,
    FeesState,
    Granularity,
    IdQuality,
    Instrument,
    PositionEffect,
    PriceUnit,
    QuarantinedRow,
    Right,
    Side,
    TimePrecision,
    TimeWindow,
    TradeBooking,
    TradeEvent,
)

DAY = timedelta(days=1)
START = datetime(2026, 3, 2, 15, tzinfo=UTC)
WEEK = TimeWindow(START, START + 7 * DAY)
ALL = TradeFilter(cancelled=True)
RULES = PageRules(fold=fold, cover=cover, precedence=lambda _: 1)
TABLES = ("accounts", "bookings", "raw_rows", "booking_names", "trades", "changes", "coverage", "quarantine")


def trade(trade_id: str, *, account: str = "A", at: datetime = START, symbol: str = "EUR", **facts: Any) -> BrokerTrade:
    values: dict[str, Any] = {
        "provider": "paper", "environment": "live", "account_id": account, "trade_id": trade_id, "side": Side.BUY,
        "instrument": Instrument(symbol=symbol, asset_class=AssetClass.STOCK), "quantity": Decimal(1),
        "price": Decimal(2), "executed_at": at,
    }  # fmt: skip
    return BrokerTrade(**(values | facts))


def page(*trades: BrokerTrade, owner: str = "o", **facts: Any) -> PageCommit:
    values: dict[str, Any] = {
        "owner": owner, "provider": "paper", "source": "fills", "at": START,
        "bookings": tuple(TradeBooking.of(one) for one in trades),
    }  # fmt: skip
    return PageCommit(**(values | facts))


def key(owner: str = "o", account: str = "A") -> AccountKey:
    return AccountKey(owner=owner, provider="paper", environment="live", account_id=account)


async def ids(store: SqliteStore, owner: str = "o") -> list[str]:
    return [one.trade_id for one in (await store.trades(owner, ALL))[0]]


def rows(path: Path, tables: Sequence[str] = TABLES) -> dict[str, list[Any]]:
    with sqlite3.connect(path) as db:
        found = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in tables}
    db.close()
    return found


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store.db")
    await made.open()
    yield made
    await made.close()


WHOLE = page(
    trade("a"), trade("b"),
    accounts=(BrokerAccount(account_id="A", environment="live", name="Main"),),
    spans=((key(), Span(window=WEEK, state=SpanState.FINAL)),),
    quarantined=(QuarantinedRow(reason="odd", raw={"x": 1}, account_id="A", environment="live"),),
    connection_id="c",
    request_account="live/A",
    next_request=OpenRequest(connection_id="c", source="fills", account="live/A", window=WEEK, cursor="2"),
    bookmark="17",
)  # fmt: skip


async def test_a_page_is_one_transaction(store: SqliteStore) -> None:
    def broken(kept: Sequence[KeptBooking]) -> tuple[BrokerTrade, ...]:
        if kept[0].booking.booking_id == "b":
            raise RuntimeError("in the middle")
        return fold(kept)

    with pytest.raises(RuntimeError):
        await store.commit_page(WHOLE, attrs.evolve(RULES, fold=broken))
    assert all(not found for found in rows(store.path).values())
    assert await store.open_requests("c") == ()
    assert await store.bookmark("c", "fills", "live/A") is None

    with pytest.raises(RuntimeError):
        await store.commit_page(WHOLE, attrs.evolve(RULES, cover=lambda *_: broken([_kept("b")])))
    assert all(not found for found in rows(store.path).values())

    outcome = await store.commit_page(WHOLE, RULES)
    assert (outcome.added, outcome.quarantined, outcome.dispositions) == (2, 1, ("added", "added"))
    assert await ids(store) == ["a", "b"]
    assert await store.open_requests("c") == (WHOLE.next_request,)
    assert await store.bookmark("c", "fills", "live/A") == "17"
    assert await store.spans("o", "paper", "fills") == {("live", "A"): (Span(window=WEEK, state=SpanState.FINAL),)}
    assert [one.name for one in await store.accounts("c")] == ["Main"]


def _kept(name: str) -> KeptBooking:
    return KeptBooking(source="fills", precedence=1, version=1, booking=TradeBooking.of(trade(name)))


async def test_a_page_committed_again_writes_no_row(store: SqliteStore) -> None:
    quiet = attrs.evolve(WHOLE, connection_id=None, next_request=None, bookmark=None)
    await store.commit_page(quiet, RULES)
    before, written = rows(store.path), await store._read(lambda db: db.total_changes)
    again = await store.commit_page(quiet, RULES)
    assert await store._read(lambda db: db.total_changes) == written
    assert rows(store.path) == before
    assert (again.added, again.modified, again.removed, again.unchanged) == (0, 0, 0, 2)
    assert again.dispositions == ("unchanged", "unchanged")
    assert len(await store.changes("o", 0)) == 2


async def test_a_page_of_a_connection_committed_again_writes_only_where_to_go_on(store: SqliteStore) -> None:
    await store.commit_page(WHOLE, RULES)
    before = rows(store.path)
    await store.commit_page(WHOLE, RULES)
    assert rows(store.path) == before


async def test_owners_never_see_each_others_rows(store: SqliteStore) -> None:
    mine, other = WHOLE, attrs.evolve(page(trade("a", price=Decimal(9))), owner="x")
    await store.commit_page(mine, RULES)
    outcome = await store.commit_page(other, RULES)
    assert outcome.added == 1, "another owner's row of the same name is not this one"
    assert await ids(store, "o") == ["a", "b"]
    assert [one.price for one in (await store.trades("x", ALL))[0]] == [Decimal(9)]
    assert {change.key.owner for change in await store.changes("o", 0)} == {"o"}
    assert {change.key.owner for change in await store.changes("x", 0)} == {"x"}
    assert {one.owner: dict(numbers)["quarantined"] for one, numbers in (await store.counts("o")).items()} == {"o": 1}
    assert {one.owner: dict(numbers)["quarantined"] for one, numbers in (await store.counts("x")).items()} == {"x": 0}
    assert len(await store.quarantined("o")) == 1
    assert await store.quarantined("x") == ()
    assert await store.spans("x", "paper", "fills") == {}
    assert (await store.trades("nobody", ALL)) == ((), None)


async def test_accounts_and_environments_of_one_owner_are_kept_apart(store: SqliteStore) -> None:
    demo = trade("a", environment="demo", price=Decimal(9))
    bad = QuarantinedRow(reason="odd", raw={"x": 1}, account_id="A", environment="demo")
    await store.commit_page(page(trade("a"), demo, trade("a", account="B"), quarantined=(bad,)), RULES)
    found, _ = await store.trades("o", ALL)
    assert sorted((one.environment, one.account_id, one.price) for one in found) == [
        ("demo", "A", Decimal(9)), ("live", "A", Decimal(2)), ("live", "B", Decimal(2)),
    ]  # fmt: skip
    counts = {(one.environment, one.account_id): dict(numbers) for one, numbers in (await store.counts("o")).items()}
    assert [counts[name]["quarantined"] for name in (("live", "A"), ("demo", "A"), ("live", "B"))] == [0, 1, 0]
    assert [counts[name]["active"] for name in (("live", "A"), ("demo", "A"), ("live", "B"))] == [1, 1, 1]


async def test_positions_of_the_feed_grow_over_all_owners_and_pages_of_it_join(store: SqliteStore) -> None:
    for number in range(7):
        await store.commit_page(page(trade(f"t{number}"), trade(f"u{number}"), owner="xo"[number % 2]), RULES)
    read: list[int] = []
    names: list[str] = []
    while found := await store.changes("o", read[-1] if read else 0, limit=3):
        read += [change.position for change in found]
        names += [change.trade_id for change in found]
    assert read == sorted(set(read))
    assert names == ["t1", "u1", "t3", "u3", "t5", "u5"]
    assert not set(read) & {change.position for change in await store.changes("x", 0)}


async def test_a_rehearsal_shows_its_own_pages_and_leaves_no_trace(store: SqliteStore) -> None:
    await store.commit_page(page(trade("a")), RULES)
    before = rows(store.path)
    async with store.rehearsal() as rehearsal:
        first = await rehearsal.commit_page(page(trade("b"), trade("a")), RULES)
        assert first.dispositions == ("added", "unchanged")
        cancel = TradeBooking(
            booking_id="c", environment="live", account_id="A", effect=BookingEffect.CANCEL, refs=("b",)
        )
        assert (await rehearsal.commit_page(page(bookings=(cancel,)), RULES)).dispositions == ("modified",)
        assert [one.status.value for one in (await rehearsal.trades("o", ALL))[0]] == ["active", "cancelled"]
        assert await ids(store) == ["a"], "nobody else sees the rehearsal"
    assert rows(store.path) == before
    assert (await store.commit_page(page(trade("b")), RULES)).added == 1


async def test_a_page_that_fails_within_a_rehearsal_leaves_the_pages_before_it(store: SqliteStore) -> None:
    def broken(_: Sequence[KeptBooking]) -> tuple[BrokerTrade, ...]:
        raise RuntimeError("in the middle")

    async with store.rehearsal() as rehearsal:
        await rehearsal.commit_page(page(trade("a")), RULES)
        with pytest.raises(RuntimeError):
            await rehearsal.commit_page(page(trade("b")), attrs.evolve(RULES, fold=broken))
        assert await ids(rehearsal) == ["a"]
        again = await rehearsal.commit_page(page(trade("b"), trade("c")), RULES)
        assert (again.added, again.unchanged) == (2, 0), "nothing of the failed page is there"
        assert await ids(rehearsal) == ["a", "b", "c"]
    assert await ids(store) == []


async def test_a_rehearsal_that_fails_leaves_no_trace_either(store: SqliteStore) -> None:
    async def rehearse() -> None:
        async with store.rehearsal() as rehearsal:
            await rehearsal.commit_page(page(trade("a")), RULES)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await rehearse()
    assert await ids(store) == []
    await store.commit_page(page(trade("a")), RULES)


async def test_the_raw_row_is_kept_whether_the_booking_or_its_trade_has_it(store: SqliteStore) -> None:
    by_booking = TradeBooking.of(trade("a"), raw={"where": "booking"})
    by_trade = TradeBooking.of(trade("b", raw={"where": "trade"}))
    await store.commit_page(page(bookings=(by_booking, by_trade)), RULES)
    kept = [json.loads(zlib.decompress(data))["where"] for _, data in rows(store.path)["raw_rows"]]
    assert sorted(kept) == ["booking", "trade"]
    assert all(not one.raw for one in (await store.trades("o", ALL))[0])


async def test_a_row_whose_raw_form_alone_changed_is_known(store: SqliteStore) -> None:
    await store.commit_page(page(trade("a", raw={"x": 1})), RULES)
    assert (await store.commit_page(page(trade("a", raw={"x": 2})), RULES)).unchanged == 1


async def test_a_row_in_quarantine_is_kept_once_with_the_brokers_words(store: SqliteStore) -> None:
    bad = QuarantinedRow(reason="side", raw={"side": "Kauf", "n": Decimal("1.10")}, account_id="A", row_id="r")
    for _ in range(2):
        assert (await store.commit_page(page(quarantined=(bad,)), RULES)).quarantined == 1
    (kept,) = await store.quarantined("o")
    assert (kept["reason"], kept["raw"], kept["account_id"]) == ("side", {"side": "Kauf", "n": "1.10"}, "A")


async def test_a_bookings_account_belongs_to_the_connection_that_read_it(store: SqliteStore) -> None:
    await store.commit_page(page(trade("a"), connection_id="c"), RULES)
    assert await store.accounts("c") == (BrokerAccount(account_id="A", environment="live"),)
    assert await store.accounts("d") == ()


digits = st.decimals(allow_nan=False, allow_infinity=False, places=25, min_value=-(10**20), max_value=10**20)
positive = st.one_of(
    st.decimals(min_value=Decimal("0.00000001"), max_value=10**9, places=11).filter(bool),
    st.just(Decimal("0.10000000000000000000001")),
)
names = st.one_of(
    st.integers(2**53, 2**70).map(str), st.text(st.characters(codec="utf-8"), min_size=1), st.just("a/b#2'\"\\")
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


@settings(deadline=None, max_examples=60)
@given(st.lists(trades, min_size=1, max_size=5, unique_by=lambda one: (one.account_id, one.trade_id)))
async def test_what_is_read_is_what_was_kept_to_the_last_digit(kept: list[BrokerTrade]) -> None:
    memory = SqliteStore(Path(":memory:"))
    await memory.open()
    try:
        await memory.commit_page(page(*kept), RULES)
        found, _ = await memory.trades("o", ALL)
        assert (await memory.commit_page(page(*kept), RULES)).unchanged == len(kept)
    finally:
        await memory.close()
    told = {(one.account_id, one.trade_id): one for one in found}
    assert told == {(one.account_id, one.trade_id): attrs.evolve(one, sources=("fills",)) for one in kept}
    for one in kept:
        again = told[one.account_id, one.trade_id]
        assert [format(fee.amount, "f") for fee in again.fees] == [format(fee.amount, "f") for fee in one.fees]
        assert format(again.quantity, "f") == format(one.quantity, "f")


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_reading_in_parts_gives_every_trade_once_in_the_order_of_execution(
    store: SqliteStore, limit: int
) -> None:
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
    store: SqliteStore,
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
    store: SqliteStore, only: TradeFilter, wanted: list[str]
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


async def test_reading_is_found_by_an_index_and_never_sorted(store: SqliteStore) -> None:
    await store.commit_page(page(trade("a")), RULES)
    asked: list[str] = []

    def explain(db: sqlite3.Connection) -> str:
        db.set_trace_callback(lambda text: asked.append(text) if text.startswith("SELECT content") else None)
        from brokersync.store import sqlite_queries

        sqlite_queries.trades(db, "o", ALL, (START.isoformat(), "1/a"), 10)
        db.set_trace_callback(None)
        return " ".join(str(line) for line in db.execute(f"EXPLAIN QUERY PLAN {asked[0]}"))

    plan = await store._read(explain)
    assert "trades_by_time" in plan
    assert "TEMP B-TREE" not in plan
