"""A request read again while the broker's answers are changed on their way, and what must be the same all the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from random import Random
from typing import Any, Final

import attrs

from brokersync.testing.answers import Body, Row, Table, shown_number, take_apart, values_of
from brokersync.testing.contract.expecting import BrokenContract, differences, expect, told
from brokersync.testing.contract.reading import Reading
from brokersync.testing.contract.stage import Stage
from brokersync.testing.contract.written import written_ids
from brokersync.testing.fault_server import Sent
from brokersync.testing.faults import Answered
from brokersync.types import AuthResult, TradeBooking, TradeRequest

Change = Callable[[Body], int]

_PARTS: Final = re.compile(r"[:|/ ]")
_SHORTEST_ID: Final = 3
_WORDS: Final = re.compile(r"[a-z]+")
_HUMPS: Final = re.compile(r"[A-Z]?[a-z]+")
_COUNTING: Final = frozenset(
    ("version", "ver", "v", "revision", "rev", "sequence", "seq", "leg", "line", "part", "index", "number", "no", "nr")
)


def samples(readings: Iterable[Reading]) -> list[Reading]:
    """Of each source the reading with the most bookings, where it has any."""
    best: dict[str, Reading] = {}
    for reading in readings:
        known = best.get(reading.request.source)
        if reading.bookings and (known is None or len(reading.bookings) > len(known.bookings)):
            best[reading.request.source] = reading
    return list(best.values())


async def changed(stage: Stage, auth: AuthResult, request: TradeRequest, change: Change) -> tuple[Reading, int]:
    """The request read again by a provider that knows nothing yet, and how much of the answers was changed."""
    count = 0

    def alter(_: Sent, given: Answered) -> Answered:
        nonlocal count
        body = take_apart(given.body)
        made = 0 if body is None else change(body)
        count += made
        return attrs.evolve(given, body=body.dump()) if body is not None and made else given

    stage.open()
    stage.server.alter(alter)
    try:
        return await stage.read(auth, request), count
    finally:
        stage.server.clear()


def bodies(stage: Stage, since: int = 0) -> Iterator[Body]:
    """The answers since so many requests, taken apart."""
    for exchange in stage.server.exchanges[since:]:
        if exchange.answered is not None and (body := take_apart(exchange.answered.body)) is not None:
            yield body


async def answers_of(stage: Stage, auth: AuthResult, request: TradeRequest) -> tuple[Reading, list[Body]]:
    """An undisturbed reading by a provider that knows nothing yet, and the answers that it was made from."""
    stage.open()
    since = len(stage.server.exchanges)
    reading = await stage.read(auth, request)
    if reading.error is not None:
        raise BrokenContract(f"{reading} failed with {told(reading.error)}") from reading.error
    return reading, list(bodies(stage, since))


def native_ids(booking: TradeBooking) -> frozenset[str]:
    """What of its names may be the broker's own ids, and how the broker writes the one in its name."""
    return _parts_of((booking.booking_id, *booking.aliases, *booking.refs)) | written_ids(booking)


@lru_cache(maxsize=10_000)
def _parts_of(names: tuple[str, ...]) -> frozenset[str]:
    parts = {part for name in names for part in (name, *_PARTS.split(name))}
    # a word of the plugin's own, as in `fill:17`, is none of the broker's
    return frozenset(part for part in parts if len(part) >= _SHORTEST_ID and any(sign.isdigit() for sign in part))


def version_of(row: Row, booking: TradeBooking) -> frozenset[str]:
    """Short numbers in the booking's name that the row calls a version, a leg or the like: of an id, too."""
    parts = {part for name in (booking.booking_id, *booking.aliases) for part in _PARTS.split(name)}
    told = ((name, shown_number(value)) for name, value in row.items() if isinstance(value, str | int))
    return frozenset(
        text
        for name, text in told
        if text in parts and len(text) < _SHORTEST_ID and _COUNTING & {*_WORDS.findall(name.lower()), *_words_in(name)}
    )


def _words_in(name: str) -> list[str]:
    """`execVersion` and `EXEC_VERSION` hold the word version."""
    return [word.lower() for word in _HUMPS.findall(name)]


def belongs(row: Row, ids: frozenset[str]) -> bool:
    """Whether a row of the broker's is of the booking with these ids."""
    return not ids.isdisjoint(values_of(row))


def main_rows(found: Iterable[Body], ids: frozenset[str]) -> list[tuple[Table, Row]]:
    """The rows of a booking, in all answers."""
    return [one for body in found for one in body.rows_showing(ids)]


def cell_is(value: Any, number: Decimal) -> bool:
    """Whether a cell is this number, whatever its sign."""
    return (told := number_in(value)) is not None and abs(told) == abs(number)


def number_in(value: Any) -> Decimal | None:
    """The number that a cell holds."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    try:
        found = Decimal(shown_number(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def put(path: str, name: str, ids: frozenset[str], value: Callable[[Any], Any]) -> Change:
    """A change of one cell of the rows of one booking."""

    def change(body: Body) -> int:
        rows = [row for table, row in body.rows() if table.path == path and name in row and belongs(row, ids)]
        for row in rows:
            row[name] = value(row[name])
        return len(rows)

    return change


def unlike(reading: Reading, before: Reading, but: frozenset[str] = frozenset()) -> str:
    """How two readings of one request differ, leaving out these bookings; nothing when they do not."""
    if reading.error is not None:
        return f"it failed with {told(reading.error)}"
    mine, theirs = reading.contents, before.contents
    for name in sorted(mine.keys() | theirs.keys()):
        if name.rstrip("'") in but:
            continue
        if name not in mine:
            kept = [row.reason for row in reading.quarantined if row.row_id == name.rstrip("'")]
            return f"{name} is missing" + (f", since {kept[0]}" if kept else "")
        if name not in theirs:
            return f"{name} came in addition"
        if mine[name] != theirs[name]:
            return f"{name} differs in {differences(mine[name], theirs[name])}"
    return ""


def expect_same(reading: Reading, before: Reading, what: str, but: frozenset[str] = frozenset()) -> None:
    """Raises `BrokenContract` where a change of the answers changed more than it may."""
    difference = unlike(reading, before, but)
    expect(not difference, f"{what}: of {before} {difference}")


def drawn(random: Random, found: list[Any], most: int) -> list[Any]:
    """At most so many of them, in their order."""
    if len(found) <= most:
        return found
    return [found[place] for place in sorted(random.sample(range(len(found)), most))]
