"""What a backend says of the trades it already has, and what is answered."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import attrs

from brokersync.decimals import check_length
from brokersync.enums import Side
from brokersync.types import BrokerTrade


class Verdict(StrEnum):
    """`same` may be linked at once, `likely` after a look at the reason, and a `new` row is not in the store."""

    SAME = "same"
    LIKELY = "likely"
    NEW = "new"


class MatchRule(StrEnum):
    """What decided: an id of the broker, the order's id, the content, being a part of a fill, or nothing.

    `taken` says that what would fit belongs to another row.
    """

    BROKER_ID = "broker_id"
    ORDER_ID = "order_id"
    CONTENT = "content"
    PART = "part"
    TAKEN = "taken"
    NONE = "none"


class Doubt(StrEnum):
    """What had to be tolerated for an answer; one without any doubt agrees to the second and the last digit."""

    MINUTES = "minutes"
    SHIFTED = "shifted"
    DATE_ONLY = "date_only"
    ROUNDED = "rounded"
    PRICE = "price"
    QUANTITY = "quantity"
    DAY = "day"
    SYMBOL = "symbol"
    SIDE = "side"
    SUM = "sum"
    ROUND_TRIP = "round_trip"
    HALF = "half"
    CANCELLED = "cancelled"
    AMBIGUOUS = "ambiguous"


def _exact(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is None and field.default is None:
        return
    if type(value) is not Decimal or not value.is_finite():
        raise TypeError(f"{field.name} must be a finite Decimal, not {value!r}")
    check_length(value, field.name)


def _positive(instance: object, field: attrs.Attribute[Any], value: Decimal) -> None:
    _exact(instance, field, value)
    if value <= 0:
        raise ValueError(f"{field.name} must be positive, not {value}; the side says the direction")


def _named(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{field.name} must be a non-empty string, not {value!r}")


def _optional_name(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        _named(instance, field, value)


def _names(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, tuple):
        raise TypeError(f"{field.name} must be a tuple of strings, not {value!r}")
    for name in value:
        _named(instance, field, name)


def _when(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is None and field.default is None:
        return
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{field.name} {value!r} has no time zone; take it for UTC and leave zone_doubtful set")
    elif not isinstance(value, date):
        raise TypeError(f"{field.name} must be an aware datetime or a date, not {value!r}")


def _in_utc(value: Any) -> Any:
    try:
        return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value
    except OverflowError:
        raise ValueError(f"{value} lies beyond the calendar, taken in UTC") from None


@attrs.frozen(kw_only=True)
class ExistingTrade:
    """A row of a journal that is older than the store.

    `trade_ids` are the broker's ids of executions or trades, as the journal kept them; `instrument_ids` such as ISIN or
    the broker's number of the contract. What is not given does not narrow. `executed_at` is an aware datetime, or a
    date where the journal keeps no more. While `zone_doubtful` is set, a time that is off by whole hours may still be
    the same. A row of a round trip states its entry, and its exit in `exit_price` and `exited_at`.
    """

    row_id: str = attrs.field(validator=_named)
    provider: str = attrs.field(validator=_named)
    account_id: str | None = attrs.field(default=None, validator=_optional_name)
    environment: str | None = attrs.field(default=None, validator=_optional_name)
    trade_ids: tuple[str, ...] = attrs.field(default=(), validator=_names)
    order_id: str | None = attrs.field(default=None, validator=_optional_name)
    symbol: str = attrs.field(validator=_named)
    instrument_ids: tuple[str, ...] = attrs.field(default=(), validator=_names)
    side: Side = attrs.field(validator=attrs.validators.instance_of(Side))
    quantity: Decimal = attrs.field(validator=_positive)
    price: Decimal = attrs.field(validator=_exact)
    executed_at: datetime | date = attrs.field(validator=_when, converter=_in_utc)
    zone_doubtful: bool = True
    exit_price: Decimal | None = attrs.field(default=None, validator=_exact)
    exited_at: datetime | date | None = attrs.field(default=None, validator=_when, converter=_in_utc)

    def __attrs_post_init__(self) -> None:
        if (self.exit_price is None) != (self.exited_at is None):
            raise ValueError("exit_price and exited_at are given together or not at all")


@attrs.frozen(kw_only=True)
class NamedTrade:
    """A trade of the store, with every name by which one of its bookings is known."""

    trade: BrokerTrade
    names: tuple[str, ...] = ()


@attrs.frozen(order=True)
class TradeKey:
    """What names one trade among those of an owner."""

    provider: str
    environment: str
    account_id: str
    trade_id: str


@attrs.frozen(kw_only=True)
class Match:
    """What became of one row.

    `trades` are linked to this row and to no other: one, or several where the row stands for several fills. Where more
    than one answer is possible, none is given, and `candidates` are those it is between. Beside trades that are linked
    they are what the row may stand for as well: fills that its quantity is the sum of, or an order that fits no less.
    """

    row_id: str
    verdict: Verdict
    trades: tuple[TradeKey, ...] = ()
    reason: str
    rule: MatchRule
    doubts: tuple[Doubt, ...] = ()
    candidates: tuple[TradeKey, ...] = ()
