"""Changes of answers, and the cells that they are made in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any, Final

import attrs

from brokersync.enums import BookingEffect, IdQuality
from brokersync.testing.answers import Body, Row, like, shown_number, take_apart, values_of
from brokersync.testing.contract.changing import (
    belongs,
    main_rows,
    native_ids,
    number_in,
    version_of,
)
from brokersync.testing.contract.reading import Reading
from brokersync.testing.contract.stage import Stage
from brokersync.testing.contract.written import digits_in, number_of, parts_of, written_ids
from brokersync.testing.fault_server import Sent
from brokersync.testing.faults import Answered
from brokersync.types import TradeBooking

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z _-]*")
FORM_OF_TIME: Final = (
    "ISO 8601 with a zone, as in 2026-03-04T15:00:00.250Z or +00:00; wall times, with a zone beside them or none, and"
    " counts of seconds are not: test their two ends of a window, and the hour that comes twice, yourself"
)
_WITH_ZONE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)")
_LONG: Final = 10
_INDIA: Final = timezone(timedelta(hours=5, minutes=30))


def alter_all(stage: Stage, change: Callable[[Body], int]) -> Callable[[], int]:
    """Have every answer changed from now on; the count of what was changed so far."""
    count = 0

    def alter(_: Sent, given: Answered) -> Answered:
        nonlocal count
        body = take_apart(given.body)
        made = 0 if body is None else change(body)
        count += made
        return attrs.evolve(given, body=body.dump()) if body is not None and made else given

    stage.server.alter(alter)
    return lambda: count


def turn_rows(body: Body, random: Random) -> int:
    """Rows in another order; the last one of a page stays, wherever its list begins anew, as for each day."""
    counts = Counter[str]()
    for table in body.tables:
        counts[table.path] += len(table.rows)
    long = [path for path, count in counts.items() if count >= _LONG]
    last = {table.path: table for table in body.tables}
    for table in body.tables:
        stays = last[table.path] is table and any(one == table.path or _lies_in(one, table.path) for one in long)
        first = table.rows[:-1] if stays else table.rows[:]
        if len(first) < _LONG - 1:
            first.reverse()
        else:
            random.shuffle(first)
        table.rows[: len(first)] = first
    return counts.total()


def _lies_in(path: str, other: str) -> bool:
    return path.startswith((f"{other}/", f"{other}."))


def word_places(reading: Reading, found: list[Body]) -> list[tuple[TradeBooking, str, str]]:
    """For each word of each column a booking whose row holds it."""
    seen: dict[tuple[str, str, str], tuple[TradeBooking, str, str]] = {}
    for booking in reading.bookings:
        ids = native_ids(booking)
        for table, row in main_rows(found, ids):
            for name, value in row.items():
                if isinstance(value, str) and value not in ids and _WORD.fullmatch(value):
                    seen.setdefault((table.path, name, value), (booking, table.path, name))
    return list(seen.values())


def cell_places(reading: Reading, found: list[Body]) -> list[tuple[TradeBooking, str, str]]:
    """Each cell of the rows of the first bookings."""
    places: dict[tuple[str, str, str], tuple[TradeBooking, str, str]] = {}
    for booking in lone(reading)[:3]:
        for table, row in main_rows(found, native_ids(booking)):
            for name in row:
                places[booking.booking_id, table.path, name] = booking, table.path, name
    return list(places.values())


def lone(reading: Reading) -> list[TradeBooking]:
    """The bookings of whose execution the reading has no other row, so that a change of theirs touches none."""
    names = Counter(name for one in reading.bookings for name in {*one.names, *one.loose_refs})
    return [one for one in reading.bookings if all(names[name] == 1 for name in {*one.names, *one.loose_refs})]


def number_places(reading: Reading, found: list[Body], what: str) -> list[tuple[TradeBooking, str, str]]:
    """Cells that hold this number of a trade, and a fraction, so that they hold it by no chance."""
    places = []
    for booking in reading.bookings:
        number = None if booking.trade is None else getattr(booking.trade, what)
        if number is None or booking.effect is not BookingEffect.NEW:
            continue
        for table, row in main_rows(found, native_ids(booking)):
            places += [(booking, table.path, name) for name, value in row.items() if number_in(value) == number]
        if places:
            break
    return places


@attrs.frozen
class Numbered:
    """A booking that is named by a number of the broker's: as its name has it, and as the cell of its row has it."""

    booking: TradeBooking
    number: str
    cell: str

    def named(self, new: str) -> dict[str, str]:
        """Another number for the one in names."""
        return {self.number: new}

    def asked(self, new: str) -> dict[str, str]:
        """Another number for the one in requests, which write it as the row does."""
        return {digits_in(self.cell): new}

    def shown(self, new: str) -> dict[str, str]:
        """Another cell for the one in answers."""
        return {self.cell: self.cell.replace(digits_in(self.cell), new)}


def numbered(reading: Reading, found: list[Body]) -> list[Numbered]:
    """Bookings that are named by a number of the broker's."""
    places = []
    for booking in lone(reading):
        if booking.id_quality is not IdQuality.BROKER or booking.effect is not BookingEffect.NEW:
            continue
        numbers = [one for one in native_ids(booking) if one.isdigit() and one in booking.booking_id]
        if len(numbers) == 1 and main_rows(found, frozenset(numbers)):
            places.append(Numbered(booking, numbers[0], numbers[0]))
        elif len(written := written_ids(booking)) == 1 and main_rows(found, written):
            (cell,) = written
            names = [one for one in parts_of(booking.booking_id) if number_of(one) == number_of(cell)]
            if len(names) == 1:
                places.append(Numbered(booking, digits_in(names[0]), cell))
    return places


def same_row(reading: Reading, booking: TradeBooking) -> TradeBooking | None:
    return next((one for one in reading.bookings if one.booking_id == booking.booking_id), None)


def touched_by(booking: TradeBooking, again: Reading, before: Reading, found: list[Body]) -> frozenset[str]:
    """The bookings that a change of its rows touches, and what they may be called now."""
    # put together once: there are as many comparisons as bookings
    shown = frozenset[str]().union(*(values_of(row) for _, row in main_rows(found, native_ids(booking))))
    names = {*booking.names, *booking.loose_refs}
    touched = {
        one.booking_id
        for one in before.bookings
        if names & {*one.names, *one.loose_refs} or not shown.isdisjoint(native_ids(one))
    }
    return frozenset({*touched, *({*again.ids} - {*before.ids})})


def odd_cell(value: Any) -> Callable[[Any], Any]:
    """Nothing and lists are of JSON alone; elsewhere nothing is an empty text."""

    def put_in(now: Any) -> Any:
        if value is None or isinstance(value, list):
            return value if not isinstance(now, str) or now.startswith("\x00") else ""
        return value

    return put_in


def corrected(booking: TradeBooking, path: str, name: str) -> Callable[[Body], int]:
    """Another value in one cell of the rows of a booking, unless it is of its name there."""
    ids = native_ids(booking)

    def change(body: Body) -> int:
        rows = [row for table, row in body.rows() if table.path == path and name in row and belongs(row, ids)]
        for row in rows:
            row[name] = _corrected(row[name], ids | version_of({name: row[name]}, booking))
        return len(rows)

    return change


def _corrected(value: Any, ids: frozenset[str]) -> Any:
    if shown_number(value) in ids:
        return value
    number = number_in(value)
    if number is not None:
        return like(value, str(number + 1))
    return f"{value}x" if isinstance(value, str) and value and not _WITH_ZONE.fullmatch(value) else value


def in_another_zone(text: str) -> str:
    moment = datetime.fromisoformat(text).astimezone(_INDIA)
    written = moment.isoformat(timespec="auto")
    fraction = re.search(r"\.\d+", text)
    if fraction is not None and "." in written:
        written = re.sub(r"\.\d+", fraction[0], written)
    return written


def renamed(name: str, new: dict[str, str]) -> str:
    for old, other in new.items():
        name = re.sub(rf"(?<!\d){old}(?!\d)", other, name)
    return name


def with_old_ids(new: dict[str, str]) -> Callable[[str], str]:
    old = {other: one for one, other in new.items()}
    return lambda text: renamed(text, old)


def with_new_ids(new: dict[str, str]) -> Callable[[Body], int]:
    def change(body: Body) -> int:
        made = 0
        for row in body.everything():
            for name, value in row.items():
                if isinstance(value, str | int) and not isinstance(value, bool) and str(value) in new:
                    row[name] = like(value, new[str(value)])
                    made += 1
        return made

    return change


def twice(ids: frozenset[str], cells: dict[str, str]) -> Callable[[Body], int]:
    def change(body: Body) -> int:
        made = 0
        for table in body.tables:
            twins = [_twin(row, cells) for row in table.rows if belongs(row, ids)]
            table.rows += twins
            made += len(twins)
        return made

    return change


def _twin(row: Row, cells: dict[str, str]) -> dict[str, Any]:
    return {
        name: value if (new := cells.get(shown_number(value))) is None else like(value, new)
        for name, value in row.items()
    }
