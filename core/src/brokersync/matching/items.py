"""Rows and trades as the rules compare them: whole numbers for times, sets of spellings for instruments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from typing import NamedTuple

import attrs

from brokersync.enums import Side, TimePrecision, TradeStatus
from brokersync.matching.symbols import Spellings, spellings_of_instrument, spellings_of_row
from brokersync.matching.times import SECOND, Told
from brokersync.matching.values import Doubt, ExistingTrade, MatchRule, NamedTrade, Verdict
from brokersync.types import BrokerTrade

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST_ZONE, _LATEST_ZONE = timedelta(hours=-12), timedelta(hours=14)
PRECISE = Context(prec=200)
_ROUNDINGS = (ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_DOWN)
_USUAL_DIGITS = 2
MOST_CANDIDATES = 10


class FillKey(NamedTuple):
    """A `TradeKey` that is cheap to make, to sort and to look up."""

    provider: str
    environment: str
    account_id: str
    trade_id: str


class Scope(NamedTuple):
    """Whose trades a row may be; what it does not say does not narrow."""

    provider: str
    environment: str | None
    account_id: str | None

    def holds(self, key: FillKey) -> bool:
        return (
            self.provider == key.provider
            and self.environment in (None, key.environment)
            and self.account_id in (None, key.account_id)
        )


@attrs.define(eq=False)
class Fill:
    """A trade that a row may be linked to: `row_id` is that row, `wanted_by` are those that nothing chooses between."""

    key: FillKey
    trade: BrokerTrade
    names: tuple[str, ...]
    moment: int
    row_id: str | None = None
    wanted_by: tuple[str, ...] = ()

    @property
    def free(self) -> bool:
        return is_free(self)

    @property
    def cancelled(self) -> bool:
        return self.trade.status is TradeStatus.CANCELLED


def is_free(fill: Fill) -> bool:
    """Whether no row has it or may have it."""
    return fill.row_id is None and not fill.wanted_by


@attrs.define(eq=False)
class Target:
    """What one leg of a row can stand for: a fill, or several that add up; `what` says in words what binds them."""

    fills: tuple[Fill, ...]
    side: Side
    quantity: Decimal
    price: Decimal
    moments: tuple[int, ...]
    by_day: bool
    spellings: Spellings
    what: str = ""

    @property
    def free(self) -> bool:
        return all(fill.free for fill in self.fills)

    def days(self) -> dict[int, int]:
        """The days on which a journal may have it: 0 for the exchange's and the UTC date, 1 for another zone's."""
        days: dict[int, int] = {}
        for fill in self.fills:
            for day, off in _days(fill.trade).items():
                days[day] = min(off, days.get(day, off))
        return days


class Answer(NamedTuple):
    """What was found for a leg."""

    verdict: Verdict
    rule: MatchRule
    reason: str
    fills: tuple[Fill, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    candidates: tuple[Fill, ...] = ()


@attrs.define(eq=False)
class Leg:
    """A row, or one side of a row that is a round trip; `minutes` is set where its journal keeps no seconds."""

    row: ExistingTrade
    side: Side
    quantity: Decimal
    price: Decimal
    moment: int | None
    day: int
    scope: Scope
    spellings: Spellings
    part: int = 0
    answer: Answer | None = None
    minutes: Told | None = None


def legs_of(row: ExistingTrade) -> list[Leg]:
    """One leg, or entry and exit."""
    legs = [_leg(row, row.side, row.price, row.executed_at, 0)]
    if row.exit_price is not None and row.exited_at is not None:
        other = Side.SELL if row.side is Side.BUY else Side.BUY
        legs.append(_leg(row, other, row.exit_price, row.exited_at, 1))
    return legs


def _leg(row: ExistingTrade, side: Side, price: Decimal, at: datetime | date, part: int) -> Leg:
    timed = at if isinstance(at, datetime) else None
    return Leg(
        row=row,
        side=side,
        quantity=row.quantity,
        price=price,
        moment=None if timed is None else _moment(timed),
        day=at.toordinal(),
        scope=Scope(row.provider, row.environment, row.account_id),
        spellings=spellings_of_row(row.symbol, row.instrument_ids),
        part=part,
    )


def fills_of(trades: Iterable[NamedTrade]) -> list[Fill]:
    """The trades in the order of their keys. Raises `ValueError` for a key that comes twice."""
    found: dict[FillKey, Fill] = {}
    for named in trades:
        trade = named.trade
        key = FillKey(trade.provider, trade.environment, trade.account_id, trade.trade_id)
        if key in found:
            raise ValueError(f"the trade {trade.trade_id} is given twice")
        found[key] = Fill(key, trade, (trade.trade_id, *named.names), _moment(trade.executed_at))
    return [found[key] for key in sorted(found)]


def target_of(fill: Fill) -> Target:
    trade = fill.trade
    return Target(
        fills=(fill,),
        side=trade.side,
        quantity=trade.quantity,
        price=trade.price,
        moments=(fill.moment,),
        by_day=trade.time_precision is TimePrecision.DAY,
        spellings=spellings_of_instrument(trade.instrument),
    )


def sum_of(fills: Sequence[Fill], what: str) -> Target:
    """Fills of one side and instrument as one: their quantity, their average price, their first and last time."""
    first = target_of(fills[0])
    quantity, worth = Decimal(0), Decimal(0)
    for fill in fills:
        quantity = PRECISE.add(quantity, fill.trade.quantity)
        worth = PRECISE.add(worth, PRECISE.multiply(fill.trade.quantity, fill.trade.price))
    moments = {fill.moment for fill in fills}
    return attrs.evolve(
        first,
        fills=tuple(fills),
        quantity=quantity,
        price=PRECISE.divide(worth, quantity),
        moments=tuple(sorted({min(moments), max(moments)})),
        what=what,
    )


def to_the_second(leg: Leg, target: Target, shift: int = 0) -> bool:
    """Whether their times agree to the second, once the leg's is taken as `shift` seconds too late."""
    return leg.moment is not None and leg.moment // SECOND - shift in {moment // SECOND for moment in target.moments}


def agree(leg: Leg, fill: Fill) -> bool:
    """Whether side, instrument, quantity and price are the same."""
    trade = fill.trade
    return (trade.quantity, trade.price) == (leg.quantity, leg.price) and not contradictions(leg, fill)


def contradictions(leg: Leg, fill: Fill) -> tuple[Doubt, ...]:
    """In which of side and symbol a row and a trade can not be the same."""
    ours, theirs = leg.spellings, spellings_of_instrument(fill.trade.instrument)
    # two loose spellings never meet: two months of one future have the same
    meet = not ({*ours.exact, *ours.loose}.isdisjoint(theirs.exact) and set(ours.exact).isdisjoint(theirs.loose))
    found = [Doubt.SIDE] if leg.side is not fill.trade.side else []
    return tuple(found if meet else [*found, Doubt.SYMBOL])


def spelled_alike(leg: Leg, fill: Fill) -> bool:
    """Whether a row and a trade name one instrument beyond doubt."""
    return not set(leg.spellings.exact).isdisjoint(spellings_of_instrument(fill.trade.instrument).exact)


def differences(leg: Leg, whole: Target) -> tuple[Doubt, ...]:
    """In which of quantity, price and day a row and what its ids name differ, beyond rounding and time zones."""
    found = {
        Doubt.QUANTITY: leg.quantity != whole.quantity,
        Doubt.PRICE: not has_price(leg, whole),
        Doubt.DAY: leg.day not in whole.days(),
    }
    return tuple(doubt for doubt, holds in found.items() if holds)


def has_price(leg: Leg, whole: Target) -> bool:
    """Whether the row tells the price of these fills, as it is or rounded to its own digits."""
    return leg.price in {whole.price, *rounded(whole.price, digits(leg.price))}


def digits(price: Decimal) -> int:
    """How many decimals a price was written with; zeros that fill a column's width are not among them."""
    written = max(-int(price.as_tuple().exponent), 0)
    if written <= _USUAL_DIGITS:
        return written
    return max(-int(price.normalize(PRECISE).as_tuple().exponent), _USUAL_DIGITS)


def rounded(price: Decimal, to: int) -> set[Decimal]:
    """What `price` may have become with `to` decimals, as programs round: to even, half up, or by cutting off."""
    unit = Decimal(1).scaleb(-to)
    return {price.quantize(unit, rounding=how, context=PRECISE) for how in _ROUNDINGS}


def _moment(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _days(trade: BrokerTrade) -> dict[int, int]:
    at = trade.executed_at
    if trade.time_precision is TimePrecision.DAY:
        day = (trade.trade_date or at.date()).toordinal()
        return {day: 0, day - 1: 1, day + 1: 1}
    days = {(at + zone).toordinal(): 1 for zone in (_EARLIEST_ZONE, _LATEST_ZONE)}
    days[at.toordinal()] = 0
    if trade.trade_date is not None:
        days[trade.trade_date.toordinal()] = 0
    return days
