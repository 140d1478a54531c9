"""The answer to "why is my trade missing?" as values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import attrs

from brokersync.dispositions import Disposition, Rule
from brokersync.records import AccountKey
from brokersync.types import BookingEffect, BrokerTrade, TimeWindow

_NONE: Mapping[str, int] = MappingProxyType({})


class SourceState(StrEnum):
    """What a source says of a day.

    `waits` has an open request, `failed` could not be read the last time, `later` can be asked for only from a moment
    to come on, `not_asked` is not read by any connection, and `no_file` is a source of files of which none was imported
    for that day.
    """

    FINAL = "final"
    PROVISIONAL = "provisional"
    PARTLY = "partly"
    LOST = "lost"
    UNAVAILABLE = "unavailable"
    WAITS = "waits"
    FAILED = "failed"
    UNREAD = "unread"
    LATER = "later"
    NOT_ASKED = "not_asked"
    NO_FILE = "no_file"
    FUTURE = "future"


@attrs.frozen(kw_only=True)
class SourceAnswer:
    """What one source of the account says of the day, which is `day` in the source's zone.

    `read_at` and `asked` are when and with which window the day was read the last time, as far as the log reaches;
    `skipped` are the rows which that sync passed over, by reason, whatever their day. With `by_booking` its days are
    those of booking; `unread_after` is the first later one on which a trade of the day may stand and that is not read.
    `unread_beside` are the hours around a day that was read in which a trade may lie that is of the day by another
    calendar, and that are not read completely, each with the reason.
    """

    source: str
    state: SourceState
    words: str
    day: TimeWindow
    zone: str
    by_booking: bool = False
    unread_after: date | None = None
    unread_beside: tuple[str, ...] = ()
    read_at: datetime | None = None
    asked: TimeWindow | None = None
    skipped: Mapping[str, int] = _NONE


@attrs.frozen(kw_only=True)
class ExplainedBooking:
    """One row that was read: where and when, and the rule that decided what it is to its trade.

    `by` is the other row that the rule speaks of, as source and id. `version` counts the contents that the source gave
    for it, and `as_of` is when the broker made the one that stands, which is the last, where it says so. `raw` is the
    broker's own row, while that is kept.
    """

    source: str
    booking_id: str
    effect: BookingEffect
    rule: Rule
    disposition: Disposition
    words: str
    trade_id: str | None = None
    by: str | None = None
    version: int = 1
    read_at: datetime | None = None
    asked: TimeWindow | None = None
    file: str | None = None
    as_of: datetime | None = None
    content: BrokerTrade | None = None
    raw: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class Explanation:
    """What is known of a trade, or of an account's symbol and day; `verdict` is the answer in a sentence.

    `trades` are those that the rows in `bookings` came to, cancelled ones too. `quarantined` are rows that were not
    understood and may be it, `similar` trades of that day under another symbol, `nearby` the symbol's trades of the
    days around.
    """

    verdict: str
    account: AccountKey
    symbol: str | None
    day: date | None
    trade_id: str | None
    trades: tuple[BrokerTrade, ...] = ()
    bookings: tuple[ExplainedBooking, ...] = ()
    sources: tuple[SourceAnswer, ...] = ()
    quarantined: tuple[Mapping[str, Any], ...] = ()
    similar: tuple[BrokerTrade, ...] = ()
    nearby: tuple[BrokerTrade, ...] = ()
