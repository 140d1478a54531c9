"""The values that cross the contract: credentials, accounts, bookings, trades, windows, requests and pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Self

import attrs

from brokersync.checks import finite, in_utc, positive, some_id, some_text
from brokersync.enums import (
    AssetClass,
    BookingEffect,
    FeeKind,
    FeesMode,
    FeesState,
    Finality,
    Granularity,
    IdQuality,
    PositionEffect,
    PriceUnit,
    Right,
    Side,
    TimePrecision,
    TradeEvent,
    TradeStatus,
)
from brokersync.secret import Secret
from brokersync.typed import check_id, short, typed

__all__ = [
    "AssetClass",
    "AuthResult",
    "BookingEffect",
    "BrokerAccount",
    "BrokerCredentials",
    "BrokerTrade",
    "Challenge",
    "CoveredSpan",
    "Fee",
    "FeeKind",
    "FeesMode",
    "FeesState",
    "Finality",
    "Granularity",
    "IdQuality",
    "Instrument",
    "PositionEffect",
    "PriceUnit",
    "QuarantinedRow",
    "Right",
    "Side",
    "StatementHints",
    "TimePrecision",
    "TimeWindow",
    "TradeBooking",
    "TradeEvent",
    "TradePage",
    "TradeRequest",
    "TradeStatus",
    "utc",
]

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class BrokerCredentials:
    """What a user gives to log in; a plugin subclasses it with the fields its manifest declares."""


@attrs.frozen(kw_only=True, field_transformer=typed)
class AuthResult:
    """Everything of a login, so that the provider itself holds no user's state.

    `identity` is the broker's stable name of who logged in. `expires_at` is the token's end and `grant_expires_at` the
    whole grant's, in UTC. `secrets` and `state` are the plugin's own; all of it is sealed at rest. `hosts` holds base
    URLs learned at run time that `context.hosts.accept()` let through. `sources` narrows the manifest's to those this
    login can read. `refresh_refused`: this renewal was refused the refresh token, and prolonged the session without.
    """

    identity: str = attrs.field(validator=some_id)
    access_token: Secret | None = None
    refresh_token: Secret | None = None
    expires_at: datetime | None = attrs.field(default=None, validator=in_utc)
    grant_expires_at: datetime | None = attrs.field(default=None, validator=in_utc)
    secrets: Mapping[str, Secret] = _EMPTY
    state: Mapping[str, str] = _EMPTY
    hosts: Mapping[str, str] = _EMPTY
    sources: tuple[str, ...] | None = None
    refresh_refused: bool = False


@attrs.frozen(kw_only=True, field_transformer=typed)
class BrokerAccount:
    """An account as the broker names it, by a stable `account_id` that is never masked; what is `None` is not told."""

    account_id: str = attrs.field(validator=some_id)
    environment: str = attrs.field(validator=some_id)
    name: str | None = None
    currency: str | None = None
    kind: str | None = None
    opened_at: datetime | None = attrs.field(default=None, validator=in_utc)
    closed: bool | None = None
    state: Mapping[str, str] = _EMPTY


@attrs.frozen(kw_only=True, field_transformer=typed)
class Instrument:
    """What was traded. An unknown multiplier stays `None` until the broker tells it; it is never guessed.

    `currency` is a major one, as in ISO 4217: prices in pence (`GBX`, `GBp`) or in cents (`ZAc`) are divided by 100 and
    told in `GBP` or `ZAR`, and so are strikes, costs and cash.
    """

    symbol: str = attrs.field(validator=some_text)
    broker_id: str | None = None
    asset_class: AssetClass
    currency: str | None = None
    multiplier: Decimal | None = attrs.field(default=None, validator=finite)
    exchange: str | None = None
    isin: str | None = None
    figi: str | None = None
    cusip: str | None = None
    underlying: str | None = None
    expiry: date | None = None
    strike: Decimal | None = attrs.field(default=None, validator=finite)
    right: Right | None = None

    @property
    def complete(self) -> bool:
        """Whether currency and multiplier are known, so that money can be computed."""
        return self.currency is not None and self.multiplier is not None


@attrs.frozen(kw_only=True, field_transformer=typed)
class Fee:
    """One cost of a trade: positive is a cost, negative a rebate."""

    kind: FeeKind
    amount: Decimal = attrs.field(validator=finite)
    currency: str = attrs.field(validator=some_text)


@attrs.frozen(kw_only=True, field_transformer=typed)
class BrokerTrade:
    """One execution, never a round trip.

    `quantity` is positive and `side` gives the direction. With `time_precision` `day`, `executed_at` is the start of
    `trade_date` in the source's zone. `trade_date` is the exchange's. `net_cash` and `accrued_interest` carry the
    broker's sign: positive is money received. `revision`, `status` and `sources` are set by core.
    """

    provider: str = attrs.field(validator=some_text)
    environment: str = attrs.field(validator=some_id)
    account_id: str = attrs.field(validator=some_id)
    trade_id: str = attrs.field(validator=some_id)
    revision: int = 1
    status: TradeStatus = TradeStatus.ACTIVE
    order_id: str | None = None
    group_id: str | None = None
    leg: int | None = None
    related: tuple[str, ...] = ()
    instrument: Instrument
    side: Side
    position_effect: PositionEffect = PositionEffect.UNKNOWN
    quantity: Decimal = attrs.field(validator=positive)
    price: Decimal = attrs.field(validator=finite)
    price_unit: PriceUnit = PriceUnit.MONEY
    executed_at: datetime = attrs.field(validator=in_utc)
    time_precision: TimePrecision = TimePrecision.SECOND
    trade_date: date | None = None
    fees: tuple[Fee, ...] = ()
    fees_state: FeesState = FeesState.FINAL
    net_cash: Decimal | None = attrs.field(default=None, validator=finite)
    accrued_interest: Decimal | None = attrs.field(default=None, validator=finite)
    event: TradeEvent = TradeEvent.EXECUTION
    granularity: Granularity = Granularity.FILL
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    id_quality: IdQuality = IdQuality.BROKER
    raw: Mapping[str, Any] = _EMPTY


@attrs.frozen(kw_only=True, field_transformer=typed)
class TradeBooking:
    """One row of a source about an execution; core folds all rows of an execution into one `BrokerTrade`.

    `booking_id` names the row within its source; a row without any id of the broker's takes its content as id and
    `id_quality` synthetic, and core numbers equal ones and their `loose_refs` of like beginning up to a colon. Such an
    id holds what places the row: the time of the trade and, where the source selects by it, the day of booking.
    `aliases` name this very row in other sources. `refs` are ids it shares with the other rows of its execution.
    `loose_refs` join a row to those that hold the name as an id of their own, and lead a cancel without any to its
    target; a row that has the name as `booking_id` or alias is this very row, and two rows that only share a loose name
    stay two. A loose name that stands in the trade's `related`, too, is looked for: it becomes the id of the one other
    trade whose row has it and does not look for it. `order` is the broker's among the rows of one execution: the last
    number that all rows know counts first, and 0 is not known. A bare cancel has no `trade`; `fees` are then its own.
    """

    booking_id: str = attrs.field(validator=some_id)
    environment: str = attrs.field(validator=some_id)
    account_id: str = attrs.field(validator=some_id)
    effect: BookingEffect = BookingEffect.NEW
    aliases: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()
    loose_refs: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    fees_mode: FeesMode = FeesMode.TOTAL
    trade: BrokerTrade | None = None
    fees: tuple[Fee, ...] = ()
    id_quality: IdQuality = IdQuality.BROKER
    raw: Mapping[str, Any] = _EMPTY

    def __attrs_post_init__(self) -> None:
        if self.trade is None and self.effect is not BookingEffect.CANCEL:
            raise ValueError(f"a booking with effect {self.effect.value} needs its trade")
        if self.trade is not None and self.fees:
            raise ValueError("the fees of a booking with a trade stand in the trade")
        for name in (*self.aliases, *self.refs, *self.loose_refs):
            if "\x00" in name:
                raise ValueError("aliases, refs and loose_refs must hold no NUL character")
            check_id(name, "one of TradeBooking.aliases, refs and loose_refs")

    @classmethod
    def of(cls, trade: BrokerTrade, **facts: Any) -> Self:
        """The ordinary case: a row that books `trade` under the trade's own id."""
        values: dict[str, Any] = {
            "booking_id": trade.trade_id,
            "environment": trade.environment,
            "account_id": trade.account_id,
            "refs": (trade.trade_id,),
            "id_quality": trade.id_quality,
            "trade": trade,
        }
        return cls(**(values | facts))

    @property
    def names(self) -> tuple[str, ...]:
        """Every id by which this row is joined to others of its execution."""
        own = () if self.trade is None else (self.trade.trade_id,)
        return (self.booking_id, *self.aliases, *self.refs, *own)

    @property
    def row_fees(self) -> tuple[Fee, ...]:
        """What this row adds to the cost of its execution."""
        return self.fees if self.trade is None else self.trade.fees


@attrs.frozen(order=True, field_transformer=typed)
class TimeWindow:
    """The half-open span `[start, end)` of UTC instants."""

    start: datetime = attrs.field(validator=in_utc)
    end: datetime = attrs.field(validator=in_utc)

    def __attrs_post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"a window ends after it starts, not {self.start.isoformat()} to {self.end.isoformat()}")

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def overlap(self, other: TimeWindow) -> TimeWindow | None:
        """The part both windows share."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return TimeWindow(start, end) if start < end else None

    @property
    def length(self) -> timedelta:
        return self.end - self.start


@attrs.frozen(kw_only=True)
class TradeRequest:
    """What the engine asks of one source: these accounts, this window, from this cursor on.

    With the scope `login`, `accounts` are all that are known and may be empty; `others` those that files alone told of.
    The last finished request left `bookmark`: absent for new accounts, older windows, re-reading. What `may_rest` is
    provisional, and not wanted just now: a page that covers nothing may answer it.
    """

    source: str
    window: TimeWindow
    accounts: tuple[BrokerAccount, ...] = ()
    others: tuple[BrokerAccount, ...] = ()
    cursor: str | None = None
    bookmark: str | None = None
    may_rest: bool = False


@attrs.frozen(kw_only=True, field_transformer=typed)
class CoveredSpan:
    """A span that this page, with those before it in the request, proves complete for one account."""

    account_id: str = attrs.field(validator=short)
    environment: str = attrs.field(validator=short)
    window: TimeWindow
    finality: Finality = Finality.FINAL


@attrs.frozen(kw_only=True, field_transformer=typed)
class QuarantinedRow:
    """A row about an execution that was not understood; it is kept, reported, and never passes silently.

    `row_id` is the `booking_id` it would have, if told: a booking so called takes it out, a synthetic one also loosely.
    """

    reason: str
    raw: Mapping[str, Any]
    account_id: str | None = None
    environment: str | None = None
    row_id: str | None = None
    id_quality: IdQuality = IdQuality.BROKER


@attrs.frozen(kw_only=True, field_transformer=typed)
class TradePage:
    """One step of an answer; the engine commits it as one transaction.

    `cursor` leads on from behind this page inside the request; with `resume_at` the broker needs time until then.
    `skipped` counts rows that are no executions, by reason; `unmapped` counts names and values that were new to us.
    `rows` is how many rows of the broker's the page was made from, where each gave one booking, was quarantined or
    skipped: core reports a difference. `as_of` is when the broker made what the page was read from, where it says so:
    of two contents of one row the one made later stands, whichever was read first, and nothing later than it is proved.
    """

    bookings: tuple[TradeBooking, ...] = ()
    covered: tuple[CoveredSpan, ...] = ()
    accounts: tuple[BrokerAccount, ...] = ()
    cursor: str | None = None
    bookmark: str | None = None
    resume_at: datetime | None = attrs.field(default=None, validator=in_utc)
    quarantined: tuple[QuarantinedRow, ...] = ()
    skipped: Mapping[str, int] = _EMPTY
    unmapped: Mapping[str, int] = _EMPTY
    rows: int | None = None
    as_of: datetime | None = attrs.field(default=None, validator=in_utc)

    @property
    def disposed(self) -> int:
        """How many rows the page tells of."""
        return len(self.bookings) + len(self.quarantined) + sum(self.skipped.values())


@attrs.frozen(kw_only=True, field_transformer=typed)
class Challenge:
    """What a login asks of its user, and until when; `kind` is `browser` where the page at `url` sends the answer."""

    kind: str
    message: str
    url: str | None = None
    fields: Mapping[str, str] = _EMPTY
    expires_at: datetime | None = attrs.field(default=None, validator=in_utc)
    state: Mapping[str, Secret] = _EMPTY


@attrs.frozen(kw_only=True, field_transformer=typed)
class StatementHints:
    """What the user says about a file that the file does not tell itself. Core fills in the owner's `accounts`."""

    name: str = ""
    account_id: str | None = None
    environment: str | None = None
    zone: str | None = None
    accounts: tuple[BrokerAccount, ...] = ()


def utc(value: datetime) -> datetime:
    """The same instant in UTC; a naive value is refused."""
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return value.astimezone(UTC)
