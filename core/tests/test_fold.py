from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.records import Change, ChangeKind, KeptBooking, PageCommit, PageOutcome
from brokersync.store import PageRules, SqliteStore, TradeFilter
from brokersync.sync.fold import fold
from brokersync.sync.ledger import cover
from brokersync.types import (
    AssetClass,
    BookingEffect,
    BrokerTrade,
    Fee,
    FeeKind,
    FeesMode,
    FeesState,
    Instrument,
    Side,
    TradeBooking,
    TradeStatus,
)

T = TypeVar("T")

START = datetime(2026, 3, 2, 15, tzinfo=UTC)
EUR = Instrument(symbol="EUR", asset_class=AssetClass.STOCK, currency="USD", multiplier=Decimal(1))
PRECEDENCE = {"service": 30, "live": 20, "file": 10}
NEW, REPLACE, CANCEL, AMEND = BookingEffect.NEW, BookingEffect.REPLACE, BookingEffect.CANCEL, BookingEffect.AMEND
ACTIVE, CANCELLED = TradeStatus.ACTIVE, TradeStatus.CANCELLED


def fee(amount: str, currency: str = "USD") -> Fee:
    return Fee(kind=FeeKind.COMMISSION, amount=Decimal(amount), currency=currency)


def trade(trade_id: str, *, price: str = "1", fees: tuple[Fee, ...] = (), quantity: str = "1") -> BrokerTrade:
    return BrokerTrade(
        provider="paper", environment="live", account_id="A", trade_id=trade_id, instrument=EUR, side=Side.BUY,
        quantity=Decimal(quantity), price=Decimal(price), executed_at=START, fees=fees,
    )  # fmt: skip


def row(
    booking_id: str,
    effect: BookingEffect = NEW,
    *,
    key: str | None = None,
    price: str = "1",
    fees: tuple[Fee, ...] = (),
    mode: FeesMode = FeesMode.TOTAL,
    **facts: Any,
) -> TradeBooking:
    """A booking; a cancel is bare unless it is given a `key`."""
    bare = effect is CANCEL and key is None
    return TradeBooking(
        booking_id=booking_id, environment="live", account_id="A", effect=effect, fees_mode=mode,
        trade=None if bare else trade(key or booking_id, price=price, fees=fees),
        fees=fees if bare else (), **facts,
    )  # fmt: skip


def folded(*rows: TradeBooking | tuple[str, TradeBooking]) -> list[BrokerTrade]:
    """The trades of the rows, which come from the service unless they name their source, in every order."""
    kept = [
        KeptBooking(source=source, precedence=PRECEDENCE[source], version=1, booking=booking)
        for source, booking in (one if isinstance(one, tuple) else ("service", one) for one in rows)
    ]
    outcomes = [fold(order) for order in itertools.permutations(kept)]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    return list(outcomes[0])


def only(*rows: TradeBooking | tuple[str, TradeBooking]) -> BrokerTrade:
    (one,) = folded(*rows)
    return one


def test_one_row_is_one_trade() -> None:
    assert only(row("a", price="7", fees=(fee("0.5"),))) == attrs.evolve(
        trade("a", price="7", fees=(fee("0.5"),)), sources=("service",)
    )


def test_a_cancel_voids_its_trade() -> None:
    assert only(row("a"), row("c", CANCEL, refs=("a",))).status is CANCELLED


@pytest.mark.parametrize("effect", [NEW, REPLACE])
@pytest.mark.parametrize("refs", [("a", "x"), ("x",)])
@pytest.mark.parametrize("orders", [((1,), (2,), (3,)), ((1, 1), (0, 2), (2, 3)), ((), (), ())])
def test_a_cancel_and_its_replacement_end_in_one_trade(
    effect: BookingEffect, refs: tuple[str, ...], orders: Sequence[tuple[int, ...]]
) -> None:
    one = only(
        row("a", key="x", price="1", order=orders[0]),
        row("b", CANCEL, refs=refs, order=orders[1]),
        row("c", effect, key="x", price="2", order=orders[2]),
    )
    assert (one.trade_id, one.status, one.price) == ("x", ACTIVE, Decimal(2))


def test_a_replacement_that_is_cancelled_too_leaves_nothing() -> None:
    one = only(
        row("a", key="x", order=(1,)),
        row("b", CANCEL, refs=("a",), order=(2,)),
        row("c", key="x", price="2", order=(3,)),
        row("d", CANCEL, refs=("c",), order=(4,)),
    )
    assert (one.status, one.price) == (CANCELLED, Decimal(2))


def test_a_replacement_without_an_order_still_follows_what_it_replaces() -> None:
    # by name it would come first
    assert only(row("z", key="x"), row("a", REPLACE, key="x", price="2")).price == 2
    assert only(row("z", key="x", order=(5,)), ("file", row("a", REPLACE, key="x", price="2"))).price == 2


def test_the_key_is_the_original_rows_whatever_the_replacement_calls_itself() -> None:
    assert only(row("z"), row("a", REPLACE, refs=("z",), price="2")).trade_id == "z"


def test_a_replacement_supersedes_without_a_cancel_and_can_be_cancelled_by_the_trades_key() -> None:
    first, second = TradeBooking.of(trade("x"), order=(1,)), row("x/2", REPLACE, key="x", price="2", order=(2,))
    assert only(first, second).status is ACTIVE
    assert only(first, second, row("x/3", CANCEL, refs=("x",), order=(3,))).status is CANCELLED


def test_a_cancel_belongs_to_the_original_where_nothing_orders_it_behind_the_replacement() -> None:
    for order in ((), (2,)):
        cancel = row("x/3", CANCEL, refs=("x",), order=order)
        assert only(row("x", order=(1,)), row("x/2", REPLACE, key="x", price="2"), cancel).status is ACTIVE


def test_a_late_cancel_of_what_was_replaced_leaves_the_replacement() -> None:
    one = only(
        row("a", key="x", order=(1,)),
        row("b", REPLACE, key="x", price="2", order=(2,)),
        row("c", CANCEL, refs=("a",), order=(3,)),
    )
    assert (one.status, one.price) == (ACTIVE, Decimal(2))


def test_a_replacement_newer_than_an_amendment_wins() -> None:
    one = only(
        row("a", key="x", order=(1,)),
        row("b", AMEND, key="x", price="2", order=(2,)),
        row("c", REPLACE, key="x", price="3", order=(3,)),
    )
    assert one.price == 3


def test_an_amendment_changes_the_content_and_not_the_key() -> None:
    one = only(row("z", key="x"), row("a", AMEND, key="y", refs=("x",), price="2"))
    assert (one.trade_id, one.price, one.status) == ("x", Decimal(2), ACTIVE)


def test_an_amendment_whose_original_is_unknown_is_a_trade_and_can_be_cancelled() -> None:
    assert only(row("a", AMEND, key="x", price="2")).price == 2
    assert only(row("a", AMEND, key="x"), row("b", CANCEL, refs=("x",))).status is CANCELLED


def test_a_cancel_alone_gives_no_trade_even_with_the_trades_content() -> None:
    assert folded(row("c", CANCEL, refs=("a",))) == []
    assert folded(row("c", CANCEL, key="a", price="5")) == []


def test_a_cancel_with_the_trades_content_voids_it_and_does_not_name_it() -> None:
    one = only(row("z", key="x", price="2"), ("service", row("a", CANCEL, key="a", refs=("x",), price="9")))
    assert (one.trade_id, one.status, one.price) == ("x", CANCELLED, Decimal(2))


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [
        (row("a", price="1"), row("a", price="2")),
        (row("e1", key="x", price="1", mode=FeesMode.PART), row("t1", key="x", aliases=("e1",), price="2")),
        (row("e1", key="x", price="1"), row("t1", key="x", price="2")),
    ],
    ids=["the same id", "an alias", "shared refs"],
)
def test_where_two_sources_tell_of_one_row_the_higher_precedence_wins(
    weaker: TradeBooking, stronger: TradeBooking
) -> None:
    one = only(("file", weaker), ("service", stronger))
    assert (one.price, one.sources) == (Decimal(2), ("file", "service"))


def test_the_higher_precedence_wins_though_only_the_other_source_orders_its_rows() -> None:
    assert only(("file", row("e", key="x", order=(4,))), ("service", row("t", key="x", price="2"))).price == 2


def test_parts_of_a_commission_are_summed_over_the_chain_and_told_rows_count_once() -> None:
    part = FeesMode.PART
    original = row("t1", key="x", aliases=("e1",), fees=(fee("2"), fee("1", "EUR")), mode=part, order=(1,))
    cancel = row("t2", CANCEL, refs=("t1",), fees=(fee("-0.25"),), mode=part, order=(2,))
    replacement = row("t3", key="x", fees=(fee("-0.5"),), mode=part, order=(3,))
    again = ("live", row("e1", key="x", fees=(fee("2.1"),), mode=part, order=(1,)))
    assert only(original, cancel, replacement, again).fees == (fee("1", "EUR"), fee("1.25"))
    assert only(original, cancel, again).fees == (fee("1", "EUR"), fee("1.75"))


def test_three_sources_tell_of_one_row_though_only_the_middle_one_knows_both_of_its_names() -> None:
    part = {"key": "x", "fees": (fee("2"),), "mode": FeesMode.PART}
    one = only(
        ("service", row("t1", **part)), ("live", row("t1", aliases=("e1",), **part)), ("file", row("e1", **part))
    )
    assert one.fees == (fee("2"),)


def test_a_cancel_finds_its_row_by_a_name_that_another_source_gave_it() -> None:
    one = only(
        row("t1", key="x", order=(1,)),
        row("t2", key="x", order=(2,)),
        ("live", row("e2", key="x", aliases=("t2",), order=(2,))),
        ("live", row("c", CANCEL, refs=("e2",), order=(3,))),
    )
    assert one.status is CANCELLED


def test_a_total_replaces_the_commission_and_a_cancelled_total_costs_what_its_cancel_says() -> None:
    original, cancel = row("a", key="x", fees=(fee("2"),), order=(1,)), row("b", CANCEL, refs=("a",), fees=(fee("1"),))
    assert only(original, row("c", REPLACE, key="x", fees=(fee("3"),), order=(2,))).fees == (fee("3"),)
    assert only(original, cancel).fees == (fee("1"),)


def test_a_sum_of_commissions_keeps_every_digit() -> None:
    small, large = "0.00000000000000000000000000000000000001", "10000000000000000000000000000000000000000"
    one = only(
        row("a", key="x", fees=(fee(large),), mode=FeesMode.PART),
        row("b", REPLACE, key="x", fees=(fee(small),), mode=FeesMode.PART),
    )
    assert str(one.fees[0].amount) == large + small[1:]


def test_one_cancel_by_content_voids_one_of_two_equal_rows() -> None:
    twins = [row(name, loose_refs=("content",)) for name in ("a", "b")]
    cancels = [row(name, CANCEL, loose_refs=("content",)) for name in ("c", "d")]
    assert [one.status for one in folded(*twins)] == [ACTIVE, ACTIVE]
    assert [one.status for one in folded(*twins, cancels[0])] == [CANCELLED, ACTIVE]
    assert [one.status for one in folded(*twins, *cancels)] == [CANCELLED, CANCELLED]
    assert [one.status for one in folded(twins[0], *cancels)] == [CANCELLED]


def test_a_cancel_with_an_id_leaves_its_target_to_it_and_the_content_leads_to_the_other() -> None:
    twins = [row(name, loose_refs=("content",)) for name in ("a", "b")]
    by_id = row("c", CANCEL, refs=("a",), loose_refs=("content",))
    assert [one.status for one in folded(*twins, by_id)] == [CANCELLED, ACTIVE]
    assert [one.status for one in folded(*twins, by_id, row("d", CANCEL, loose_refs=("content",)))] == [CANCELLED] * 2


# From here on through the store: whatever is told, in whatever order and pages, ends in the same state.


class Runs:
    """One store for many runs, each under an owner of its own."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self.store = SqliteStore(folder / "store.db")
        self.do(self.store.open())
        self._owners = (f"owner-{number}" for number in itertools.count())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def new(self) -> Run:
        return Run(self, next(self._owners))

    def close(self) -> None:
        self.do(self.store.close())
        self._runner.close()


class Run:
    """Pages into the store, and a reader of the feed that keeps a copy of the trades and checks every entry."""

    def __init__(self, runs: Runs, owner: str) -> None:
        self.runs, self.owner = runs, owner
        self.position = 0
        self.copy: dict[str, BrokerTrade] = {}
        self.revisions: dict[str, int] = {}
        self.feed: list[Change] = []

    def commit(self, source: str, *bookings: TradeBooking) -> PageOutcome:
        page = PageCommit(owner=self.owner, provider="paper", source=source, at=START, bookings=bookings)
        rules = PageRules(fold=fold, cover=cover, precedence=PRECEDENCE.__getitem__)
        outcome = self.runs.do(self.runs.store.commit_page(page, rules))
        self._follow(outcome)
        return outcome

    def trades(self) -> dict[str, BrokerTrade]:
        every = TradeFilter(cancelled=True)
        page, after = self.runs.do(self.runs.store.trades(self.owner, every, limit=1000))
        assert after is None
        return {one.trade_id: one for one in page}

    def counts(self) -> list[dict[str, int]]:
        return [dict(one) for one in self.runs.do(self.runs.store.counts(self.owner)).values()]

    def _follow(self, outcome: PageOutcome) -> None:
        now = self.trades()
        changes = self.runs.do(self.runs.store.changes(self.owner, self.position, 1000))
        for change in changes:
            assert change.position > self.position
            self.position = change.position
            assert change.revision >= self.revisions.get(change.trade_id, 0), "a revision went back"
            self.revisions[change.trade_id] = change.revision
            self._apply(change, now)
        assert {key: told(one) for key, one in self.copy.items()} == {key: told(one) for key, one in now.items()}
        kinds = [change.kind for change in changes]
        counted = [kinds.count(kind) for kind in (ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.REMOVED)]
        assert counted == [outcome.added, outcome.modified, outcome.removed]
        self.feed += changes

    def _apply(self, change: Change, now: dict[str, BrokerTrade]) -> None:
        if change.kind is ChangeKind.REMOVED:
            assert change.merged_into is None or change.merged_into in now
            del self.copy[change.trade_id]
            return
        assert (change.trade_id in self.copy) is (change.kind is ChangeKind.MODIFIED)
        self.copy[change.trade_id] = now[change.trade_id]


def told(one: BrokerTrade) -> BrokerTrade:
    """The trade but for what only says how it came about, of which the feed does not tell."""
    return attrs.evolve(one, revision=1, sources=())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    made = Runs(tmp_path_factory.mktemp("fold"))
    yield made
    made.close()


Told = tuple[str, TradeBooking]

_names = st.lists(st.sampled_from(["x", "y", "z"]), max_size=2, unique=True).map(tuple)
_loose = st.lists(st.sampled_from(["l", "m"]), max_size=1).map(tuple)
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


def test_a_late_fee_modifies_the_trade_and_the_feed_says_why(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("a", fees=()))
    late = run.commit("service", row("a", fees=(fee("1.5"),)))
    assert (late.modified, late.dispositions) == (1, ("modified",))
    assert [change.cause.value for change in run.feed] == ["broker", "late_fee"]
    assert run.trades()["a"].fees == (fee("1.5"),)
    assert run.trades()["a"].revision == 2


def test_the_feed_tells_corrections_from_other_news(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("a", key="x", order=(1,)))
    run.commit("service", row("c", CANCEL, refs=("a",), order=(2,)))
    run.commit("service", row("b", REPLACE, key="x", order=(3,)))
    run.commit(
        "service", attrs.evolve(row("b", REPLACE, key="x", order=(3,)), trade=attrs.evolve(trade("x"), tags=("t",)))
    )
    assert [change.cause.value for change in run.feed] == ["broker", "correction", "correction", "broker"]
    assert run.trades()["x"].status is ACTIVE


def test_fees_that_a_cancelled_trade_still_costs_are_a_late_fee(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("a"), row("c", CANCEL, refs=("a",)))
    run.commit("service", row("c", CANCEL, refs=("a",), fees=(fee("0.5"),)))
    assert [change.cause.value for change in run.feed] == ["broker", "late_fee"]


def test_two_keys_found_to_be_one_end_as_merged(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("a"), row("b", order=(2,)))
    assert set(run.trades()) == {"a", "b"}
    linked = run.commit("service", row("c", REPLACE, key="a", refs=("b",), order=(3,), price="5"))
    assert (linked.modified, linked.removed) == (1, 1)
    assert set(run.trades()) == {"a"}
    removed = run.feed[-1]
    assert (removed.kind, removed.trade_id, removed.merged_into) == (ChangeKind.REMOVED, "b", "a")


def test_a_key_that_changes_beside_a_twin_is_merged_into_its_own_heir(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("m", key="m", loose_refs=("content",)), row("a", loose_refs=("content",)))
    run.commit("service", row("z", key="z", refs=("m",), loose_refs=("content",), order=()))
    # the set holds two trades; the one whose row came first in rank gives its key
    merged = [change for change in run.feed if change.kind is ChangeKind.REMOVED]
    assert all(change.merged_into in ("m", "z") for change in merged)
    run.commit("service", row("b", key="b", refs=("m",), loose_refs=("content",)))
    assert {"a", "b"} == set(run.trades())
    assert run.feed[-1].trade_id == "m"
    assert run.feed[-1].merged_into == "b"


def test_a_lone_cancel_waits_is_counted_and_meets_its_target_later(runs: Runs) -> None:
    run = runs.new()
    cancel = row("c", CANCEL, refs=("a",))
    waiting = run.commit("service", cancel)
    assert (waiting.waiting, waiting.dispositions) == (1, ("waiting",))
    assert run.counts() == [{"active": 0, "cancelled": 0, "waiting": 1, "quarantined": 0}]
    assert run.commit("service", cancel).waiting == 0
    met = run.commit("service", row("a"))
    assert (met.waiting, met.dispositions) == (-1, ("added",))
    assert run.trades()["a"].status is CANCELLED
    assert run.counts() == [{"active": 0, "cancelled": 1, "waiting": 0, "quarantined": 0}]


def test_a_cancel_with_the_trades_content_waits_like_a_bare_one(runs: Runs) -> None:
    run = runs.new()
    assert run.commit("service", row("c", CANCEL, key="a")).waiting == 1
    assert run.commit("service", row("a")).waiting == -1
    assert run.trades()["a"].status is CANCELLED


def test_a_page_says_of_each_row_what_became_of_it_though_sets_are_joined_within_it(runs: Runs) -> None:
    run = runs.new()
    # the second row stands alone until the third joins it to the first
    joined = run.commit("service", row("a"), row("b"), row("c", REPLACE, key="a", refs=("b",)), row("d"))
    assert joined.dispositions == ("added", "added", "added", "added")
    assert joined.waiting == 0
    assert run.commit("file", row("d"), row("e", CANCEL, refs=("nothing",)), row("a", price="9")).dispositions == (
        "known", "waiting", "known",
    )  # fmt: skip
    assert run.commit("service", row("d")).dispositions == ("unchanged",)


def test_a_later_twin_moves_the_cancel_and_no_revision_goes_back(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("b", loose_refs=("content",)), row("c", CANCEL, loose_refs=("content",)))
    assert run.trades()["b"].status is CANCELLED
    run.commit("service", row("a", loose_refs=("content",)))
    assert [one.status for one in run.trades().values()] == [CANCELLED, ACTIVE]
    assert run.revisions["b"] == 3


def test_a_change_of_the_fees_state_alone_is_told(runs: Runs) -> None:
    run = runs.new()
    pending = row("a")
    assert pending.trade is not None
    run.commit("live", attrs.evolve(pending, trade=attrs.evolve(pending.trade, fees_state=FeesState.PENDING)))
    run.commit("service", pending)
    assert [change.kind for change in run.feed] == [ChangeKind.ADDED, ChangeKind.MODIFIED]
    assert run.trades()["a"].sources == ("live", "service")


def test_a_second_source_that_says_the_same_adds_no_change(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("a"))
    told_again = run.commit("file", row("a"))
    assert (told_again.added, told_again.modified, told_again.dispositions) == (0, 0, ("known",))
    assert run.trades()["a"].sources == ("file", "service")
