"""Checks of ids and numbers: every digit counts."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from brokersync.enums import IdQuality
from brokersync.testing.answers import like
from brokersync.testing.contract.alterations import (
    cell_places,
    corrected,
    number_places,
    numbered,
    renamed,
    same_row,
    twice,
    with_new_ids,
    with_old_ids,
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
)
from brokersync.testing.contract.expecting import expect, told
from brokersync.testing.contract.written import HOW_ROWS_ARE_KNOWN

_EXACT: Final = "12345678901.000000001"
_BIG: Final = (2**53, 2**53 + 1)
_MOST: Final = 60


class DigitChecks(ContractBase):
    """Of ids and numbers."""

    async def test_ids_keep_every_digit(self) -> None:
        """Two ids that are one as floats stay two."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            tried = False
            for sample in samples(readings):
                before, found = await answers_of(stage, auth, sample.request)
                pair = numbered(before, found)[:2]
                if len(pair) < 2:
                    continue
                tried = True
                new = [(one, str(number)) for one, number in zip(pair, _BIG, strict=True)]
                big = _together(one.named(number) for one, number in new)
                stage.server.rewrite(with_old_ids(_together(one.asked(number) for one, number in new)))
                shown = _together(one.shown(number) for one, number in new)
                again, _ = await changed(stage, auth, sample.request, with_new_ids(shown))
                wanted = sorted(renamed(name, big) for name in before.ids)
                expect(again.error is None, f"ids above 2**53 end {before} with {told(again.error)}")
                strange = sorted({*wanted} ^ {*again.ids})[:4]
                expect(again.ids == wanted, f"the ids {sorted(big.values())} did not keep their digits: {strange}")
            if not tried:
                self.cannot_try(f"the names of rows hold no number of the broker's; {HOW_ROWS_ARE_KNOWN}")

    async def test_numbers_keep_every_digit(self) -> None:
        """Prices and quantities are as exact as they were written."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            tried = False
            for sample in samples(readings):
                before, found = await answers_of(stage, auth, sample.request)
                for what in ("price", "quantity"):
                    for booking, path, name in number_places(before, found, what)[:2]:
                        change = put(path, name, native_ids(booking), lambda value: like(value, _EXACT))
                        again, _ = await changed(stage, auth, sample.request, change)
                        after = same_row(again, booking)
                        if after is None or after.trade is None or booking.trade is None:
                            continue
                        now, then = getattr(after.trade, what), getattr(booking.trade, what)
                        if now == then:
                            continue  # the number stands elsewhere, too
                        tried = True
                        expect(now == Decimal(_EXACT), f"the {what} {_EXACT} of {booking.booking_id} became {now}")
            if not tried:
                self.cannot_try(
                    f"the sandbox's rows hold no price or quantity as the trade has it; {HOW_ROWS_ARE_KNOWN}"
                )

    async def test_equal_fills_stay_two(self) -> None:
        """Two fills that differ in nothing but their ids are two trades."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            tried, why = False, f"the names of rows hold no number of the broker's; {HOW_ROWS_ARE_KNOWN}"
            for sample in samples(readings):
                before, found = await answers_of(stage, auth, sample.request)
                for one in numbered(before, found)[:3]:
                    booking, old = one.booking, one.number
                    new = str(int(old) + 10 ** (len(old) + 1))
                    stage.server.rewrite(with_old_ids(one.asked(new)))
                    change = twice(native_ids(booking), one.shown(new))
                    again, _ = await changed(stage, auth, sample.request, change)
                    twin = renamed(booking.booking_id, one.named(new))
                    if again.error is not None:
                        why = f"with a second fill like {booking.booking_id} the reading ended with {told(again.error)}"
                        continue  # as of a page that has more rows than the total tells
                    if twin not in again.ids and again.disposed == before.disposed:
                        why = f"a second row like that of {booking.booking_id} is not read as a fill of its own"
                        continue  # the broker's lists hold what belongs to a fill once
                    tried = True
                    expect(
                        twin in again.ids,
                        f"a second fill like {booking.booking_id}, with the id {new}, is not among the trades",
                    )
                    expect_same(again, before, "a second fill changes another", frozenset({twin}))
            if not tried:
                self.cannot_try(why)

    async def test_names_of_rows_hang_on_nothing_that_may_change(self) -> None:
        """A row that the broker corrects in one field keeps its name, which is made of its ids alone."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            for sample in samples(readings):
                before, found = await answers_of(stage, auth, sample.request)
                named = [place for place in cell_places(before, found) if place[0].id_quality is IdQuality.BROKER]
                for booking, path, name in drawn(self.random("names", sample.request.source), named, _MOST):
                    change = corrected(booking, path, name)
                    again, made = await changed(stage, auth, sample.request, change)
                    if not made or again.error is not None or len(again.bookings) != len(before.bookings):
                        continue
                    strange = sorted({*again.ids} - {*before.ids})
                    expect(
                        not strange,
                        f"{name} of {booking.booking_id} was corrected, and now the row is named {strange}: name it by"
                        " the broker's ids alone, and by a version or a leg where the broker's field is called so",
                    )


def _together(parts: Iterable[dict[str, str]]) -> dict[str, str]:
    return {old: new for part in parts for old, new in part.items()}
