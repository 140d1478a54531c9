"""Answers that come in pages: which requests of a reading are for the pages of one list."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import attrs

from brokersync.testing.answers import take_apart
from brokersync.testing.contract.changing import native_ids
from brokersync.testing.contract.reading import Reading
from brokersync.testing.contract.stage import Stage
from brokersync.testing.fault_server import Sent
from brokersync.testing.faults import Answered
from brokersync.types import AuthResult, TradeRequest


@attrs.frozen
class Paging:
    """The requests of one reading that went to one path, and gave rows of trades more than once."""

    reading: Reading
    method: str
    path: str
    answers: list[Answered] = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path} of {self.reading}"

    def is_one(self, sent: Sent) -> bool:
        """Whether a request is for one of the pages."""
        return (sent.method, sent.path) == (self.method, self.path)

    def rows_of(self, page: int) -> set[str]:
        """The names of the bookings whose rows are on a page."""
        body = take_apart(self.answers[page].body)
        if body is None:
            return set()
        bookings = self.reading.bookings
        return {one.booking_id for one in bookings if body.rows_showing(native_ids(one))}


async def pagings(stage: Stage, auth: AuthResult, request: TradeRequest) -> list[Paging]:
    """The pagings of a reading, each with two pages or more that hold trades of their own."""
    stage.open()
    since = len(stage.server.exchanges)
    reading = await stage.read(auth, request)
    grouped: dict[tuple[str, str], list[Answered]] = {}
    for exchange in stage.server.exchanges[since:]:
        if exchange.answered is not None:
            grouped.setdefault((exchange.sent.method, exchange.sent.path), []).append(exchange.answered)
    found = [Paging(reading, *place, answers) for place, answers in grouped.items() if len(answers) > 1]
    return [one for one in found if one.rows_of(0) and one.rows_of(1) - one.rows_of(0)]


MANY_PAGES: Final[Mapping[str, Any]] = MappingProxyType({"trades_per_day": 20, "think": timedelta(seconds=2)})
"""The sandbox with so many trades that a span takes several pages, and with reports that take their time."""
