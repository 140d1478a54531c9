"""The rows in a store that were not understood."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import count
from typing import Any

import attrs

from brokersync.converter import instant_text
from brokersync.records import NumberedRow, PageCommit
from brokersync.store.rows import compact, made_at, optional_text, pack_raw, unpack_raw
from brokersync.store.sql import Fetch, Many, Put, Script, fetch_one
from brokersync.typed import LONGEST_ID
from brokersync.types import IdQuality, QuarantinedRow, TradeBooking

_COLUMNS = (
    "owner", "provider", "source", "hash", "environment", "account_id", "reason", "as_of", "raw", "first_seen",
)  # fmt: skip
_KEY = _COLUMNS[:4]
_EACH, _NONE = -1, 0


@attrs.frozen
class _Entry:
    """What is kept of a row; of two the one stands that the broker made later."""

    environment: str | None
    account_id: str | None
    reason: str
    as_of: str | None
    raw: bytes

    def made_after(self, made: str | None) -> bool:
        return self.as_of is not None and (made is None or made < self.as_of)


def put_in_quarantine(page: PageCommit) -> Script[int]:
    """Keep each row once, however often it is read; the latest reading says what is wrong with it."""
    if not page.quarantined:
        return 0
    rows = yield from _not_told_whole(page)
    known = yield from _known(page)
    made = optional_text(page.as_of)
    told: dict[bytes, _Entry] = {}
    for row in rows:
        entry = _Entry(row.environment, row.account_id, row.reason, made, pack_raw(row.raw))
        names = _names(row, known)
        told[next((name for name in names if name in known and name not in told), names[0])] = entry
    at = instant_text(page.at)
    new = [(*_place(page, name), *attrs.astuple(one), at) for name, one in told.items() if name not in known]
    yield Put("quarantine", _COLUMNS, new, key=_KEY)
    yield Many(
        "UPDATE quarantine SET environment = ?, account_id = ?, reason = ?, as_of = ?, raw = ?"
        " WHERE owner = ? AND provider = ? AND source = ? AND hash = ?",
        [
            (*attrs.astuple(one), *_place(page, name))
            for name, one in told.items()
            if name in known and known[name] != one and not known[name].made_after(made)
        ],
    )
    return len(rows)


def release(page: PageCommit) -> Script[None]:
    """Take out the rows that are understood by now: as they were, or as the broker tells them later."""
    found = yield from fetch_one(
        "SELECT 1 FROM quarantine WHERE owner = ? AND provider = ? LIMIT 1", page.owner, page.provider
    )
    if found is None:
        return
    known = yield from _known(page)
    made = made_at(page)
    gone = set()
    for booking in page.bookings:
        for place in places_of(booking):
            if raw := raw_of(booking):
                gone |= set(_equal(raw, *place, known, _number(page, booking)))
            name = _row_hash(booking.booking_id, *place)
            if name in known and not known[name].made_after(made):
                gone.add(name)
    yield Many(
        "DELETE FROM quarantine WHERE owner = ? AND provider = ? AND source = ? AND hash = ?",
        [_place(page, name) for name in sorted(gone & known.keys())],
    )
    yield Many(
        "DELETE FROM quarantine WHERE owner = ? AND provider = ? AND hash = ?",
        [(page.owner, page.provider, name) for name in sorted(set(_told_whole(page)))],
    )


def _told_whole(page: PageCommit) -> Iterator[bytes]:
    """The names of rows without an id, in any source, that a booking of the page tells whole."""
    for booking in page.bookings:
        for name in names_of_content(booking):
            for place in places_of(booking):
                yield _row_hash(name, *place)


def _not_told_whole(page: PageCommit) -> Script[Sequence[QuarantinedRow]]:
    """The page's rows without those that have no id and that a booking has told whole before."""
    wanted = {row.row_id for row in page.quarantined if row.row_id and row.id_quality is IdQuality.SYNTHETIC}
    if not wanted:
        return page.quarantined
    found = yield Fetch(
        "SELECT accounts.environment, accounts.account_id, booking_names.name FROM booking_names"
        " JOIN accounts ON accounts.account = booking_names.account"
        " WHERE accounts.owner = ? AND accounts.provider = ? AND booking_names.name IN (??)"
        # one that an older version booked under this name does not tell it whole
        " AND EXISTS (SELECT 1 FROM bookings WHERE bookings.set_id = booking_names.set_id"
        " AND bookings.booking_id <> booking_names.name)",
        (page.owner, page.provider, sorted(wanted)),
    )
    whole = {tuple(one) for one in found}
    return [row for row in page.quarantined if (row.environment, row.account_id, row.row_id) not in whole]


def quarantined(owner: str) -> Script[tuple[Mapping[str, Any], ...]]:
    rows = yield Fetch(
        "SELECT provider, source, environment, account_id, reason, raw, first_seen FROM quarantine"
        " WHERE owner = ? ORDER BY first_seen, provider, source, hash",
        (owner,),
    )
    names = ("provider", "source", "environment", "account_id", "reason", "raw", "first_seen")
    return tuple(dict(zip(names, (*row[:5], unpack_raw(row[5]), row[6]), strict=True)) for row in rows)


def _known(page: PageCommit) -> Script[dict[bytes, _Entry]]:
    rows = yield Fetch(
        "SELECT hash, environment, account_id, reason, as_of, raw FROM quarantine"
        " WHERE owner = ? AND provider = ? AND source = ?",
        (page.owner, page.provider, page.source),
    )
    return {
        bytes(digest): _Entry(environment, account_id, reason, as_of, bytes(raw))
        for digest, environment, account_id, reason, as_of, raw in rows
    }


def _place(page: PageCommit, name: bytes) -> tuple[str, str, str, bytes]:
    return (page.owner, page.provider, page.source, name)


def _names(row: QuarantinedRow, known: Mapping[bytes, _Entry]) -> Sequence[bytes]:
    """What may tell a row from others: its id, since its text may change with what is kept beside it; else the text."""
    place = (row.environment, row.account_id)
    by_id = [] if row.row_id is None else [_row_hash(row.row_id, *place)]
    number = row.number if isinstance(row, NumberedRow) else 1
    by_text = [_text_hash(row.raw, *place, number)] if row.raw or not by_id else []
    return [*by_id, *by_text, *(_named_before(row.raw, *place, known) if number == 1 else ())]


def _equal(
    raw: Mapping[str, Any],
    environment: str | None,
    account_id: str | None,
    known: Mapping[bytes, _Entry],
    number: int,
) -> Iterator[bytes]:
    """The row of this text and number, or all of this text where the broker's id makes them one row."""
    if number in (_EACH, 1):
        yield from _named_before(raw, environment, account_id, known)
    if number != _EACH:
        yield _text_hash(raw, environment, account_id, number)
        return
    for equal in count(1):
        name = _text_hash(raw, environment, account_id, equal)
        if name in known:
            yield name
        elif equal > 1:  # the first may have the name of before, or one by its id
            return


def _number(page: PageCommit, booking: TradeBooking) -> int:
    """Which of the rows with its text a booking is: all, where the broker's id makes them one row."""
    if booking.id_quality is not IdQuality.SYNTHETIC:
        return _EACH
    return page.alike.get(whole_name(booking), _NONE)


def _named_before(
    raw: Mapping[str, Any], environment: str | None, account_id: str | None, known: Mapping[bytes, _Entry]
) -> Iterator[bytes]:
    """The name of before the account was a part of it."""
    name = _hash(raw)
    entry = known.get(name)
    if entry is not None and (entry.environment, entry.account_id) == (environment, account_id):
        yield name


def whole_name(booking: TradeBooking) -> str:
    """What tells a booking from all others of its broker; no part of it holds a NUL."""
    return f"{booking.environment}\x00{booking.account_id}\x00{booking.booking_id}"


def raw_of(booking: TradeBooking) -> Mapping[str, Any] | None:
    """What a row looked like as the broker told it, where that is kept."""
    return booking.raw or (booking.trade.raw if booking.trade else None) or None


def numbered_name(name: str, number: int) -> str:
    """The name of one of several equal rows without an id; the first keeps it."""
    if number == 1:
        return name
    end = f"#{number}"
    if len(name) + len(end) > LONGEST_ID:
        name = blake2b(name.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return name + end


def number_in_quarantine(
    digest: bytes, raw: Mapping[str, Any], place: tuple[str | None, str | None], most: int, names: Iterable[str] = ()
) -> int:
    """Which of the equal rows in quarantine one is, out of so many at most, by its text or by one of these names.

    The first where it is named otherwise.
    """
    names = tuple(names)
    for number in range(1, most + 1):
        hashes = [_row_hash(numbered_name(name, number), *place) for name in names]
        if digest in (_text_hash(raw, *place, number), *hashes):
            return number
    return 1


def names_of_content(booking: TradeBooking) -> Sequence[str]:
    """What else a row without an id is called where less is told of it: the loose names made like its own."""
    if booking.id_quality is not IdQuality.SYNTHETIC or not booking.loose_refs:
        return ()
    kind, mark, _ = booking.booking_id.partition(":")
    return [ref for ref in booking.loose_refs if mark and ref.startswith(kind + mark)]


def places_of(booking: TradeBooking) -> Sequence[tuple[str | None, str | None]]:
    """A row that was not understood may not tell where it belongs."""
    return [
        (environment, account_id)
        for environment in (booking.environment, None)
        for account_id in (booking.account_id, None)
    ]


def _text_hash(raw: Mapping[str, Any], environment: str | None, account_id: str | None, number: int) -> bytes:
    return _hash(["text", environment, account_id, number, raw])


def _row_hash(row_id: str, environment: str | None, account_id: str | None) -> bytes:
    return _hash(["row", environment, account_id, row_id])


def _hash(told: object) -> bytes:
    return blake2b(compact(told).encode(), digest_size=16).digest()
