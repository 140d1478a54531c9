"""The broker's books: what really happened, told apart from every way in which it is read."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, TypeAlias

import attrs

from brokersync.sync.days import day_floor, next_day

from .shape import HOUR, SINCE, START, Shape

Facts: TypeAlias = tuple[str, str, str, Decimal, Decimal, datetime, Decimal, bool, bool]

_SYMBOLS: Final = ("ACME", "BOLT", "CORK")
_MINUTE: Final = timedelta(minutes=1)
_LEAST: Final = timedelta(microseconds=1)
# what may become of an execution after its first row; without the broker's own order only what tells its place itself
_COURSES: Final = (("fee",), ("replace",), ("cancel",), ("cancel", "fill"), ("replace", "cancel"), ("replace", "fee"))
_ORDERED: Final = (*_COURSES, ("replace", "replace"), ("fee", "replace"), ("cancel", "fill", "replace"))


@attrs.frozen(kw_only=True)
class Row:
    """One row of the books, whole from `booked_at` on, but for its fee, which stands there from `fee_at` on.

    `kind` is fill, fee, replace or cancel; a fill after a cancel is the rebooking. `target` is the row that is
    cancelled. `execution` is what all rows of one execution share.
    """

    number: int
    kind: str
    execution: str
    account: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    executed_at: datetime
    booked_at: datetime
    fee_at: datetime
    target: int | None = None

    @property
    def name(self) -> str:
        return f"r{self.number}"

    def seen(self, at: datetime) -> Seen:
        return Seen(row=self, with_fee=at >= self.fee_at)


@attrs.frozen
class Seen:
    """A row as it stood when it was given out."""

    row: Row
    with_fee: bool


class Books:
    """All rows of all accounts, in the order of booking."""

    def __init__(self, shape: Shape, opened: Mapping[str, datetime], ends: datetime, chance: random.Random) -> None:
        self._shape, self._chance = shape, chance
        drafts = [row for account in opened for row in self._account(account, opened[account], ends)]
        ordered = sorted(drafts, key=lambda row: (row.booked_at, row.execution, row.number))
        numbers = {(row.execution, row.number): number for number, row in enumerate(ordered, 1)}
        self.rows = tuple(
            attrs.evolve(
                row,
                number=numbers[row.execution, row.number],
                target=None if row.target is None else numbers[row.execution, row.target],
            )
            for row in ordered
        )
        self.complete_at = max((max(row.booked_at, row.fee_at) for row in self.rows), default=START)

    def until(self, moment: datetime) -> Iterator[Row]:
        """What was booked by then."""
        return itertools.takewhile(lambda row: row.booked_at <= moment, self.rows)

    def _account(self, account: str, opened: datetime, ends: datetime) -> Iterator[Row]:
        chance = self._chance
        moments: list[datetime] = []
        begin = max(opened, SINCE)
        for _ in range(chance.randint(3, 9)):
            moment = begin + timedelta(seconds=chance.randrange(int((ends - begin).total_seconds())))
            if chance.random() < 0.2:
                moment = day_floor(moment, self._shape.calendar) - chance.choice((timedelta(0), _LEAST))
            moments.append(max(moment, begin))
        for place, moment in enumerate(moments):
            fill = self._fill(account, f"{account}-x{place}", moment)
            yield from self._course(fill)
            if chance.random() < (0.15 if self._shape.named else 0.4):
                yield from self._equals(fill)

    def _equals(self, fill: Row) -> Iterator[Row]:
        """Equal fills of one moment, such as the parts of one order; they stay as many as they are."""
        for number in range(1 if self._shape.named else self._chance.randint(1, 3)):
            yield attrs.evolve(fill, execution=f"{fill.execution}t{number}", fee_at=fill.booked_at)

    def _fill(self, account: str, execution: str, moment: datetime) -> Row:
        chance, shape = self._chance, self._shape
        booked = moment + timedelta(seconds=chance.randrange(90))
        if chance.random() < 0.2 and "stream" not in shape.sources:
            latest = next_day(moment, shape.calendar) + shape.lag
            # rather in the last hours, in which what was read before has to be read again
            booked = moment + (latest - moment) * (chance.random() ** 0.4 * 0.999)
        late = shape.in_place and chance.random() < 0.2
        return Row(
            number=0,
            kind="fill",
            execution=execution,
            account=account,
            symbol=chance.choice(_SYMBOLS),
            side=chance.choice(("buy", "sell")),
            quantity=Decimal(chance.randrange(1, 9000)).scaleb(-2),
            price=Decimal(chance.randrange(1, 90_000)).scaleb(-3),
            fee=Decimal(chance.randrange(-40, 400)).scaleb(-2),
            executed_at=moment,
            booked_at=booked,
            fee_at=booked + chance.random() * 30 * HOUR if late else booked,
        )

    def _course(self, fill: Row) -> Iterator[Row]:
        yield fill
        chance = self._chance
        if not self._shape.named or chance.random() < 0.6:
            return
        before, target = fill, 0
        for number, kind in enumerate(chance.choice(_ORDERED if self._shape.ordered else _COURSES), 1):
            booked = before.booked_at + _MINUTE + chance.random() * chance.choice((HOUR, 20 * HOUR, 60 * HOUR))
            row = attrs.evolve(before, kind=kind, number=number, booked_at=booked, fee_at=booked, target=None)
            if kind == "cancel":
                row = attrs.evolve(row, target=target, fee=-before.fee)
            else:
                target = number
                row = attrs.evolve(row, fee=Decimal(chance.randrange(1, 400)).scaleb(-2))
            if kind == "replace" or (kind == "fill" and chance.random() < 0.5):
                row = attrs.evolve(row, price=row.price + Decimal(1), quantity=row.quantity + Decimal(1))
            yield row
            before = row if kind != "cancel" else attrs.evolve(row, fee=before.fee)


def standing(seen: Iterable[Seen], *, parts: bool) -> Facts | None:
    """What the rows of one execution come to, read as the broker would: one after another, as they were booked."""
    content: Seen | None = None
    cancelled, fees, returned = False, Decimal(0), Decimal(0)
    for one in sorted(seen, key=lambda one: one.row.number):
        fee = one.row.fee if one.with_fee else Decimal(0)
        if one.row.kind == "cancel":
            cancelled = True
            returned += fee
            continue
        content, cancelled = one, cancelled and one.row.kind == "fee"
        if one.with_fee or one.row.kind != "fee":
            fees = fees + fee if parts else fee
    if content is None:
        return None
    row = content.row
    total = fees + returned if parts else Decimal(0) if cancelled else fees
    facts = (row.account, row.symbol, row.side, row.quantity, row.price, row.executed_at)
    return (*facts, total, cancelled, content.with_fee)
