"""When the broker made what was read: kept beside a booking, outside of what it is recognised by."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from brokersync.records import AccountKey
from brokersync.store import BookingSearch, SqlStore, StoredBooking
from brokersync.types import BookingEffect, QuarantinedRow, TradeBooking

from .pages import ALL, DAY, RULES, START, key, page, rows, trade, written

_HISTORY = ("trades", "changes", "raw_rows", "booking_names")


def priced(price: int, as_of: datetime | None, **facts: Any) -> Any:
    return page(trade("a", price=Decimal(price), raw={"price": price}), as_of=as_of, **facts)


async def kept(store: SqlStore, name: str = "a", account: AccountKey | None = None) -> StoredBooking:
    (found,) = await store.stored_bookings(BookingSearch(key=account or key(), names=(name,)))
    return found


async def test_the_raw_row_origin_and_time_are_those_of_the_version_that_stands(store: SqlStore) -> None:
    await store.commit_page(priced(2, START + DAY, origin={"file": "new"}), RULES)
    before = await rows(store, _HISTORY)
    await store.commit_page(priced(1, START, origin={"file": "old"}), RULES)
    assert {name: found for name, found in (await rows(store, _HISTORY)).items() if name != "trades"} == {
        name: found for name, found in before.items() if name != "trades"
    }
    one = await kept(store)
    assert (one.raw, one.origin["file"], one.as_of, one.version) == ({"price": 2}, "new", START + DAY, 2)
    assert [(one.price, one.revision) for one in (await store.trades("o", ALL))[0]] == [(Decimal(2), 2)]


async def test_a_file_that_is_read_again_writes_no_row_whether_it_stands_or_not(store: SqlStore) -> None:
    old, new = priced(1, START), priced(2, START + DAY)
    for one in (new, old):
        await store.commit_page(one, RULES)
    before, touched = await rows(store), await written(store)
    assert (await store.commit_page(new, RULES)).dispositions == ("unchanged",)
    assert (await store.commit_page(old, RULES)).dispositions == ("outdated",)
    assert await written(store) == touched
    assert await rows(store) == before


async def test_the_same_told_later_touches_nothing_but_the_time_of_its_booking(store: SqlStore) -> None:
    await store.commit_page(priced(1, START), RULES)
    before = await rows(store)
    again = await store.commit_page(priced(1, START + DAY), RULES)
    after = await rows(store)
    assert (again.unchanged, again.dispositions) == (1, ("unchanged",))
    assert {name: found for name, found in after.items() if name != "bookings"} == {
        name: found for name, found in before.items() if name != "bookings"
    }
    assert (await kept(store)).as_of == START + DAY
    assert (await store.commit_page(priced(2, START), RULES)).dispositions == ("outdated",)


async def test_what_stands_keeps_its_hash_whatever_its_time(store: SqlStore) -> None:
    await store.commit_page(priced(1, None, owner="x"), RULES)
    await store.commit_page(priced(1, START, owner="y"), RULES)
    one, other = await kept(store, account=key("x")), await kept(store, account=key("y"))
    assert one.booking == other.booking
    (first, second) = (await rows(store, ["bookings"]))["bookings"]
    assert first[7] == second[7], "the hash"


async def test_of_a_version_that_does_not_stand_no_name_joins_its_row_to_another(store: SqlStore) -> None:
    def named(*refs: str) -> TradeBooking:
        return TradeBooking.of(trade("a"), refs=("a", *refs), effect=BookingEffect.NEW)

    await store.commit_page(page(trade("b")), RULES)
    await store.commit_page(page(bookings=(named(),), as_of=START + DAY), RULES)
    assert (await store.commit_page(page(bookings=(named("b"),), as_of=START), RULES)).dispositions == ("outdated",)
    assert [one.trade_id for one in (await store.trades("o", ALL))[0]] == ["a", "b"]


async def test_a_row_in_quarantine_has_the_time_at_which_it_was_told_last(store: SqlStore) -> None:
    bad = (QuarantinedRow(reason="odd", raw={"x": 1}, account_id="A", environment="live"),)
    for as_of in (START, START + DAY, START - DAY, None):
        await store.commit_page(page(quarantined=bad, as_of=as_of), RULES)
    (one,) = await store.quarantined_raw("o", "paper", "fills")
    assert one.as_of == START + DAY
