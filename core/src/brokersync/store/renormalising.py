"""Kept raw rows for a corrected plugin, and what it makes of them in place of what it made before."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from brokersync.converter import instant_text
from brokersync.records import AccountKey, PageCommit, PageOutcome
from brokersync.store.accounts import account_number, numbers_of, own_accounts
from brokersync.store.contents import booking_content, differences, load_trade
from brokersync.store.coverage import drop_requests
from brokersync.store.eras import check_era
from brokersync.store.page import commit_page
from brokersync.store.protocol import PageRules
from brokersync.store.rows import optional_moment, unpack_raw
from brokersync.store.sql import Fetch, Many, Put, Script, fetch_one
from brokersync.types import BrokerTrade, IdQuality, TradeBooking


@attrs.frozen(kw_only=True)
class KeptRow:
    """A booking's raw row as it is kept, packed; `number` and `digest` tell the booking, and the content it has now."""

    number: int
    booking_id: str
    digest: bytes
    packed: bytes

    @property
    def raw(self) -> Mapping[str, Any]:
        raw: Mapping[str, Any] = unpack_raw(self.packed)
        return raw


@attrs.frozen(kw_only=True)
class QuarantinedRaw:
    """A row in quarantine; `digest` is its key there, and `as_of` when the broker made what it was read from."""

    digest: bytes
    environment: str | None
    account_id: str | None
    raw: Mapping[str, Any]
    as_of: datetime | None = None


@attrs.frozen(kw_only=True)
class Renewed:
    """What a kept row has become: `row` is what it was read as."""

    row: KeptRow
    booking: TradeBooking

    @property
    def moves(self) -> bool:
        """Whether it gets another id."""
        return self.booking.booking_id != self.row.booking_id


@attrs.frozen(kw_only=True)
class TradeDifference:
    """A trade before and after; `None` where it was not there."""

    before: BrokerTrade | None
    after: BrokerTrade | None


@attrs.frozen(kw_only=True)
class RenewedPage:
    """What a page of renewed rows did; `left` counts the rows whose new id another row has, or that have changed since
    they were read, and stay as they are."""

    outcome: PageOutcome
    renewed: int
    unchanged: int
    left: int
    differences: tuple[TradeDifference, ...]


def kept_rows(key: AccountKey, source: str) -> Script[tuple[tuple[KeptRow, ...], tuple[str, ...]]]:
    """All kept raw rows of an account in one source, oldest first, and the ids of bookings that have none any more."""
    account = yield from account_number(key.owner, key.provider, key.environment, key.account_id)
    rows = yield Fetch(
        "SELECT bookings.booking, booking_id, hash, data FROM bookings"
        " LEFT JOIN raw_rows ON raw_rows.booking = bookings.booking"
        " WHERE account = ? AND source = ? ORDER BY bookings.booking",
        (-1 if account is None else account, source),
    )
    kept = tuple(
        KeptRow(number=number, booking_id=booking_id, digest=bytes(digest), packed=bytes(data))
        for number, booking_id, digest, data in rows
        if data is not None
    )
    return kept, tuple(booking_id for _, booking_id, _, data in rows if data is None)


def has_booking(key: AccountKey, source: str, name: str) -> Script[bool]:
    account = yield from account_number(key.owner, key.provider, key.environment, key.account_id)
    row = yield from fetch_one(
        "SELECT 1 FROM bookings WHERE account = ? AND source = ? AND booking_id = ?",
        *(-1 if account is None else account, source, name),
    )
    return row is not None


def quarantined_raw(owner: str, provider: str, source: str) -> Script[tuple[QuarantinedRaw, ...]]:
    rows = yield Fetch(
        "SELECT hash, environment, account_id, raw, as_of FROM quarantine"
        " WHERE owner = ? AND provider = ? AND source = ? ORDER BY first_seen, hash",
        (owner, provider, source),
    )
    return tuple(
        QuarantinedRaw(
            digest=bytes(digest),
            environment=environment,
            account_id=account_id,
            raw=unpack_raw(raw),
            as_of=optional_moment(as_of),
        )
        for digest, environment, account_id, raw, as_of in rows
    )


def _begin_anew(page: PageCommit, rules: PageRules, renewed: Sequence[Renewed]) -> Script[None]:
    """What is half read counts on from the names that rows without ids had, and knows none of those in quarantine."""
    new = [one.booking for one in renewed if one.booking.booking_id != one.row.booking_id]
    if any(one.id_quality is IdQuality.SYNTHETIC for one in (*new, *page.bookings)):
        yield from drop_requests(page.owner, page.provider, page.source, rules.reopen)


def renew(
    page: PageCommit, rules: PageRules, renewed: Sequence[Renewed], understood: Sequence[bytes]
) -> Script[RenewedPage]:
    """Put renewed bookings in place of what is kept, in one transaction with the page's own bookings and quarantine.

    A row under another id than before stays the same row. `understood` leave the quarantine.
    """
    # before any account: who erases locks in this order
    yield from check_era(page.era)
    yield from own_accounts(page.owner)
    accounts = {(one.booking.environment, one.booking.account_id) for one in renewed}
    numbers = yield from numbers_of(page.owner, page.provider, accounts)
    changed = {one.row.number: one for one in renewed if booking_content(one.booking)[1] != one.row.digest}
    kept = yield from _still_kept(page.source, changed, numbers)
    before = yield from _trades(list(kept))
    yield from _rename(
        {
            number: changed[number].booking
            for number, one in kept.items()
            if one.booking_id != changed[number].booking.booking_id
        },
        numbers,
    )
    yield from _begin_anew(page, rules, [one for number, one in changed.items() if number in kept])
    mine = tuple(changed[number].booking for number in sorted(kept))
    again = tuple(booking.booking_id for booking in mine)
    given = attrs.evolve(page, bookings=(*mine, *page.bookings), renewed=again)
    outcome = yield from commit_page(given, rules)
    yield from _restore(page, kept)
    yield Many(
        "DELETE FROM quarantine WHERE owner = ? AND provider = ? AND source = ? AND hash = ?",
        [(page.owner, page.provider, page.source, digest) for digest in understood],
    )
    new = yield from _numbers_of_bookings(page, mine)
    after = yield from _trades([*kept, *new])
    return RenewedPage(
        outcome=outcome,
        renewed=len(kept),
        unchanged=len(renewed) - len(changed),
        left=len(changed) - len(kept),
        differences=_differences(before, after),
    )


@attrs.frozen
class _Kept:
    """A booking's id, and where and when it and its raw row were read."""

    booking_id: str
    origin: str | None
    at: str | None


def _still_kept(
    source: str, changed: Mapping[int, Renewed], numbers: Mapping[tuple[str, str], int]
) -> Script[dict[int, _Kept]]:
    """The rows that are as they were read, and whose new id is free."""
    rows = yield Fetch(
        "SELECT bookings.booking, hash, booking_id, origin, at FROM bookings"
        " LEFT JOIN raw_rows ON raw_rows.booking = bookings.booking WHERE bookings.booking IN (??)",
        (sorted(changed),),
    )
    wanted = sorted({one.booking.booking_id for one in changed.values()})
    taken: dict[tuple[int, str], int] = {}
    for account in set(numbers.values()):
        found = yield Fetch(
            "SELECT booking_id, booking FROM bookings WHERE account = ? AND source = ? AND booking_id IN (??)",
            (account, source, wanted),
        )
        taken |= {(account, booking_id): number for booking_id, number in found}
    kept = {
        number: _Kept(*facts)
        for number, digest, *facts in sorted(rows, key=lambda row: row[0])
        if bytes(digest) == changed[number].row.digest
    }
    places = {
        number: (numbers[one.booking.environment, one.booking.account_id], one.booking.booking_id)
        for number, one in changed.items()
    }
    while blocked := _blocked(kept.keys(), places, taken):
        kept = {number: one for number, one in kept.items() if number not in blocked}
    return kept


def _blocked(
    kept: Collection[int], places: Mapping[int, tuple[int, str]], taken: Mapping[tuple[int, str], int]
) -> set[int]:
    """Those whose new id is another's that keeps it, or gets it."""
    blocked: set[int] = set()
    given: dict[tuple[int, str], int] = {}
    for number in kept:
        place = places[number]
        holder = taken.get(place, number)
        leaves = holder in kept and places[holder] != place
        if given.setdefault(place, number) != number or (holder != number and not leaves):
            blocked.add(number)
    return blocked


def _rename(renamed: Mapping[int, TradeBooking], numbers: Mapping[tuple[str, str], int]) -> Script[None]:
    """Give rows their new ids, and let the set that they stand in be found under them."""
    # by way of a name that no row has, since one may get what another leaves
    yield Many("UPDATE bookings SET booking_id = ? WHERE booking = ?", [(f"\x01{one}", one) for one in renamed])
    for number, booking in sorted(renamed.items()):
        account, name = numbers[booking.environment, booking.account_id], booking.booking_id
        mine = yield from fetch_one("SELECT set_id FROM bookings WHERE booking = ?", number)
        other = yield from fetch_one("SELECT set_id FROM booking_names WHERE account = ? AND name = ?", account, name)
        if other is None:
            yield Put("booking_names", ("account", "name", "set_id"), [(account, name, mine[0])])
        elif other[0] != mine[0]:
            low, high = sorted((int(mine[0]), int(other[0])))
            for table in ("bookings", "booking_names", "trades"):
                yield Many(f"UPDATE {table} SET set_id = ? WHERE set_id = ?", [(low, high)])
        yield Many("UPDATE bookings SET booking_id = ? WHERE booking = ?", [(name, number)])


def _restore(page: PageCommit, kept: Mapping[int, _Kept]) -> Script[None]:
    """The rows were read when they were read: a renewed booking keeps its origin, and its raw row its age."""
    at = instant_text(page.at)
    origins = {
        number: json.dumps(
            {**json.loads(one.origin or "{}"), "renormalised": at}, sort_keys=True, separators=(",", ":")
        )
        for number, one in kept.items()
    }
    yield Many("UPDATE bookings SET origin = ? WHERE booking = ?", [(origins[number], number) for number in kept])
    yield Many("UPDATE raw_rows SET at = ? WHERE booking = ?", [(one.at, number) for number, one in kept.items()])


def _numbers_of_bookings(page: PageCommit, mine: Sequence[TradeBooking]) -> Script[list[int]]:
    names = sorted({booking.booking_id for booking in page.bookings} - {booking.booking_id for booking in mine})
    rows = yield Fetch(
        "SELECT booking FROM bookings JOIN accounts ON accounts.account = bookings.account"
        " WHERE owner = ? AND provider = ? AND source = ? AND booking_id IN (??)",
        (page.owner, page.provider, page.source, names),
    )
    return [row[0] for row in rows]


def _trades(bookings: Sequence[int]) -> Script[dict[tuple[int, str], str]]:
    rows = yield Fetch(
        "SELECT account, trade_id, content FROM trades"
        " WHERE set_id IN (SELECT set_id FROM bookings WHERE booking IN (??))",
        (list(bookings),),
    )
    return {(account, trade_id): content for account, trade_id, content in rows}


def _differences(
    before: Mapping[tuple[int, str], str], after: Mapping[tuple[int, str], str]
) -> tuple[TradeDifference, ...]:
    found = []
    for place in sorted({*before, *after}):
        old, new = before.get(place), after.get(place)
        if old is None or new is None or differences(old, new):
            found.append(
                TradeDifference(before=load_trade(old) if old else None, after=load_trade(new) if new else None)
            )
    return tuple(found)
