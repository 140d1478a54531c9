"""Ten years of IBKR with corrections, read in any order of windows, files and confirmations, and broken off anywhere.

Whatever the order, one state remains: that of the sandbox's books, with its positions and its commissions.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync import BrokerSync, Deferred, Done
from brokersync.sandboxes import SandboxSettings
from brokersync.store import TradeFilter
from brokersync.testing import run_sandbox
from brokersync_ibkr.sandbox_calendar import NEW_YORK, newest_stated_day
from brokersync_ibkr.sandbox_flex import ACTIVITY, CONFIRMATIONS, StatementOrder, StatementPrinter
from brokersync_ibkr.sandbox_ledger import Account, live_trades, open_logins
from brokersync_ibkr.sandbox_query import QuerySettings
from brokersync_ibkr.sandbox_service import FlexService

NOW = datetime(2026, 6, 10, 21, 0, tzinfo=UTC)  # a Wednesday, 17:00 in New York
YEARS = timedelta(days=3653)
SIMULATED: dict[str, Any] = {"trades_per_day": 0.25, "logins": 1}
OWNER = "me"
_DAY = timedelta(days=1)


@cache
def accounts() -> tuple[Account, ...]:
    settings = SandboxSettings(now=lambda: NOW, days=YEARS.days, **SIMULATED)
    return open_logins(settings)[0].accounts


# what must remain


def in_the_books() -> dict[tuple[str, str], dict[str, Any]]:
    """Each trade that stands, by account and id, as the sandbox's ledger tells it."""
    return {
        (account.number, trade.trade_id): {
            "symbol": trade.booking.contract.symbol,
            "conid": str(trade.booking.contract.conid),
            "multiplier": trade.booking.contract.multiplier,
            "currency": trade.booking.contract.currency,
            "side": trade.booking.side.lower(),
            "quantity": abs(trade.booking.quantity),
            "price": trade.booking.price,
            "executed_at": trade.booking.executed.astimezone(UTC),
            "trade_date": trade.booking.trade_date,
            "costs": _costs((trade.booking.commission_currency, trade.commission))
            + _costs((trade.booking.contract.currency, trade.taxes)),
        }
        for account in accounts()
        for trade in live_trades(account.told_by(NOW))
    }


def _costs(*told: tuple[str, Decimal]) -> Counter[str]:
    costs: Counter[Any] = Counter()
    for currency, amount in told:
        if amount:
            costs[currency] -= amount
    return costs


def booked() -> tuple[dict[Any, Decimal], dict[str, Decimal]]:
    """Positions and paid commissions by the rows of the books, cancels and what they took back among them."""
    positions: defaultdict[Any, Decimal] = defaultdict(Decimal)
    paid: defaultdict[str, Decimal] = defaultdict(Decimal)
    for account in accounts():
        for row in account.told_by(NOW):
            positions[account.number, str(row.contract.conid)] += row.quantity
            paid[row.commission_currency] -= row.commission
    return {key: quantity for key, quantity in positions.items() if quantity}, dict(paid)


async def kept(bs: BrokerSync, owner: str = OWNER) -> list[Any]:
    """All that is stored of the trades but how often each was changed on the way, and which statements told it."""
    return [attrs.evolve(one, revision=1, sources=()) async for one in bs.trades(owner, TradeFilter(cancelled=True))]


def agrees_with_the_books(trades: Sequence[Any]) -> None:
    live = [one for one in trades if one.status.value == "active"]
    assert {
        (one.account_id, one.trade_id): {
            "symbol": one.instrument.symbol,
            "conid": one.instrument.broker_id,
            "multiplier": one.instrument.multiplier,
            "currency": one.instrument.currency,
            "side": one.side.value,
            "quantity": one.quantity,
            "price": one.price,
            "executed_at": one.executed_at,
            "trade_date": one.trade_date,
            "costs": sum((_costs((fee.currency, -fee.amount)) for fee in one.fees), Counter()),
        }
        for one in live
    } == in_the_books()
    positions: defaultdict[Any, Decimal] = defaultdict(Decimal)
    for one in live:
        signed = one.quantity if one.side.value == "buy" else -one.quantity
        positions[one.account_id, one.instrument.broker_id] += signed
    paid: defaultdict[str, Decimal] = defaultdict(Decimal)
    for one in trades:
        for fee in one.fees:
            if fee.kind.value == "commission":
                paid[fee.currency] += fee.amount
    replayed = {key: quantity for key, quantity in positions.items() if quantity}
    assert (replayed, dict(paid)) == booked()


# files


@attrs.frozen
class Document:
    kind: str
    first: date
    last: date
    made: datetime
    query: QuerySettings

    def written(self, printer: StatementPrinter) -> bytes:
        order = StatementOrder(
            kind=self.kind, first=self.first, last=self.last, period="", as_of=self.made, query=self.query
        )
        return printer.print(order, accounts())


def documents(chance: random.Random) -> list[Document]:
    """Activity over all ten years in windows of any length, more of them over days told before, and confirmations."""
    opened, stated = accounts()[0].opened, newest_stated_day(NOW)
    made, first = [], opened
    while first <= stated:
        last = min(first + _DAY * chance.randrange(365), stated)
        made.append(activity(first, last, chance))
        first = last + _DAY
    for _ in range(len(made)):
        first = opened + _DAY * chance.randrange(YEARS.days - 1)
        last = min(first + _DAY * chance.randrange(90), stated)
        kind = chance.choice([activity, confirmations])
        made.append(kind(first, last, chance))
    made.append(Document(CONFIRMATIONS, stated + _DAY, NOW.astimezone(NEW_YORK).date(), NOW, QuerySettings()))
    chance.shuffle(made)
    return made


def activity(first: date, last: date, chance: random.Random) -> Document:
    morning = datetime.combine(last + _DAY, time(7), NEW_YORK).astimezone(UTC)
    return Document(ACTIVITY, first, last, chance.choice([morning, NOW]), query(chance))


def confirmations(first: date, last: date, chance: random.Random) -> Document:
    evening = datetime.combine(last, time(18), NEW_YORK).astimezone(UTC)
    return Document(CONFIRMATIONS, first, last, min(evening, NOW), query(chance))


def query(chance: random.Random) -> QuerySettings:
    """How the query was set up that day: with any format of dates whose days can not be mistaken."""
    return QuerySettings(
        date_format=chance.choice(["yyyyMMdd", "yyyy-MM-dd", "dd-MMM-yy"]),
        time_format=chance.choice(["HHmmss", "HH:mm:ss"]),
        separator=chance.choice([";", ",", " ", ""]),
        zone=chance.random() < 0.3,
        breakout_by_day=chance.random() < 0.2,
        levels=chance.choice([("EXECUTION",), ("EXECUTION", "ORDER", "CLOSED_LOT")]),
        sections=("AccountInformation", "Trades"),
    )


class BrokenOffError(OSError):
    """What a test breaks off with."""


class Breaking(BytesIO):
    """A file whose reading ends after so many reads, first checks among them."""

    def __init__(self, body: bytes, reads: int) -> None:
        super().__init__(body)
        self._left = reads

    def read(self, amount: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise BrokenOffError
        return super().read(amount)


async def import_all(bs: BrokerSync, told: Sequence[Document], chance: random.Random, owner: str = OWNER) -> int:
    """Import the documents in turn, a third of them after a reading that was broken off; how many such there were."""
    printer, broken = StatementPrinter(), 0
    for document in told:
        body = document.written(printer)
        if chance.random() < 0.33:
            # every chunk is read twice, to check it and to read it
            reads = chance.randint(1, 2 * (len(body) // (1 << 16)) + 3)
            try:
                await bs.import_statement("ibkr", Breaking(body, reads), owner=owner)
            except BrokenOffError:
                broken += 1
        report = await bs.import_statement("ibkr", BytesIO(body), owner=owner)
        assert report.quarantined == 0
        assert sum(report.dispositions.values()) == report.rows
    return broken


async def test_files_in_any_order_and_broken_off_anywhere_end_in_the_books(
    tmp_path: Path, sized: Callable[[str, int, int], int]
) -> None:
    orders = sized("orders of ten years of Flex files", 2, 25)
    ends = []
    for seed in range(orders):
        chance = random.Random(seed)
        async with BrokerSync.open(tmp_path / f"{seed}.db") as bs:
            assert await import_all(bs, documents(chance), chance)
            ends.append(await kept(bs))
            agrees_with_the_books(ends[-1])
    assert len(ends[0]) > 1000
    assert all(end == ends[0] for end in ends)


# the service


class Cutting:
    """Cancels what runs at the request of a given number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.cuts = 0, 0
        self.running: asyncio.Task[Any] | None = None
        answer = FlexService.answer

        def cut(service: FlexService, *args: Any, **facts: Any) -> Any:
            self.left -= 1
            if self.left == 0 and self.running is not None:
                self.cuts += 1
                self.running.cancel()
            return answer(service, *args, **facts)

        monkeypatch.setattr(FlexService, "answer", cut)

    async def run(self, bs: BrokerSync, connection: str, at: int) -> Any:
        """The outcome of a sync; `None` where it was cut off."""
        self.left, self.running = at, asyncio.create_task(bs.run(connection))
        try:
            return await self.running
        except asyncio.CancelledError:
            return None
        finally:
            self.running = None


async def sync(place: Path, sandbox: Any, clock: Any, cutting: Cutting, chance: random.Random, connection: str) -> None:
    """Sync until nothing is left to do; after each cut another process goes on."""
    outcome: Any = None
    while not isinstance(outcome, Done) or outcome.report.problems:
        async with BrokerSync.open(place, settings=sandbox.settings(), clock=clock) as bs:
            while True:
                outcome = await cutting.run(bs, connection, chance.choice([0, 0, 1, 2, 3, 5, 8]))
                if not isinstance(outcome, Deferred):
                    break
                clock.time = max(clock.time, outcome.until)


async def download(place: Path, clock: Any, chance: random.Random) -> None:
    """A file over some weeks up to the last finished day, which the user downloads beside the service."""
    last = newest_stated_day(clock.time)
    document = Document(ACTIVITY, last - _DAY * chance.randrange(60), last, clock.time, query(chance))
    async with BrokerSync.open(place, clock=clock) as bs:
        await import_all(bs, [document], chance)


async def test_the_service_read_day_by_day_and_cut_off_anywhere_ends_in_the_books_and_like_its_files(
    tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch, sized: Callable[[str, int, int], int]
) -> None:
    days = sized("days of ten years of Flex on which the service is read twice", 25, 90)
    clock.time = NOW - _DAY * days
    cutting, chance = Cutting(monkeypatch), random.Random(days)
    simulated = SandboxSettings(now=clock.now, days=(YEARS - _DAY * days).days, think=timedelta(seconds=8), **SIMULATED)
    place = tmp_path / "store.db"
    async with run_sandbox("ibkr", settings=simulated) as sandbox:
        mine = sandbox.logins[0]
        async with BrokerSync.open(place, settings=sandbox.settings(), clock=clock) as bs:
            made = await bs.connect("ibkr", owner=OWNER, fields=mine.fields, environment=mine.environment)
        for day in range(days):
            for hour in (11, 21):
                clock.time = max(clock.time, NOW - _DAY * (days - day - 1) + timedelta(hours=hour - 21))
                if chance.random() < 0.2:
                    await download(place, clock, chance)
                await sync(place, sandbox, clock, cutting, chance, made.connection_id)
        async with BrokerSync.open(place, settings=sandbox.settings(), clock=clock) as bs:
            trades = await kept(bs)
            await import_all(bs, documents(chance), chance, owner="other")
            assert await kept(bs, "other") == trades
    agrees_with_the_books(trades)
    assert cutting.cuts > days
