"""An answer with its rows again and again, and what reading it takes of memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import attrs

from brokersync.testing.answers import Row, Table, like, shown_number, take_apart
from brokersync.testing.contract.changing import belongs
from brokersync.testing.contract.reading import Reading
from brokersync.testing.contract.stage import Stage
from brokersync.testing.contract.written import written_ids
from brokersync.testing.fault_server import Exchange, Sent
from brokersync.testing.faults import Answered
from brokersync.types import AuthResult, TradeBooking

_BODY: Final = 2 * 1024 * 1024
_PATTERNS: Final = 8


@attrs.frozen
class Large:
    """A large answer to the requests of one path; `rows` are of trades."""

    method: str
    path: str
    answer: Answered = attrs.field(repr=False)
    rows: int

    def alter(self, sent: Sent, given: Answered) -> Answered:
        """The alteration that has a fault server answer with it."""
        return self.answer if (sent.method, sent.path) == (self.method, self.path) else given


def large_answer(reading: Reading, exchanges: Sequence[Exchange]) -> Large | None:
    """The last answer of a reading that holds trades, with some megabytes of rows like them."""
    names = [frozenset(_own_ids(booking)) for booking in reading.bookings]
    for exchange in reversed(exchanges):
        body = None if exchange.answered is None else take_apart(exchange.answered.body)
        if body is None or exchange.answered is None:
            continue
        mine, best = max(((_patterns(table, names), table) for table in body.tables), key=_many, default=([], None))
        if best is None or not mine:
            continue
        number = _BODY // sum(len(name) + len(str(value)) + 6 for name, value in mine[0][0].items())
        best.rows += [_clone(*mine[turn % len(mine)], turn) for turn in range(number)]
        answer = attrs.evolve(exchange.answered, body=body.dump())
        return Large(exchange.sent.method, exchange.sent.path, answer, number)
    return None


async def most_of_one(stage: Stage, auth: AuthResult, reading: Reading) -> int:
    """The bytes above start that one reading takes at most."""
    gc.collect()
    tracemalloc.start()
    try:
        start, _ = tracemalloc.get_traced_memory()
        await drained(stage, auth, reading)
        return tracemalloc.get_traced_memory()[1] - start
    finally:
        tracemalloc.stop()


async def drained(stage: Stage, auth: AuthResult, reading: Reading) -> int:
    """How many rows a request gives, whose pages nobody keeps."""
    request, rows = reading.request, 0
    while True:
        last: tuple[str | None, Any] = (None, None)
        async for page in stage.provider.get_trades(auth, request):
            rows += page.disposed
            last = page.cursor, page.resume_at
        stage.server.exchanges.clear()
        if last[0] is None:
            return rows
        if last[1] is not None:
            stage.clock.set(last[1])
        request = attrs.evolve(request, cursor=last[0])


def objects() -> int:
    """How many objects there are that hold others."""
    gc.collect()
    return len(gc.get_objects())


def _own_ids(booking: TradeBooking) -> set[str]:
    """The broker's own name of a row, and not those that it shares with others."""
    parts = booking.booking_id.replace("|", ":").split(":")
    named = {part for part in (booking.booking_id, *parts) if len(part) > 2 and any(sign.isdigit() for sign in part)}
    return named | written_ids(booking)


def _patterns(table: Table, names: list[frozenset[str]]) -> list[tuple[Row, frozenset[str]]]:
    """Some rows of the table that are of bookings, each with what names it."""
    found = ((row, ids) for row in table.rows for ids in names if belongs(row, ids))
    return list(islice(found, _PATTERNS))


def _many(found: tuple[list[Any], Table]) -> tuple[bool, int]:
    return bool(found[0]), len(found[1].rows)


def _clone(row: Row, ids: frozenset[str], number: int) -> dict[str, Any]:
    def fresh(value: Any) -> Any:
        text = shown_number(value)
        if not isinstance(value, str | int) or text not in ids:
            return value
        return like(value, str(int(text) + 10**15 + number)) if text.isdigit() else f"{text}{number:07}"

    return {name: fresh(value) for name, value in row.items()}
