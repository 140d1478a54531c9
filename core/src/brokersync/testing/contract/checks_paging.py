"""Checks of pages: cursors, and paging that does not move on."""

from __future__ import annotations

from typing import Final

import attrs

from brokersync.errors import BrokerCursorError
from brokersync.testing.answers import take_apart
from brokersync.testing.contract.base import ContractBase
from brokersync.testing.contract.changing import (
    drawn,
    expect_same,
    samples,
)
from brokersync.testing.contract.expecting import expect, told
from brokersync.testing.contract.paging import MANY_PAGES, Paging, pagings
from brokersync.testing.contract.reading import Reading
from brokersync.testing.contract.stage import Stage
from brokersync.testing.fault_server import Sent
from brokersync.testing.faults import Answered
from brokersync.types import AuthResult

_CURSORS: Final = ("no cursor of this broker's", "", "9" * 30, '{"page": 2}', "-1")
_MOST_REQUESTS: Final = 60


class PagingChecks(ContractBase):
    """Of answers that come in pages."""

    async def test_a_reading_goes_on_from_every_cursor(self) -> None:
        """In another process, by a provider that knows nothing yet: what was there, and the rest, are all of it."""
        async with self.stage(**MANY_PAGES) as stage:
            auth, readings = await self.readings(stage)
            tried = False
            for whole in samples(readings):
                places = [number for number, page in enumerate(whole.pages) if page.cursor is not None]
                for number in drawn(self.random("cursors"), places, 12):
                    tried = True
                    stage.open()
                    request = attrs.evolve(whole.request, cursor=whole.pages[number].cursor)
                    rest = await stage.read(auth, request)
                    again = Reading(whole.request, [*whole.pages[: number + 1], *rest.pages], rest.error)
                    expect_same(again, whole, f"gone on from the cursor of page {number + 1} of {len(whole.pages)}")
            if not tried:
                self.cannot_try("no page has a cursor")

    async def test_a_cursor_that_is_none_is_refused(self) -> None:
        """`BrokerCursorError`, and not a row; core then begins the window anew."""
        async with self.stage(**MANY_PAGES) as stage:
            auth, readings = await self.readings(stage)
            with_cursors = [one for one in samples(readings) if any(page.cursor for page in one.pages)]
            if not with_cursors:
                self.cannot_try("no page has a cursor")
            for sample in with_cursors:
                for cursor in _CURSORS:
                    again = await stage.read(auth, attrs.evolve(sample.request, cursor=cursor))
                    what = f"the cursor {cursor!r} of {sample.request.source}, which is none of the broker's,"
                    expect(
                        isinstance(again.error, BrokerCursorError),
                        f"{what} is told as {told(again.error)}, not as BrokerCursorError",
                    )
                    expect(not again.bookings, f"{what} gives {len(again.bookings)} rows")

    async def test_a_page_that_comes_again_ends_the_reading(self) -> None:
        """A broker whose paging does not move on is asked a few times more, and not for ever."""
        async with self.stage(**MANY_PAGES) as stage:
            for auth, paging in await self._pagings(stage):
                stuck = _Stuck(paging)
                stage.open()
                stage.server.alter(stuck.alter)
                stage.server.show("status_500", match=stuck.is_asked_too_often, times=None)
                await stage.read(auth, paging.reading.request, most=_MOST_REQUESTS)
                stage.server.clear()
                expect(
                    stuck.asked <= _MOST_REQUESTS,
                    f"{paging} gives its first page again and again, and it is asked without end: compare cursors",
                )

    async def test_an_empty_page_in_the_middle_ends_nothing(self) -> None:
        """The pages behind a page without rows are read, and nothing is covered that they hold."""
        async with self.stage(**MANY_PAGES) as stage:
            for auth, paging in await self._pagings(stage):
                if len(paging.answers) < 3:
                    continue
                turn, lost = 0, paging.rows_of(1)

                def emptied(sent: Sent, given: Answered, paging: Paging = paging) -> Answered:
                    nonlocal turn
                    turn += paging.is_one(sent)
                    return _emptied(given) if paging.is_one(sent) and turn == 2 else given

                stage.open()
                stage.server.alter(emptied)
                again = await stage.read(auth, paging.reading.request)
                stage.server.clear()
                missing = sorted({*paging.reading.ids} - {*again.ids} - lost)
                expect(
                    again.error is not None or not missing,
                    f"the second page of {paging} has no rows, and {len(missing)} of the later pages are missing,"
                    f" the first is {missing[:1]}",
                )

    async def _pagings(self, stage: Stage) -> list[tuple[AuthResult, Paging]]:
        auth, readings = await self.readings(stage)
        found = [
            (auth, paging) for sample in samples(readings) for paging in await pagings(stage, auth, sample.request)
        ]
        if not found:
            self.cannot_try("no answer of the broker is cut into pages")
        return found


@attrs.define
class _Stuck:
    """A broker whose paging does not move on."""

    paging: Paging
    asked: int = 0

    def alter(self, sent: Sent, given: Answered) -> Answered:
        if not self.paging.is_one(sent):
            return given
        self.asked += 1
        return self.paging.answers[0]

    def is_asked_too_often(self, _: Sent) -> bool:
        return self.asked > _MOST_REQUESTS


def _emptied(given: Answered) -> Answered:
    body = take_apart(given.body)
    if body is None:
        return given
    for table in body.tables:
        table.rows.clear()
    return attrs.evolve(given, body=body.dump())
