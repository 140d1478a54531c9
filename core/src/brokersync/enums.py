"""The closed vocabularies of trades and bookings."""

from __future__ import annotations

from enum import StrEnum


class Side(StrEnum):
    """Strict: a side the plugin does not know quarantines the row."""

    BUY = "buy"
    SELL = "sell"


class PositionEffect(StrEnum):
    OPEN = "open"
    CLOSE = "close"
    BOTH = "both"
    UNKNOWN = "unknown"


class TradeStatus(StrEnum):
    ACTIVE = "active"
    CANCELLED = "cancelled"


class TradeEvent(StrEnum):
    """Strict: why the execution happened.

    `transfer` is a position that moved in or out without being traded, where the broker books it among its executions
    with side, quantity and price: without it a later sale would close what was never opened. One that the broker tells
    in a list of its own, or without a price, is no trade: count it in `skipped`.
    """

    EXECUTION = "execution"
    EXPIRATION = "expiration"
    ASSIGNMENT = "assignment"
    EXERCISE = "exercise"
    CASH_IN_LIEU = "cash_in_lieu"
    CASH_SETTLEMENT = "cash_settlement"
    LIQUIDATION = "liquidation"
    TRANSFER = "transfer"


class AssetClass(StrEnum):
    """Tolerant: what has no class here is `other`, and the broker's own word is kept in the raw row."""

    STOCK = "stock"
    ETF = "etf"
    OPTION = "option"
    FUTURE = "future"
    FUTURE_OPTION = "future_option"
    SPREAD = "spread"
    FOREX = "forex"
    BOND = "bond"
    FUND = "fund"
    CFD = "cfd"
    WARRANT = "warrant"
    CRYPTO = "crypto"
    METAL = "metal"
    OTHER = "other"


class Right(StrEnum):
    CALL = "call"
    PUT = "put"


class PriceUnit(StrEnum):
    MONEY = "money"
    PERCENT_OF_PAR = "percent_of_par"


class TimePrecision(StrEnum):
    """How much of `executed_at` the broker told; with `day` it is the start of the day and is not shown as a time."""

    SECOND = "second"
    DAY = "day"


class FeeKind(StrEnum):
    COMMISSION = "commission"
    EXCHANGE = "exchange"
    CLEARING = "clearing"
    REGULATORY = "regulatory"
    BROKERAGE = "brokerage"
    PLATFORM = "platform"
    ROUTING = "routing"
    TAX = "tax"
    OTHER = "other"


class FeesState(StrEnum):
    """How far the fees of an execution are known; what is pending takes back none that was known before,
    as long as it tells no other."""

    PENDING = "pending"
    FINAL = "final"
    ESTIMATED = "estimated"


class Granularity(StrEnum):
    """What one record stands for; fills are never invented from anything coarser."""

    FILL = "fill"
    ORDER = "order"
    ROUND_TRIP = "round_trip"


class IdQuality(StrEnum):
    """Whether the broker gave the id, or it was made from the row's content."""

    BROKER = "broker"
    SYNTHETIC = "synthetic"


class BookingEffect(StrEnum):
    """What a row does to its execution.

    A `replace` is the whole trade anew. An `amend` tells more of it: what it leaves unsaid stays as it was told.
    """

    NEW = "new"
    REPLACE = "replace"
    CANCEL = "cancel"
    AMEND = "amend"


class FeesMode(StrEnum):
    """Whether a booking states the whole cost of its trade, or a part that adds to the other bookings' parts."""

    TOTAL = "total"
    PART = "part"


class Finality(StrEnum):
    """`final` means first booking is finished, not that no correction will come."""

    FINAL = "final"
    PROVISIONAL = "provisional"
