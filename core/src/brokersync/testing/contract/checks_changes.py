"""Checks that change what the broker answers, and say what has to stay the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

import attrs

from brokersync.enums import BookingEffect, IdQuality
from brokersync.testing.answers import Body, Row, like, shown_number
from brokersync.testing.contract.base import ContractBase
from brokersync.testing.contract.changing import (
    answers_of,
    belongs,
    changed,
    drawn,
    expect_same,
    main_rows,
    native_ids,
    number_in,
    put,
    samples,
    unlike,
)
from brokersync.testing.contract.expecting import expect, told
from brokersync.testing.contract.reading import Reading
from brokersync.testing.contract.stage import Stage
from brokersync.types import AuthResult, TradeBooking

UNHEARD: Final = "UNHEARDOF"
_EXACT: Final = "12345678901.000000001"
_BIG: Final = (2**53, 2**53 + 1)
_MOST: Final = 60
_ODD: Final = ("", "#", "\N{SNOWMAN}" * 600)
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z _-]*")
_WITH_ZONE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)")
_INDIA: Final = timezone(timedelta(hours=5, minutes=30))


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
            rows = [*body.objects, *(row for _, row in body.rows())]
            for row in rows:
                turned = list(row.items())[::-1]
                row.clear()
                row.update(turned)
            return len(rows)

        await self._all_changed(change, "fields in another order change what is read")

    async def test_the_order_of_rows_changes_nothing(self) -> None:
        """Lists may come in any order; only the last row of a page stays, since a cursor may be made of it."""
        random = self.random("rows")

        def change(body: Body) -> int:
            for table in body.tables:
                first = table.rows[:-1]
                random.shuffle(first)
                table.rows[:-1] = first
            return sum(len(table.rows) for table in body.tables)

        await self._all_changed(change, f"rows in another order (seed {self.seed}) change what is read")

    async def test_a_time_in_another_zone_is_the_same_instant(self) -> None:
        """14:30Z and 20:00+05:30 are one moment."""
        count = 0

        def change(body: Body) -> int:
            nonlocal count
            made = 0
            for row in [*body.objects, *(row for _, row in body.rows())]:
                for name, value in row.items():
                    if isinstance(value, str) and _WITH_ZONE.fullmatch(value):
                        row[name] = _elsewhere(value)
                        made += 1
            count += made
            return made

        await self._all_changed(change, "a time that is written in another zone is read as another time", needed=False)
        if not count:
            self.cannot_try("the broker's times name no zone")

    async def test_an_unknown_word_is_never_guessed(self) -> None:
        """A word that is new is counted, or puts its row in quarantine; it never becomes a side, and loses no row."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            for sample in samples(readings):
                before, found = await answers_of(stage, auth, sample.request)
                places = drawn(self.random("words", sample.request.source), _words(before, found), _MOST)
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
                    for booking, path, name in _cells(before, found)
                    for odd in (None, [7], *_ODD)
                ]
                for booking, path, name, odd in drawn(random, places, _MOST):
                    change = put(path, name, native_ids(booking), _odd(odd))
                    again, _ = await changed(stage, auth, sample.request, change)
                    what = f"{name} of the row of {booking.booking_id} was {str(odd)[:10]!r}"
                    expect(again.error is None, f"{what}, and all of {before} failed with {told(again.error)}")
                    expect_same(again, before, f"{what}, which changes another row", _also(booking, again, before, found))
                    expect(
                        again.disposed >= before.disposed,
                        f"{what}, and the row is gone: {before.disposed - again.disposed} of {before} is neither booked,"
                        " in quarantine, nor counted in `skipped`",
                    )

    async def test_ids_keep_every_digit(self) -> None:
        """Two ids that are one as floats stay two."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            tried = False
            for sample in samples(readings):
                before, found = await answers_of(stage, auth, sample.request)
                pair = _numbered(before, found)[:2]
                if len(pair) < 2:
                    continue
                tried = True
                big = {old: str(new) for (_, old), new in zip(pair, _BIG, strict=True)}
                stage.server.rewrite(_with_old_ids(big))
                again, _ = await changed(stage, auth, sample.request, _with_new_ids(big))
                wanted = sorted(_renamed(name, big) for name in before.ids)
                expect(again.error is None, f"ids above 2**53 end {before} with {told(again.error)}")
                strange = sorted({*wanted} ^ {*again.ids})[:4]
                expect(again.ids == wanted, f"the ids {sorted(big.values())} did not keep their digits: {strange}")
            if not tried:
                self.cannot_try("the names of rows hold no number of the broker's")

    async def test_numbers_keep_every_digit(self) -> None:
        """Prices and quantities are as exact as they were written."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            tried = False
            for sample in samples(readings):
                before, found = await answers_of(stage, auth, sample.request)
                for what in ("price", "quantity"):
                    for booking, path, name in _columns_of(before, found, what)[:2]:
                        change = put(path, name, native_ids(booking), lambda value: like(value, _EXACT))
                        again, _ = await changed(stage, auth, sample.request, change)
                        after = _found(again, booking)
                        if after is None or after.trade is None or booking.trade is None:
                            continue
                        now, then = getattr(after.trade, what), getattr(booking.trade, what)
                        if now == then:
                            continue  # the number stands elsewhere, too
                        tried = True
                        expect(now == Decimal(_EXACT), f"the {what} {_EXACT} of {booking.booking_id} became {now}")
            if not tried:
                self.cannot_try("the sandbox's rows hold no price or quantity as the trade has it")

    async def test_equal_fills_stay_two(self) -> None:
        """Two fills that differ in nothing but their ids are two trades."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            tried = False
            for sample in samples(readings):
                before, found = await answers_of(stage, auth, sample.request)
                for booking, old in _numbered(before, found)[:3]:
                    new = str(int(old) + 10 ** (len(old) + 1))
                    stage.server.rewrite(_with_old_ids({old: new}))
                    again, _ = await changed(stage, auth, sample.request, _twice(native_ids(booking), old, new))
                    twin = _renamed(booking.booking_id, {old: new})
                    if again.error is not None or (twin not in again.ids and again.disposed == before.disposed):
                        continue  # the broker's lists hold what belongs to a fill once
                    tried = True
                    expect(
                        twin in again.ids,
                        f"a second fill like {booking.booking_id}, with the id {new}, is not among the trades",
                    )
                    expect_same(again, before, "a second fill changes another", frozenset({twin}))
            if not tried:
                self.cannot_try("the names of rows hold no number of the broker's")

    async def test_names_of_rows_hang_on_nothing_that_may_change(self) -> None:
        """A row that the broker corrects in one field keeps its name, which is made of its ids alone."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            for sample in samples(readings):
                before, found = await answers_of(stage, auth, sample.request)
                named = [place for place in _cells(before, found) if place[0].id_quality is IdQuality.BROKER]
                for booking, path, name in drawn(self.random("names", sample.request.source), named, _MOST):
                    change = put(path, name, native_ids(booking), _corrected(native_ids(booking)))
                    again, made = await changed(stage, auth, sample.request, change)
                    if not made or again.error is not None or len(again.bookings) != len(before.bookings):
                        continue
                    strange = sorted({*again.ids} - {*before.ids})
                    expect(
                        not strange,
                        f"{name} of {booking.booking_id} was corrected, and now the row is named {strange}: name it by"
                        " the broker's ids alone",
                    )

    async def _all_changed(self, change: Callable[[Body], int], what: str, *, needed: bool = True) -> None:
        """Everything read once more, while all answers are changed: the login, the accounts, the trades."""
        async with self.stage() as stage:
            _, before = await self.readings(stage)
        async with self.stage() as stage:
            count = _alter_all(stage, change)
            _, after = await self.readings(stage)
            if needed and not count():
                self.cannot_try("the broker's answers are neither JSON, XML nor CSV")
            for one, other in zip(after, before, strict=True):
                expect_same(one, other, what)


def _alter_all(stage: Stage, change: Callable[[Body], int]) -> Callable[[], int]:
    from brokersync.testing.answers import take_apart
    from brokersync.testing.fault_server import Sent
    from brokersync.testing.faults import Answered

    count = 0

    def alter(_: Sent, given: Answered) -> Answered:
        nonlocal count
        body = take_apart(given.body)
        made = 0 if body is None else change(body)
        count += made
        return attrs.evolve(given, body=body.dump()) if body is not None and made else given

    stage.server.alter(alter)
    return lambda: count


def _words(reading: Reading, found: list[Body]) -> list[tuple[TradeBooking, str, str]]:
    """For each word of each column a booking whose row holds it."""
    seen: dict[tuple[str, str, str], tuple[TradeBooking, str, str]] = {}
    for booking in reading.bookings:
        ids = native_ids(booking)
        for table, row in main_rows(found, ids):
            for name, value in row.items():
                if isinstance(value, str) and value not in ids and _WORD.fullmatch(value):
                    seen.setdefault((table.path, name, value), (booking, table.path, name))
    return list(seen.values())


def _cells(reading: Reading, found: list[Body]) -> list[tuple[TradeBooking, str, str]]:
    """Each cell of the rows of the first bookings."""
    places: dict[tuple[str, str, str], tuple[TradeBooking, str, str]] = {}
    for booking in reading.bookings[:3]:
        for table, row in main_rows(found, native_ids(booking)):
            for name in row:
                places[booking.booking_id, table.path, name] = booking, table.path, name
    return list(places.values())


def _columns_of(reading: Reading, found: list[Body], what: str) -> list[tuple[TradeBooking, str, str]]:
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


def _numbered(reading: Reading, found: list[Body]) -> list[tuple[TradeBooking, str]]:
    """Bookings that are named by a number of the broker's, with it."""
    pairs = []
    for booking in reading.bookings:
        if booking.id_quality is not IdQuality.BROKER or booking.effect is not BookingEffect.NEW:
            continue
        numbers = [one for one in native_ids(booking) if one.isdigit() and one in booking.booking_id]
        if len(numbers) == 1 and main_rows(found, frozenset(numbers)):
            pairs.append((booking, numbers[0]))
    return pairs


def _check_word(again: Reading, before: Reading, booking: TradeBooking, name: str, found: list[Body]) -> None:
    what = f"{name} of {booking.booking_id} was the unknown word {UNHEARD}"
    expect(again.error is None, f"{what}, and all of {before} failed with {told(again.error)}")
    expect(again.disposed >= before.disposed, f"{what}, and its row is gone without a trace")
    expect_same(again, before, f"{what}, which changes another row", _also(booking, again, before, found))
    after = _found(again, booking)
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


def _found(reading: Reading, booking: TradeBooking) -> TradeBooking | None:
    return next((one for one in reading.bookings if one.booking_id == booking.booking_id), None)


def _also(booking: TradeBooking, again: Reading, before: Reading, found: list[Body]) -> frozenset[str]:
    """The bookings that a change of its rows touches, and what they may be called now."""
    rows = [row for _, row in main_rows(found, native_ids(booking))]
    names = {*booking.names, *booking.loose_refs}
    touched = {
        one.booking_id
        for one in before.bookings
        if names & {*one.names, *one.loose_refs} or any(belongs(row, native_ids(one)) for row in rows)
    }
    return frozenset({*touched, *({*again.ids} - {*before.ids})})


def _odd(value: Any) -> Callable[[Any], Any]:
    """Nothing and lists are of JSON alone; elsewhere nothing is an empty text."""

    def put_in(now: Any) -> Any:
        if value is None or isinstance(value, list):
            return value if not isinstance(now, str) or now.startswith("\x00") else ""
        return value

    return put_in


def _corrected(ids: frozenset[str]) -> Callable[[Any], Any]:
    def correct(value: Any) -> Any:
        if shown_number(value) in ids:
            return value
        number = number_in(value)
        if number is not None:
            return like(value, str(number + 1))
        return f"{value}x" if isinstance(value, str) and value and not _WITH_ZONE.fullmatch(value) else value

    return correct


def _elsewhere(text: str) -> str:
    moment = datetime.fromisoformat(text).astimezone(_INDIA)
    written = moment.isoformat(timespec="auto")
    fraction = re.search(r"\.\d+", text)
    if fraction is not None and "." in written:
        written = re.sub(r"\.\d+", fraction[0], written)
    return written


def _renamed(name: str, new: dict[str, str]) -> str:
    for old, other in new.items():
        name = re.sub(rf"(?<!\d){old}(?!\d)", other, name)
    return name


def _with_old_ids(new: dict[str, str]) -> Callable[[str], str]:
    old = {other: one for one, other in new.items()}
    return lambda text: _renamed(text, old)


def _with_new_ids(new: dict[str, str]) -> Callable[[Body], int]:
    def change(body: Body) -> int:
        made = 0
        for row in [*body.objects, *(row for _, row in body.rows())]:
            for name, value in row.items():
                if isinstance(value, str | int) and not isinstance(value, bool) and str(value) in new:
                    row[name] = like(value, new[str(value)])
                    made += 1
        return made

    return change


def _twice(ids: frozenset[str], old: str, new: str) -> Callable[[Body], int]:
    def change(body: Body) -> int:
        made = 0
        for table in body.tables:
            twins = [_twin(row, old, new) for row in table.rows if belongs(row, ids)]
            table.rows += twins
            made += len(twins)
        return made

    return change


def _twin(row: Row, old: str, new: str) -> dict[str, Any]:
    return {name: like(value, new) if shown_number(value) == old else value for name, value in row.items()}
