"""What the made-up broker knows: rows about executions, each booked at its time, some long after the execution."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

import attrs

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
ACCOUNTS = ("A-1", "B-2")
SYMBOLS = ("ACME", "BOLT", "CORK")

Facts: TypeAlias = tuple[str, str, str, Decimal, Decimal, datetime, Decimal]


@attrs.frozen(kw_only=True)
class Row:
    """`kind` is fill, fee (the fill again, with its fee), replace or cancel; `execution` is what all of them share."""

    number: int
    kind: str
    execution: str
    account: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal | None
    executed_at: datetime
    booked_at: datetime

    @property
    def row_id(self) -> str:
        return self.execution if self.kind == "fill" else f"{self.execution}.{self.number}"

    def facts(self) -> Facts:
        fee = self.fee or Decimal(0)
        return (self.account, self.symbol, self.side, self.quantity, self.price, self.executed_at, fee)


def make_ledger(*, days: int = 5, seed: int = 11, corrections: bool = True) -> list[Row]:
    """Some days of both accounts: equal times, twins, fills on the day's edge, late fees, a cancel and a rebooking."""
    chance = random.Random(seed)
    rows: list[Row] = []
    for day in range(days):
        for account in ACCOUNTS:
            rows += _day(chance, START + day * DAY, account, len(rows))
    if corrections:
        rows += _corrections(rows)
    ordered = sorted(rows, key=lambda row: (row.booked_at, row.number))
    return [attrs.evolve(row, number=number) for number, row in enumerate(ordered, 1)]


def _day(chance: random.Random, day: datetime, account: str, used: int) -> list[Row]:
    noon = day + timedelta(hours=12, seconds=chance.randrange(3600))
    moments = (day, noon, noon, noon, day + timedelta(hours=23, minutes=59, seconds=59))
    rows: list[Row] = []
    for place, moment in enumerate(moments):
        row = Row(
            number=used + len(rows),
            kind="fill",
            execution=f"x{used + len(rows):03d}",
            account=account,
            symbol=chance.choice(SYMBOLS),
            side=chance.choice("BS"),
            quantity=Decimal(chance.randrange(1, 90_000)).scaleb(-3),
            price=Decimal(chance.randrange(1, 9_000_000)).scaleb(-4),
            fee=Decimal(chance.randrange(-40, 400)).scaleb(-2),
            executed_at=moment,
            booked_at=moment,
        )
        if place == 2:
            twin = rows[1]
            row = attrs.evolve(twin, number=row.number, execution=row.execution)
        rows.append(row)
        if place == 3:
            rows[-1] = attrs.evolve(row, fee=None)
            rows.append(_later(row, "fee", used + len(rows), timedelta(hours=20)))
    return rows


def _later(row: Row, kind: str, number: int, after: timedelta, **changed: Decimal) -> Row:
    return attrs.evolve(row, kind=kind, number=number, booked_at=row.executed_at + after, **changed)


def _corrections(rows: list[Row]) -> list[Row]:
    mine = [row for row in rows if row.kind == "fill" and row.fee is not None]
    return [
        _later(mine[1], "cancel", len(rows), 2 * DAY),
        _later(mine[5], "replace", len(rows) + 1, 3 * DAY, price=mine[5].price + 1, quantity=Decimal("0.001")),
    ]


def truth(rows: Iterable[Row]) -> Counter[Facts]:
    """What these rows, in the order of their booking, come to: each execution that stands, with its last numbers."""
    standing: dict[str, Facts] = {}
    for row in sorted(rows, key=lambda row: row.number):
        if row.kind == "cancel":
            standing.pop(row.execution, None)
        else:
            standing[row.execution] = row.facts()
    return Counter(standing.values())


def as_executed(rows: Iterable[Row]) -> list[Row]:
    """The rows as a broker shows them that books a fee into the fill itself, in the order of execution."""
    ordered = sorted(rows, key=lambda row: row.number)
    fees = {row.execution: row.fee for row in ordered if row.kind == "fee"}
    shown = [
        attrs.evolve(row, fee=fees.get(row.execution, row.fee)) if row.kind == "fill" else row
        for row in ordered
        if row.kind != "fee"
    ]
    return sorted(shown, key=lambda row: (row.executed_at, row.number))
