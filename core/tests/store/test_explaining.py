"""The bookings behind a question, with where they were read; each database finds the same."""

from __future__ import annotations

from datetime import timedelta

import attrs

from brokersync.store import BookingSearch, SqlStore
from brokersync.types import BookingEffect, TradeBooking

from .pages import DAY, RULES, START, key, page, trade

CANCEL = TradeBooking(
    booking_id="c", environment="live", account_id="A", effect=BookingEffect.CANCEL, refs=("gone",), raw={"what": "x"}
)


async def found(store: SqlStore, **search: object) -> list[str]:
    asked = BookingSearch(**({"key": key()} | search))  # type: ignore[arg-type]  # a test's own search
    return [one.booking.booking_id for one in await store.stored_bookings(asked)]


async def test_bookings_are_found_by_symbol_and_day_of_their_content_however_it_is_written(store: SqlStore) -> None:
    odd = "a_b%c!'\"ü"
    await store.commit_page(
        page(
            trade("1"),
            trade("2", at=START + DAY),
            trade("3", symbol="EURO"),
            trade("4", symbol=odd),
            trade("5", symbol="axb%c!'\"ü"),
            trade("6", at=START + 9 * DAY, trade_date=START.date()),
        ),
        RULES,
    )
    day = (START.date(),)
    assert await found(store, symbol="EUR", days=day) == ["1", "6"]
    assert await found(store, symbol="eur", days=(START.date(), START.date() + timedelta(days=1))) == ["1", "2", "6"]
    assert await found(store, symbol=odd, days=day) == ["4"]
    assert await found(store, symbol="EUR", days=()) == []


async def test_bookings_come_with_their_set_their_origin_and_their_raw_row(store: SqlStore) -> None:
    first = TradeBooking.of(trade("1"), raw={"id": "1"})
    other = TradeBooking.of(trade("1", symbol="OTHER"), booking_id="1b", refs=("1",))
    origin = {"window": ["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"], "connection": "c"}
    await store.commit_page(page(bookings=(first,), origin=origin), RULES)
    await store.commit_page(page(bookings=(other,), source="file", origin={"file": "a.xml"}), RULES)
    one, two = await store.stored_bookings(BookingSearch(key=key(), names=("1b",)))
    assert (one.source, one.raw, one.origin) == ("fills", {"id": "1"}, origin | {"at": "2026-03-02T15:00:00Z"})
    assert (two.source, two.raw, two.origin["file"]) == ("file", None, "a.xml")
    assert one.set_id == two.set_id
    assert attrs.evolve(one.booking, raw=first.raw) == first


async def test_cancels_that_wait_are_found_whatever_is_asked_and_only_while_they_wait(store: SqlStore) -> None:
    await store.commit_page(page(trade("1"), bookings=(CANCEL,)), RULES)
    assert await found(store) == ["c"]
    await store.commit_page(page(trade("gone")), RULES)
    assert await found(store) == []
    assert await found(store, names=("gone",)) == ["c", "gone"]


async def test_an_owner_finds_nothing_of_another(store: SqlStore) -> None:
    await store.commit_page(page(trade("1"), owner="other", bookings=(CANCEL, TradeBooking.of(trade("1")))), RULES)
    assert await found(store, names=("1",), symbol="EUR", days=(START.date(),)) == []
    assert await found(store, key=key("other"), names=("1",)) == ["c", "1"]


async def test_past_reports_come_newest_first_and_go_on_where_they_were_left(store: SqlStore) -> None:
    for number in range(5):
        await store.log_sync("c" if number % 2 else "d", {"n": number, "owner": "o"}, START, synced=False)
    newest = await store.past_reports(["c", "d"], limit=2)
    assert [report["n"] for _, _, report in newest] == [4, 3]
    rest = await store.past_reports(["c", "d"], before=newest[-1][0])
    assert [report["n"] for _, _, report in rest] == [2, 1, 0]
    assert [report["n"] for _, _, report in await store.past_reports(["c"])] == [3, 1]
    assert await store.past_reports([]) == ()
