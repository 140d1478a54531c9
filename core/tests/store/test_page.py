from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from decimal import Decimal
from hashlib import blake2b

import attrs
import pytest

from brokersync.records import KeptBooking, NumberedRow, OpenRequest, Span, SpanState
from brokersync.store import SqlStore
from brokersync.store.sql import execute
from brokersync.sync.fold import fold
from brokersync.types import (
    BookingEffect,
    BrokerAccount,
    BrokerTrade,
    QuarantinedRow,
    TradeBooking,
)

from .owners import connect, connection
from .pages import ALL, DAY, RULES, START, WEEK, ids, key, page, rows, trade, written

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


async def test_a_page_is_one_transaction(store: SqlStore) -> None:
    def broken(kept: Sequence[KeptBooking]) -> tuple[BrokerTrade, ...]:
        if kept[0].booking.booking_id == "b":
            raise RuntimeError("in the middle")
        return fold(kept)

    with pytest.raises(RuntimeError):
        await store.commit_page(WHOLE, attrs.evolve(RULES, fold=broken))
    assert all(not found for found in (await rows(store)).values())
    assert await store.open_requests("c") == ()
    assert await store.bookmark("c", "fills", "live/A") is None

    with pytest.raises(RuntimeError):
        await store.commit_page(WHOLE, attrs.evolve(RULES, cover=lambda *_: broken([_kept("b")])))
    assert all(not found for found in (await rows(store)).values())

    await connect(store, connection("o", connection_id="c"))
    outcome = await store.commit_page(WHOLE, RULES)
    assert (outcome.added, outcome.quarantined, outcome.dispositions) == (2, 1, ("added", "added"))
    assert await ids(store) == ["a", "b"]
    assert await store.open_requests("c") == (WHOLE.next_request,)
    assert await store.bookmark("c", "fills", "live/A") == "17"
    assert await store.spans("o", "paper", "fills") == {("live", "A"): (Span(window=WEEK, state=SpanState.FINAL),)}
    assert [one.name for one in await store.accounts("c")] == ["Main"]


def _kept(name: str) -> KeptBooking:
    return KeptBooking(source="fills", precedence=1, version=1, booking=TradeBooking.of(trade(name)))


async def test_a_page_committed_again_writes_no_row(store: SqlStore) -> None:
    quiet = attrs.evolve(WHOLE, connection_id=None, next_request=None, bookmark=None)
    await store.commit_page(quiet, RULES)
    before, touched = await rows(store), await written(store)
    again = await store.commit_page(quiet, RULES)
    assert await written(store) == touched
    assert await rows(store) == before
    assert (again.added, again.modified, again.removed, again.unchanged) == (0, 0, 0, 2)
    assert again.dispositions == ("unchanged", "unchanged")
    assert len(await store.changes("o", 0)) == 2


async def test_a_page_of_a_connection_committed_again_writes_only_where_to_go_on(store: SqlStore) -> None:
    await store.commit_page(WHOLE, RULES)
    before = await rows(store)
    await store.commit_page(WHOLE, RULES)
    assert await rows(store) == before


async def test_owners_never_see_each_others_rows(store: SqlStore) -> None:
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


async def test_accounts_and_environments_of_one_owner_are_kept_apart(store: SqlStore) -> None:
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


async def test_positions_of_the_feed_grow_over_all_owners_and_pages_of_it_join(store: SqlStore) -> None:
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


async def test_a_rehearsal_shows_its_own_pages_and_leaves_no_trace(store: SqlStore) -> None:
    await store.commit_page(page(trade("a")), RULES)
    before = await rows(store)
    async with store.rehearsal("o") as rehearsal:
        first = await rehearsal.commit_page(page(trade("b"), trade("a")), RULES)
        assert first.dispositions == ("added", "unchanged")
        cancel = TradeBooking(
            booking_id="c", environment="live", account_id="A", effect=BookingEffect.CANCEL, refs=("b",)
        )
        assert (await rehearsal.commit_page(page(bookings=(cancel,)), RULES)).dispositions == ("modified",)
        assert [one.status.value for one in (await rehearsal.trades("o", ALL))[0]] == ["active", "cancelled"]
        assert await ids(store) == ["a"], "nobody else sees the rehearsal"
    assert await rows(store) == before
    assert (await store.commit_page(page(trade("b")), RULES)).added == 1


async def test_a_page_that_fails_within_a_rehearsal_leaves_the_pages_before_it(store: SqlStore) -> None:
    def broken(_: Sequence[KeptBooking]) -> tuple[BrokerTrade, ...]:
        raise RuntimeError("in the middle")

    async with store.rehearsal("o") as rehearsal:
        await rehearsal.commit_page(page(trade("a")), RULES)
        with pytest.raises(RuntimeError):
            await rehearsal.commit_page(page(trade("b")), attrs.evolve(RULES, fold=broken))
        assert await ids(rehearsal) == ["a"]
        again = await rehearsal.commit_page(page(trade("b"), trade("c")), RULES)
        assert (again.added, again.unchanged) == (2, 0), "nothing of the failed page is there"
        assert await ids(rehearsal) == ["a", "b", "c"]
    assert await ids(store) == []


async def test_a_rehearsal_that_fails_leaves_no_trace_either(store: SqlStore) -> None:
    async def rehearse() -> None:
        async with store.rehearsal("o") as rehearsal:
            await rehearsal.commit_page(page(trade("a")), RULES)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await rehearse()
    assert await ids(store) == []
    await store.commit_page(page(trade("a")), RULES)


async def test_the_raw_row_is_kept_whether_the_booking_or_its_trade_has_it(store: SqlStore) -> None:
    by_booking = TradeBooking.of(trade("a"), raw={"where": "booking"})
    by_trade = TradeBooking.of(trade("b", raw={"where": "trade"}))
    await store.commit_page(page(bookings=(by_booking, by_trade)), RULES)
    kept = [json.loads(zlib.decompress(data))["where"] for _, data, _ in (await rows(store))["raw_rows"]]
    assert sorted(kept) == ["booking", "trade"]
    assert all(not one.raw for one in (await store.trades("o", ALL))[0])


async def test_a_row_whose_raw_form_alone_changed_is_known(store: SqlStore) -> None:
    await store.commit_page(page(trade("a", raw={"x": 1})), RULES)
    assert (await store.commit_page(page(trade("a", raw={"x": 2})), RULES)).unchanged == 1


async def test_a_row_in_quarantine_is_kept_once_with_the_brokers_words(store: SqlStore) -> None:
    bad = QuarantinedRow(reason="side", raw={"side": "Kauf", "n": Decimal("1.10")}, account_id="A", row_id="r")
    for _ in range(2):
        assert (await store.commit_page(page(quarantined=(bad,)), RULES)).quarantined == 1
    (kept,) = await store.quarantined("o")
    assert (kept["reason"], kept["raw"], kept["account_id"]) == ("side", {"side": "Kauf", "n": "1.10"}, "A")


async def test_a_row_that_is_understood_by_now_leaves_quarantine(store: SqlStore) -> None:
    raw = {"side": "Kauf", "n": "1"}
    other = QuarantinedRow(reason="side", raw={"side": "Kauf", "n": "2"})
    bad = QuarantinedRow(reason="side", raw=raw, account_id="A", row_id="r")
    await store.commit_page(page(quarantined=(bad, other)), RULES)
    await store.commit_page(page(quarantined=(attrs.evolve(bad, reason="another side"),)), RULES)
    assert sorted(kept["reason"] for kept in await store.quarantined("o")) == ["another side", "side"]
    await store.commit_page(page(bookings=(TradeBooking.of(trade("r"), raw=raw),), source="other"), RULES)
    await store.commit_page(page(bookings=(TradeBooking.of(trade("r"), raw=raw),), owner="x"), RULES)
    assert len(await store.quarantined("o")) == 2, "neither another source nor another owner speaks for it"
    await store.commit_page(page(trade("r", raw=raw)), RULES)
    assert [kept["raw"] for kept in await store.quarantined("o")] == [other.raw]


async def test_a_row_that_is_read_with_other_things_beside_it_leaves_quarantine_by_its_id(store: SqlStore) -> None:
    bad = QuarantinedRow(reason="side", raw={"fill": 1}, environment="live", row_id="r")
    await store.commit_page(page(quarantined=(bad,)), RULES)
    later = attrs.evolve(bad, raw={"fill": 1, "fee": 2}, reason="another side")
    await store.commit_page(page(quarantined=(later,)), RULES)
    (kept,) = await store.quarantined("o")
    assert (kept["reason"], kept["raw"]) == ("another side", later.raw)
    other = (attrs.evolve(bad, account_id="B"), attrs.evolve(bad, environment="demo"), attrs.evolve(bad, row_id="s"))
    await store.commit_page(page(quarantined=other), RULES)
    await store.commit_page(page(trade("r", raw={"fill": 1, "fee": 3})), RULES)
    assert len(await store.quarantined("o")) == 3, "of another account, environment or name"


async def test_equal_rows_in_quarantine_stay_as_many_until_they_are_understood(store: SqlStore) -> None:
    bad = QuarantinedRow(reason="side", raw={"side": "Kauf"}, account_id="A", environment="live")
    again = NumberedRow(reason="side", raw=bad.raw, account_id="A", environment="live", number=2)
    elsewhere = (attrs.evolve(bad, account_id="B"), attrs.evolve(bad, environment="demo"))
    for _ in range(2):
        await store.commit_page(page(quarantined=(bad, again, *elsewhere)), RULES)
        assert len(await store.quarantined("o")) == 4
    await store.commit_page(page(bookings=(TradeBooking.of(trade("r"), raw=bad.raw),)), RULES)
    kept = await store.quarantined("o")
    assert {(row["environment"], row["account_id"]) for row in kept} == {("live", "B"), ("demo", "A")}


async def test_equal_rows_that_have_ids_by_now_are_told_apart_by_them(store: SqlStore) -> None:
    bad = QuarantinedRow(reason="side", raw={"side": "Kauf"}, account_id="A", environment="live")
    await store.commit_page(page(quarantined=(bad,)), RULES)
    for _ in range(2):
        await store.commit_page(page(quarantined=tuple(attrs.evolve(bad, row_id=name) for name in "rs")), RULES)
        assert len(await store.quarantined("o")) == 2


async def test_a_row_that_an_older_release_put_in_quarantine_is_known(store: SqlStore) -> None:
    bad = QuarantinedRow(reason="side", raw={"side": "Kauf"}, account_id="A", environment="live")
    await store.commit_page(page(quarantined=(bad,)), RULES)
    by_text_alone = blake2b(b'{"side":"Kauf"}', digest_size=16).digest()
    await store._write(lambda: execute("UPDATE quarantine SET hash = ?", by_text_alone))
    other = attrs.evolve(bad, account_id="B")
    again = NumberedRow(reason="side", raw=bad.raw, account_id="A", environment="live", number=2)
    await store.commit_page(page(quarantined=(bad, again, other)), RULES)
    assert len(await store.quarantined("o")) == 3
    await store.commit_page(page(bookings=(TradeBooking.of(trade("r"), raw=bad.raw),)), RULES)
    assert [row["account_id"] for row in await store.quarantined("o")] == ["B"]


async def test_a_row_that_was_read_before_it_was_refused_leaves_quarantine_when_it_is_read_as_before(
    store: SqlStore,
) -> None:
    row = trade("r", raw={"x": 1})
    await store.commit_page(page(row), RULES)
    refused = QuarantinedRow(reason="odd", raw={"x": 1, "y": 2}, account_id="A", environment="live", row_id="r")
    await store.commit_page(page(quarantined=(refused,)), RULES)
    assert (await store.commit_page(page(row), RULES)).unchanged == 1
    assert await store.quarantined("o") == ()


async def test_an_older_version_that_is_understood_does_not_speak_for_a_later_one_that_is_not(store: SqlStore) -> None:
    bad = QuarantinedRow(reason="odd", raw={"v": 2}, account_id="A", environment="live", row_id="r")
    await store.commit_page(page(quarantined=(bad,), as_of=START + DAY), RULES)
    await store.commit_page(page(quarantined=(attrs.evolve(bad, raw={"v": 1}),), as_of=START), RULES)
    await store.commit_page(page(trade("r", raw={"v": 0}), as_of=START), RULES)
    assert [kept["raw"] for kept in await store.quarantined("o")] == [{"v": 2}]
    await store.commit_page(page(trade("r", raw={"v": 3}), as_of=START + 2 * DAY), RULES)
    assert await store.quarantined("o") == ()


async def test_rows_of_which_only_an_id_is_left_are_told_apart_by_it(store: SqlStore) -> None:
    rows = tuple(QuarantinedRow(reason="torn", raw={}, row_id=name) for name in "aab")
    assert (await store.commit_page(page(quarantined=rows), RULES)).quarantined == 3
    assert len(await store.quarantined("o")) == 2


async def test_a_bookings_account_belongs_to_the_connection_that_read_it(store: SqlStore) -> None:
    await connect(store, connection("o", connection_id="c"))
    await store.commit_page(page(trade("a"), connection_id="c"), RULES)
    assert await store.accounts("c") == (BrokerAccount(account_id="A", environment="live"),)
    assert await store.accounts("d") == ()
