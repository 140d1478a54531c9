"""Checks that change what the broker answers, and say what has to stay the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from brokersync.testing.answers import Body
from brokersync.testing.contract.alterations import (
    FORM_OF_TIME,
    alter_all,
    cell_places,
    in_another_zone,
    odd_cell,
    same_row,
    touched_by,
    turn_rows,
    word_places,
)
from brokersync.testing.contract.base import ContractBase
from brokersync.testing.contract.changing import (
    answers_of,
    changed,
    drawn,
    expect_same,
    native_ids,
    put,
    samples,
    unlike,
)
from brokersync.testing.contract.expecting import expect, told
from brokersync.testing.contract.reading import Reading
from brokersync.types import TradeBooking

UNHEARD: Final = "UNHEARDOF"
_MOST: Final = 60
_ODD: Final = ("", "#", "\N{SNOWMAN}" * 600)
_WITH_ZONE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)")


class ChangeChecks(ContractBase):
    """Of answers that are other than yesterday's."""

    async def test_fields_that_are_new_change_nothing(self) -> None:
        """Brokers add some every year, to each of their answers."""

        def change(body: Body) -> int:
            rows = [row for _, row in body.rows()]
            for row in rows:
                row["unheardOf"] = UNHEARD
            for one in body.objects:
                one["unheardOf"] = {"nested": [UNHEARD]}
            return len(rows) + len(body.objects)

        await self._all_changed(change, "a field that is new changes what is read")

    async def test_the_order_of_fields_changes_nothing(self) -> None:
        """Fields, columns and attributes are found by their names."""

        def change(body: Body) -> int:
            rows = body.everything()
            for row in rows:
                turned = list(row.items())[::-1]
                row.clear()
                row.update(turned)
            return len(rows)

        await self._all_changed(change, "fields in another order change what is read")

    async def test_the_order_of_rows_changes_nothing(self) -> None:
        """Lists may come in any order; only the last row of a long page stays, since a cursor may be made of it.

        Lists of one kind side by side in one answer, as for each day, are one.
        """
        random = self.random("rows")

        def change(body: Body) -> int:
            return turn_rows(body, random)

        await self._all_changed(change, f"rows in another order (seed {self.seed}) change what is read")

    async def test_a_time_in_another_zone_is_the_same_instant(self) -> None:
        """14:30Z and 20:00+05:30 are one moment."""
        count = 0

        def change(body: Body) -> int:
            nonlocal count
            made = 0
            for row in body.everything():
                for name, value in row.items():
                    if isinstance(value, str) and _WITH_ZONE.fullmatch(value):
                        row[name] = in_another_zone(value)
                        made += 1
            count += made
            return made

        await self._all_changed(change, "a time that is written in another zone is read as another time", needed=False)
        if not count:
            self.cannot_try(f"no time is in the form that the suite can move to another zone, which is {FORM_OF_TIME}")

    async def test_an_unknown_word_is_never_guessed(self) -> None:
        """A word that is new is counted, or puts its row in quarantine; it never becomes a side, and loses no row."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            for sample in samples(readings):
                before, found = await answers_of(stage, auth, sample.request)
                places = drawn(self.random("words", sample.request.source), word_places(before, found), _MOST)
                for booking, path, name in places:
                    change = put(path, name, native_ids(booking), lambda _: UNHEARD)
                    again, _ = await changed(stage, auth, sample.request, change)
                    _check_word(again, before, booking, name, found)

    async def test_an_odd_row_takes_no_other_along(self) -> None:
        """A value that makes no sense, or none at all, is of no matter for the other rows of the answer."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            for sample in samples(readings):
                before, found = await answers_of(stage, auth, sample.request)
                random = self.random("odd", sample.request.source)
                places = [
                    (booking, path, name, odd)
                    for booking, path, name in cell_places(before, found)
                    for odd in (None, [7], *_ODD)
                ]
                for booking, path, name, odd in drawn(random, places, _MOST):
                    change = put(path, name, native_ids(booking), odd_cell(odd))
                    again, _ = await changed(stage, auth, sample.request, change)
                    what = f"{name} of the row of {booking.booking_id} was {str(odd)[:10]!r}"
                    expect(again.error is None, f"{what}, and all of {before} failed with {told(again.error)}")
                    expect_same(
                        again, before, f"{what}, which changes another row", touched_by(booking, again, before, found)
                    )
                    expect(
                        again.disposed >= before.disposed,
                        f"{what}, and the row is gone: of {before} it is neither booked, nor in quarantine, nor counted"
                        " in `skipped`",
                    )

    async def _all_changed(self, change: Callable[[Body], int], what: str, *, needed: bool = True) -> None:
        """Everything read once more, while all answers are changed: the login, the accounts, the trades."""
        async with self.stage() as stage:
            _, before = await self.readings(stage)
        async with self.stage() as stage:
            count = alter_all(stage, change)
            _, after = await self.readings(stage)
            if needed and not count():
                self.cannot_try("the broker's answers are neither JSON, XML nor CSV")
            known = {reading.asked: reading for reading in before}
            for reading in after:
                expect(reading.asked in known, f"{what}: other accounts are asked for, in {reading}")
                expect_same(reading, known[reading.asked], what)


def _check_word(again: Reading, before: Reading, booking: TradeBooking, name: str, found: list[Body]) -> None:
    what = f"{name} of {booking.booking_id} was the unknown word {UNHEARD}"
    expect(again.error is None, f"{what}, and all of {before} failed with {told(again.error)}")
    expect(again.disposed >= before.disposed, f"{what}, and its row is gone without a trace")
    expect_same(again, before, f"{what}, which changes another row", touched_by(booking, again, before, found))
    after = same_row(again, booking)
    if after is None or not unlike(again, before):
        return
    one, other = booking.trade, after.trade
    if one is None or other is None:
        return
    counted = again.unmapped > before.unmapped
    for strict in ("side", "quantity", "price", "status", "event", "executed_at"):
        expect(
            # an event may be told by one of several codes, which are counted where they are new
            getattr(one, strict) == getattr(other, strict) or (strict == "event" and counted),
            f"{what}, and {strict} became {getattr(other, strict)}: a guess; quarantine the row instead",
        )
    said = counted or UNHEARD in repr(after).upper() or len(again.quarantined) > 0
    expect(said, f"{what}, which changes the trade silently: count it in `unmapped`")
