"""A page's bookings into the store: what is new of them, the sets they join, the trades that change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from brokersync.converter import instant_text
from brokersync.dispositions import Disposition
from brokersync.records import PageCommit
from brokersync.store.accounts import Names
from brokersync.store.contents import load_booking
from brokersync.store.feed import NewChange
from brokersync.store.kept import Kept
from brokersync.store.protocol import PageRules
from brokersync.store.quarantine import release
from brokersync.store.refold import Member, refold
from brokersync.store.rows import compact, made_at, optional_text, pack_raw, sortable
from brokersync.store.sets import Sets
from brokersync.store.sql import Fetch, Many, NewNumbers, Put, Script, fetch_one
from brokersync.store.told import Told, with_fees_known
from brokersync.types import BookingEffect, IdQuality

_COLUMNS = (
    "booking", "account", "source", "booking_id", "set_id", "version", "is_cancel", "hash", "content", "origin",
    "as_of", "told",
)  # fmt: skip
_UNCHANGED = {Disposition.SAME: "unchanged", Disposition.OUTDATED: "outdated"}


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


def book(page: PageCommit, rules: PageRules, numbers: Mapping[Names, int]) -> Script[BookedPage]:
    """Write every booking that is new or has changed, and the trades that follow from it.

    A booking that is known as it is costs one look, and writes at most when the broker told it last.
    """
    told = [Told.of(one, numbers[one.environment, one.account_id]) for one in page.bookings]
    if not told:
        return BookedPage()
    yield from release(page)
    kept = yield from _known(page, told)
    rows = yield from with_fees_known(page, told, kept)
    yield from _raise(page, rules, kept)
    changed = [row for row in rows if row.key not in kept or kept[row.key].fate(row.digest) is None]
    if not changed:
        yield from _date(kept)
        fates = tuple(kept[row.key].fate(row.digest) or Disposition.SAME for row in rows)
        yield from _renew_raw(page, rows, fates, kept)
        return BookedPage(unchanged=len(rows), dispositions=tuple(_UNCHANGED[fate] for fate in fates), fates=fates)
    sets = yield from _sets(page, changed, kept)
    waited = yield from _waiting(sets)
    taken = _take(rows, kept, sets)
    yield from _write(page, kept, sets)
    members = yield from _members(page, kept, sets)
    refolded = yield from refold(page, rules, sets, members)
    yield from _write_raw(page, rows, taken, kept)
    yield from _renew_raw(page, rows, taken, kept)
    return BookedPage(
        changes=refolded.changes,
        unchanged=len(rows) - taken.count(None),
        waiting=refolded.waiting - waited,
        dispositions=tuple(
            _UNCHANGED[fate] if fate else refolded.disposition(sets.root(kept[row.key].set_id))
            for row, fate in zip(rows, taken, strict=True)
        ),
        fates=tuple(fate or refolded.fate(*row.key) for row, fate in zip(rows, taken, strict=True)),
    )


def _known(page: PageCommit, rows: Iterable[Told]) -> Script[dict[tuple[int, str], Kept]]:
    made = optional_text(page.as_of)
    wanted: dict[int, set[str]] = {}
    for row in rows:
        wanted.setdefault(row.account, set()).add(row.booking.booking_id)
    kept, renewed = {}, set(page.renewed)
    for account, names in wanted.items():
        found = yield Fetch(
            "SELECT booking_id, booking, set_id, version, hash, as_of, told FROM bookings"
            " WHERE account = ? AND source = ? AND booking_id IN (??)",
            (account, page.source, sorted(names)),
        )
        for booking_id, number, set_id, version, digest, as_of, told in found:
            kept[account, booking_id] = Kept(
                number=number,
                set_id=set_id,
                version=version,
                digest=bytes(digest),
                as_of=as_of,
                stamp=as_of if booking_id in renewed else made if as_of is None else made_at(page),
                told=bytes(told or b""),
            )
    return kept


def _raise(page: PageCommit, rules: PageRules, kept: Mapping[tuple[int, str], Kept]) -> Script[None]:
    """Mark what this page makes newer than what another source of the same rank told last of the same row.

    Which of the two stands depends on these times alone, so the row has to be folded again though it is as it was.
    """
    moved = {one.set_id for one in kept.values() if one.stamp != one.as_of and not one.later}
    if not moved:
        return
    rank = rules.precedence(page.source)
    rows = yield Fetch(
        "SELECT account, booking_id, as_of, source FROM bookings WHERE set_id IN (??) AND source <> ?",
        (sorted(moved), page.source),
    )
    for account, booking_id, as_of, source in rows:
        mine = kept.get((account, booking_id))
        if mine is not None and rules.precedence(source) == rank and not mine.later:
            mine.risen = mine.risen or (mine.as_of or "") <= (as_of or "") <= (mine.stamp or "")


def _date(kept: Mapping[tuple[int, str], Kept]) -> Script[None]:
    """Note of what is as it was that the broker told it again."""
    told_again = [one for one in kept.values() if not (one.fresh or one.later or one.stamp == one.as_of)]
    if told_again:
        # all that a page tells was made at one time
        numbers = [one.number for one in told_again]
        yield Fetch("UPDATE bookings SET as_of = ? WHERE booking IN (??)", (told_again[0].stamp, numbers))


def _sets(page: PageCommit, changed: Sequence[Told], kept: dict[tuple[int, str], Kept]) -> Script[Sets]:
    """The sets that the changed rows may join, by the names they have in the store; new rows get their numbers."""
    names: dict[int, set[str]] = {}
    for row in changed:
        names.setdefault(row.account, set()).update(_names(row, kept.get(row.key)))
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
            stamp = optional_text(page.as_of)
            kept[key] = Kept(number=number, set_id=number, version=0, digest=b"", as_of=None, stamp=stamp)
    return sets


def _names(row: Told, known: Kept | None) -> Iterable[str]:
    """What joins the row to others: of a content that does not stand, only the row itself."""
    if known is not None and known.later:
        return (row.booking.booking_id,)
    return {*row.booking.names, *row.booking.loose_refs}


def _waiting(sets: Sets) -> Script[int]:
    """How many cancels of these sets wait for their target: all of a set's bookings, while it has no trade."""
    row = yield from fetch_one(
        "SELECT count(*) FROM bookings WHERE set_id IN (??)"
        " AND NOT EXISTS (SELECT 1 FROM trades WHERE trades.set_id = bookings.set_id)",
        sets.stored,
    )
    return int(row[0])


def _take(rows: Sequence[Told], kept: Mapping[tuple[int, str], Kept], sets: Sets) -> list[Disposition | None]:
    """Lay the page's rows over what is kept, in the page's order; what became of each, or `None` of news that stand."""
    fates = []
    for row in rows:
        known = kept[row.key]
        fate = known.fate(row.digest)
        if fate is None:
            fate = known.take(row.digest, row.content, row.booking)
            known.set_id = sets.join(row.account, _names(row, known), known.number)
        fates.append(fate)
    return fates


def _write(page: PageCommit, kept: Mapping[tuple[int, str], Kept], sets: Sets) -> Script[None]:
    for name in ("bookings", "booking_names", "trades"):
        yield Many(f"UPDATE {name} SET set_id = ? WHERE set_id = ?", [(new, old) for old, new in sets.merged()])
    origin = compact({"at": instant_text(page.at), **page.origin})
    rows = [
        (
            known.number, account, page.source, booking_id, sets.root(known.set_id), known.version,
            int(known.booking.effect is BookingEffect.CANCEL), known.digest, known.content, origin,
            known.stamp, known.told or None,
        )
        for (account, booking_id), known in kept.items()
        if known.fresh and known.booking is not None
    ]  # fmt: skip
    yield Put("bookings", _COLUMNS, rows, key=("booking",), replace=True)
    heard = [(one.version, one.told, one.number) for one in kept.values() if one.heard]
    yield Many("UPDATE bookings SET version = ?, told = ? WHERE booking = ?", heard)
    yield from _date(kept)
    columns = ("account", "name", "set_id")
    yield Put("booking_names", columns, sets.new_names(), key=("account", "name"))


def _members(page: PageCommit, kept: Mapping[tuple[int, str], Kept], sets: Sets) -> Script[dict[int, list[Member]]]:
    """All bookings of the sets that the page changed; those of the page need not be read again."""
    found: dict[int, list[Member]] = {set_id: [] for set_id in sets.touched}
    mine = set()
    for known in kept.values():
        if known.fresh and known.booking is not None:
            mine.add(known.number)
            member = Member(source=page.source, version=known.version, booking=known.booking, as_of=known.stamp)
            found[sets.root(known.set_id)].append(member)
    old = sets.touched_before
    if old:
        rows = yield Fetch(
            "SELECT booking, set_id, source, version, content, as_of FROM bookings WHERE set_id IN (??)", (old,)
        )
        for number, set_id, source, version, content, as_of in rows:
            if number not in mine:
                member = Member(source=source, version=version, booking=load_booking(content), as_of=as_of)
                found[set_id].append(member)
    return found


def _write_raw(
    page: PageCommit,
    rows: Sequence[Told],
    taken: Sequence[Disposition | None],
    kept: Mapping[tuple[int, str], Kept],
) -> Script[None]:
    raws = {kept[row.key].number: row.raw for row, fate in zip(rows, taken, strict=True) if fate is None and row.raw}
    yield from _put_raw(page, {number: pack_raw(raw) for number, raw in raws.items()})


def _renew_raw(
    page: PageCommit,
    rows: Sequence[Told],
    taken: Sequence[Disposition | None],
    kept: Mapping[tuple[int, str], Kept],
) -> Script[None]:
    """Of equal rows without an id another may have the name now: what is kept is what that one looks like."""
    raws = {
        kept[row.key].number: pack_raw(row.raw)
        for row, fate in zip(rows, taken, strict=True)
        if fate is Disposition.SAME and row.raw and row.booking.id_quality is IdQuality.SYNTHETIC
    }
    if raws:
        found = yield Fetch("SELECT booking, data FROM raw_rows WHERE booking IN (??)", (sorted(raws),))
        known = {number: bytes(data) for number, data in found}
        yield from _put_raw(page, {number: raws[number] for number, data in known.items() if data != raws[number]})


def _put_raw(page: PageCommit, raws: Mapping[int, bytes]) -> Script[None]:
    packed = [(number, data, sortable(page.at)) for number, data in raws.items()]
    yield Put("raw_rows", ("booking", "data", "at"), packed, key=("booking",), replace=True)
