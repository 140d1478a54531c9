"""Checks of what a row becomes: numbers, times, ids, costs, corrections."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from brokersync.enums import BookingEffect, FeesMode, FeesState, IdQuality
from brokersync.provider import RawRow
from brokersync.redaction import shows
from brokersync.testing.contract.base import OVER_THE_NETWORK, ContractBase
from brokersync.testing.contract.expecting import content, costs_of, differences, expect, raw_of
from brokersync.testing.contract.reading import sources_of
from brokersync.testing.contract.values import as_json, walked
from brokersync.types import BrokerTrade, TradeBooking

_FIRST: Final = datetime(1990, 1, 1, tzinfo=UTC)
_ALSO_REPLACED: Final = ("order_id", "group_id", "leg", "trade_date")
_AHEAD: Final = timedelta(seconds=60)


class RowChecks(ContractBase):
    """Of bookings and trades."""

    async def test_every_trade_is_as_the_books_have_it(self) -> None:
        """A whole import, compared with the sandbox's own books; what these do not tell is not compared."""
        self.needs(sources_of(self.manifest.sources), OVER_THE_NETWORK)
        async with self.stage() as stage, stage.service() as service:
            report = await service.sync(await self.connect(service))
            expect(not report.problems, f"the first sync leaves problems: {report.problems}")
            expect(not report.quarantined, f"{report.quarantined} rows of the sandbox are not understood")
            found = {(one.account_id, one.trade_id): one for one in await service.trades()}
            books = {
                (account, str(row["trade_id"])): row for account, rows in (await stage.books()).items() for row in rows
            }
        missing, more = sorted(books.keys() - found.keys()), sorted(found.keys() - books.keys())
        expect(not missing, f"{len(missing)} trades of the books are missing, the first is {missing[:1]}")
        expect(not more, f"{len(more)} trades are in no book, the first is {more[:1]}")
        expect(found, "the sandbox's books are empty, so nothing can be compared")
        for key, row in books.items():
            for name, (ours, theirs) in _compared(found[key], row).items():
                expect(ours == theirs, f"{name} of {key[1]} is {ours}, and the books say {theirs}")

    async def test_numbers_are_decimals_and_times_are_utc(self) -> None:
        """No float anywhere, also in raw rows; no time before 1990 or in the future."""
        async with self.stage() as stage:
            _, readings = await self.readings(stage)
            for reading in readings:
                for page in reading.pages:
                    for path, value in walked(page, "page"):
                        expect(not isinstance(value, float), f"{path} is the float {value!r}: read numbers as Decimal")
                        if isinstance(value, datetime):
                            expect(value.tzinfo is not None, f"{path} is {value}, which has no zone")
                for trade in reading.trades:
                    expect(
                        _FIRST <= trade.executed_at <= stage.clock.now() + _AHEAD,
                        f"{trade.trade_id} was executed at {trade.executed_at}, and it is {stage.clock.now()}",
                    )

    async def test_names_of_rows_are_unique(self) -> None:
        """Two rows with the broker's ids have two names."""
        async with self.stage() as stage:
            _, readings = await self.readings(stage)
        for reading in readings:
            known: dict[tuple[str, str, str], TradeBooking] = {}
            for booking in reading.bookings:
                key = (booking.environment, booking.account_id, booking.booking_id)
                if booking.id_quality is IdQuality.BROKER and content(known.setdefault(key, booking)) != content(
                    booking
                ):
                    differ = differences(content(known[key]), content(booking))
                    expect(False, f"two rows of {reading} are named {booking.booking_id!r}; they differ in {differ}")

    async def test_corrections_lead_to_what_they_correct(self) -> None:
        """A cancel, a replacement or an amendment shares a name with another row."""
        self.needs("corrections" in self.manifest.capabilities, "capability 'corrections'")
        async with self.stage() as stage:
            _, readings = await self.readings(stage)
        bookings = [booking for reading in readings for booking in reading.bookings]
        names = Counter(name for one in bookings for name in {*one.names, *one.loose_refs})
        later = [one for one in bookings if one.effect is not BookingEffect.NEW]
        expect(later, "no row of the sandbox corrects another")
        for booking in later:
            expect(
                {*booking.names, *booking.loose_refs} - {booking.booking_id},
                f"the {booking.effect.value} {booking.booking_id} names nothing that it corrects: give it `refs`",
            )
        linked = [one for one in later if any(names[name] > 1 for name in {*one.names, *one.loose_refs})]
        expect(linked, "no correction shares a name with what it corrects")

    async def test_a_replacement_tells_the_whole_trade(self) -> None:
        """Costs, order, group and trade date that a row told stand in the one that replaces it, too."""
        self.needs("corrections" in self.manifest.capabilities, "capability 'corrections'")
        async with self.stage() as stage:
            _, readings = await self.readings(stage)
        for reading in readings:
            replacing = [one for one in reading.bookings if one.effect is BookingEffect.REPLACE]
            wanted = {name for one in replacing for name in one.names}
            others = [one for one in reading.bookings if wanted.intersection(one.names)]
            for booking in replacing:
                for other in others:
                    expect(
                        not (lost := left_out(booking, other)),
                        f"the replace {booking.booking_id} leaves out {', '.join(lost)}, which {other.booking_id} told:"
                        " a replacement is the whole trade, so what it does not tell is gone; where the broker tells"
                        " only what changed its effect is amend, which keeps the rest (docs/how-to/corrections.md)",
                    )

    async def test_legs_of_one_order_are_one_group(self) -> None:
        """They share `group_id`, and each has a number of its own."""
        self.needs("multi_leg" in self.manifest.capabilities, "capability 'multi_leg'")
        async with self.stage() as stage:
            _, readings = await self.readings(stage)
        groups: dict[str, list[BrokerTrade]] = {}
        for reading in readings:
            for trade in reading.trades:
                if trade.group_id is not None:
                    groups.setdefault(f"{trade.account_id} {trade.group_id}", []).append(trade)
        expect(any(len(legs) > 1 for legs in groups.values()), "every group has one leg only")
        for name, legs in groups.items():
            apart = {(leg.leg, leg.instrument.symbol, leg.trade_id) for leg in legs}
            expect(len(apart) == len({leg.trade_id for leg in legs}), f"legs of the group {name} are not told apart")

    async def test_raw_rows_are_json_without_secrets(self) -> None:
        """Every booking and quarantined row keeps the row it was made from."""
        async with self.stage() as stage:
            _, readings = await self.readings(stage)
            for reading in readings:
                for booking in reading.bookings:
                    raw = raw_of(booking)
                    expect(raw, f"{booking.booking_id} has no raw row: TradeBooking.of(trade, raw=row)")
                    text = json.dumps(raw, default=as_json)
                    expect(
                        not any(shows(text, secret) for secret in stage.secrets),
                        f"the raw row of {booking.booking_id} holds a secret of the login",
                    )

    async def test_kept_rows_are_read_as_fresh_ones(self) -> None:
        """`renormalise` makes of a raw row what `get_trades` made of it."""
        again = self.loaded.spec.renormalise
        self.needs(again, "renormalise in its spec")
        assert again is not None
        async with self.stage() as stage:
            _, readings = await self.readings(stage)
        for reading in readings:
            rows = [
                RawRow(raw=raw_of(one), account_id=one.account_id, environment=one.environment, row_id=one.booking_id)
                for one in reading.bookings
            ]
            made = {one.booking_id: one for page in again(reading.request.source, rows) for one in page.bookings}
            for booking in reading.bookings:
                if (kept := made.get(booking.booking_id)) is None:
                    expect(False, f"renormalise makes nothing of the raw row of {booking.booking_id}")
                elif booking.id_quality is IdQuality.BROKER:
                    differ = differences(content(kept), content(booking))
                    expect(not differ, f"renormalise makes another booking of {booking.booking_id}: {differ}")


def left_out(booking: TradeBooking, other: TradeBooking) -> list[str]:
    """What a replacement leaves unsaid of a row of the same execution that came before it."""
    new, old = booking.trade, other.trade
    before = other.effect is BookingEffect.NEW or (
        other.effect is BookingEffect.REPLACE and other.order < booking.order
    )
    if new is None or old is None or not before or not set(booking.names).intersection(other.names):
        return []
    lost = [name for name in _ALSO_REPLACED if getattr(old, name) is not None and getattr(new, name) is None]
    keeps_costs = new.fees or booking.fees_mode is FeesMode.PART or new.fees_state is FeesState.PENDING
    return lost if keeps_costs or not old.fees else [*lost, "fees"]


def _compared(trade: BrokerTrade, row: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Our word and the books', for each fact that both tell."""
    facts: dict[str, tuple[Any, Any]] = {"side": (trade.side.value, row["side"])}
    for name, ours in (
        ("quantity", trade.quantity),
        ("price", trade.price),
        ("multiplier", trade.instrument.multiplier),
        ("net_cash", trade.net_cash),
    ):
        if row.get(name) is not None and ours is not None:
            facts[name] = (ours, Decimal(str(row[name])))
    for name, text in (("currency", trade.instrument.currency), ("order_id", trade.order_id)):
        if row.get(name) is not None and text is not None:
            facts[name] = (text, str(row[name]))
    facts["executed_at"] = (trade.executed_at, datetime.fromisoformat(str(row["executed_at"])))
    if isinstance(row.get("fees"), Mapping) and trade.fees_state is FeesState.FINAL:
        costs = sum((Decimal(str(amount)) for amount in row["fees"].values()), Decimal(0))
        facts["the sum of the fees"] = (costs_of(trade), costs)
    return facts
