"""A page's bookings into the store: what is new of them, the sets they join, the trades that change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from brokersync.converter import instant_text
from brokersync.dispositions import Disposition
from brokersync.records import PageCommit
from brokersync.store.accounts import Names
from brokersync.store.contents import booking_content, load_booking
from brokersync.store.feed import NewChange
from brokersync.store.protocol import PageRules
from brokersync.store.quarantine import release
from brokersync.store.refold import Member, refold
from brokersync.store.rows import compact, pack_raw, sortable
from brokersync.store.sets import Sets
from brokersync.store.sql import Fetch, Many, NewNumbers, Put, Script, fetch_one
from brokersync.types import BookingEffect, TradeBooking

_COLUMNS = (
    "booking", "account", "source", "booking_id", "set_id", "version", "is_cancel", "hash", "content", "origin",
)  # fmt: skip


@attrs.frozen(kw_only=True)
class BookedPage:
    """What a page's bookings did; `changes` are not published yet."""

    changes: tuple[NewChange, ...] = ()
    unchanged: int = 0
    waiting: int = 0
    dispositions: tuple[str, ...] = ()
    fates: tuple[Disposition, ...] = ()

    def count(self, kind: str) -> int:
        """How many changes are of that kind."""
        return sum(change.kind.value == kind for change in self.changes)


@attrs.define
class _Kept:
    """A booking of the page's source as it is kept, or is about to be; `fresh` says that the page changed it."""

    number: int
    set_id: int
    version: int
    digest: bytes
    fresh: bool = False
    content: str = ""
    booking: TradeBooking | None = None


@attrs.frozen(kw_only=True)
class _Row:
    account: int
    booking: TradeBooking
    content: str
    digest: bytes

    @property
    def key(self) -> tuple[int, str]:
        return (self.account, self.booking.booking_id)

    @property
    def raw(self) -> Mapping[str, Any] | None:
        trade = self.booking.trade
        return self.booking.raw or (trade.raw if trade else None) or None


def book(page: PageCommit, rules: PageRules, numbers: Mapping[Names, int]) -> Script[BookedPage]:
    """Write every booking that is new or has changed, and the trades that follow from it.

    A booking that is known as it is costs one look and writes nothing.
    """
    rows = [_row(booking, numbers) for booking in page.bookings]
    if not rows:
        return BookedPage()
    kept = yield from _known(page.source, rows)
    changed = [row for row in rows if row.key not in kept or kept[row.key].digest != row.digest]
    if not changed:
        return BookedPage(
            unchanged=len(rows), dispositions=("unchanged",) * len(rows), fates=(Disposition.SAME,) * len(rows)
        )
    sets = yield from _sets(changed, kept)
    waited = yield from _waiting(sets)
    news = _take(rows, kept, sets)
    yield from _write(page, kept, sets)
    members = yield from _members(page, kept, sets)
    refolded = yield from refold(page, rules, sets, members)
    understood = [row.raw for row, new in zip(rows, news, strict=True) if new and row.raw]
    yield from _write_raw(page, rows, news, kept)
    yield from release(page, understood)
    return BookedPage(
        changes=refolded.changes,
        unchanged=news.count(False),
        waiting=refolded.waiting - waited,
        dispositions=tuple(
            refolded.disposition(sets.root(kept[row.key].set_id)) if new else "unchanged"
            for row, new in zip(rows, news, strict=True)
        ),
        fates=tuple(refolded.fate(*row.key) if new else Disposition.SAME for row, new in zip(rows, news, strict=True)),
    )


def _row(booking: TradeBooking, numbers: Mapping[Names, int]) -> _Row:
    content, digest = booking_content(booking)
    account = numbers[booking.environment, booking.account_id]
    return _Row(account=account, booking=booking, content=content, digest=digest)


def _known(source: str, rows: Iterable[_Row]) -> Script[dict[tuple[int, str], _Kept]]:
    wanted: dict[int, set[str]] = {}
    for row in rows:
        wanted.setdefault(row.account, set()).add(row.booking.booking_id)
    kept = {}
    for account, names in wanted.items():
        found = yield Fetch(
            "SELECT booking_id, booking, set_id, version, hash FROM bookings"
            " WHERE account = ? AND source = ? AND booking_id IN (??)",
            (account, source, sorted(names)),
        )
        for booking_id, number, set_id, version, digest in found:
            kept[account, booking_id] = _Kept(number=number, set_id=set_id, version=version, digest=bytes(digest))
    return kept


def _sets(changed: Sequence[_Row], kept: dict[tuple[int, str], _Kept]) -> Script[Sets]:
    """The sets that the changed rows may join, by the names they have in the store; new rows get their numbers."""
    names: dict[int, set[str]] = {}
    for row in changed:
        names.setdefault(row.account, set()).update(row.booking.names, row.booking.loose_refs)
    sets = Sets()
    for account, wanted in names.items():
        found = yield Fetch(
            "SELECT name, set_id FROM booking_names WHERE account = ? AND name IN (??)", (account, sorted(wanted))
        )
        for name, set_id in found:
            sets.know(account, name, set_id)
    new = list(dict.fromkeys(row.key for row in changed if row.key not in kept))
    if new:
        numbers = yield NewNumbers(len(new))
        for (number,), key in zip(numbers, new, strict=True):
            kept[key] = _Kept(number=number, set_id=number, version=0, digest=b"")
    return sets


def _waiting(sets: Sets) -> Script[int]:
    """How many cancels of these sets wait for their target: all of a set's bookings, while it has no trade."""
    row = yield from fetch_one(
        "SELECT count(*) FROM bookings WHERE set_id IN (??)"
        " AND NOT EXISTS (SELECT 1 FROM trades WHERE trades.set_id = bookings.set_id)",
        sets.stored,
    )
    return int(row[0])


def _take(rows: Sequence[_Row], kept: Mapping[tuple[int, str], _Kept], sets: Sets) -> list[bool]:
    """Lay the page's rows over what is kept, in the page's order; whether each was news."""
    news = []
    for row in rows:
        known = kept[row.key]
        new = known.digest != row.digest
        news.append(new)
        if new:
            known.digest, known.content, known.booking = row.digest, row.content, row.booking
            known.version += 1
            known.fresh = True
            known.set_id = sets.join(row.account, {*row.booking.names, *row.booking.loose_refs}, known.number)
    return news


def _write(page: PageCommit, kept: Mapping[tuple[int, str], _Kept], sets: Sets) -> Script[None]:
    for name in ("bookings", "booking_names", "trades"):
        yield Many(f"UPDATE {name} SET set_id = ? WHERE set_id = ?", [(new, old) for old, new in sets.merged()])
    origin = compact({"at": instant_text(page.at), **page.origin})
    rows = [
        (
            known.number, account, page.source, booking_id, sets.root(known.set_id), known.version,
            int(known.booking.effect is BookingEffect.CANCEL), known.digest, known.content, origin,
        )
        for (account, booking_id), known in kept.items()
        if known.fresh and known.booking is not None
    ]  # fmt: skip
    yield Put("bookings", _COLUMNS, rows, key=("booking",), replace=True)
    columns = ("account", "name", "set_id")
    yield Put("booking_names", columns, sets.new_names(), key=("account", "name"))


def _members(page: PageCommit, kept: Mapping[tuple[int, str], _Kept], sets: Sets) -> Script[dict[int, list[Member]]]:
    """All bookings of the sets that the page changed; those of the page need not be read again."""
    found: dict[int, list[Member]] = {set_id: [] for set_id in sets.touched}
    mine = set()
    for known in kept.values():
        if known.fresh and known.booking is not None:
            mine.add(known.number)
            member = Member(source=page.source, version=known.version, booking=known.booking)
            found[sets.root(known.set_id)].append(member)
    old = sets.touched_before
    if old:
        rows = yield Fetch(
            "SELECT booking, set_id, source, version, content FROM bookings WHERE set_id IN (??)", (old,)
        )
        for number, set_id, source, version, content in rows:
            if number not in mine:
                found[set_id].append(Member(source=source, version=version, booking=load_booking(content)))
    return found


def _write_raw(
    page: PageCommit, rows: Sequence[_Row], news: Sequence[bool], kept: Mapping[tuple[int, str], _Kept]
) -> Script[None]:
    raws = {kept[row.key].number: row.raw for row, new in zip(rows, news, strict=True) if new and row.raw}
    packed = [(number, pack_raw(raw), sortable(page.at)) for number, raw in raws.items()]
    yield Put("raw_rows", ("booking", "data", "at"), packed, key=("booking",), replace=True)
