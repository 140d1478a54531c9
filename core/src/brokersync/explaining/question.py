"""What somebody asks: one trade's key, or a symbol on a day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import attrs

from brokersync.errors import BrokerConfigError, Fault
from brokersync.manifest import Manifest
from brokersync.matching.symbols import spellings_of_instrument, spellings_of_row
from brokersync.types import BrokerTrade

AROUND = timedelta(days=3)
_REACH = 3 * AROUND


@attrs.frozen(kw_only=True)
class Question:
    """Give `trade_id`, or `symbol` and `day`. `account` is the broker's id or name of it; `provider` and `environment`
    are needed only where several accounts have that name."""

    account: str
    symbol: str | None = None
    day: date | None = None
    trade_id: str | None = None
    provider: str | None = None
    environment: str | None = None

    def __attrs_post_init__(self) -> None:
        if (self.trade_id or "").strip() and (self.symbol is not None or self.day is not None):
            raise BrokerConfigError(
                "The question names a trade, and a symbol or a day besides.",
                remedy="Give the trade's id alone, or symbol and day.",
                fault=Fault.USER,
            )
        if not (self.trade_id or "").strip() and (not (self.symbol or "").strip() or self.day is None):
            raise BrokerConfigError(
                "The question names no trade.",
                remedy="Name its id, or its symbol and the day on which it was executed.",
                fault=Fault.USER,
            )
        if self.day is not None and (not isinstance(self.day, date) or isinstance(self.day, datetime)):
            raise BrokerConfigError(
                f"The day is {self.day!r}.", remedy="Give a datetime.date, such as date(2026, 1, 31).", fault=Fault.USER
            )
        if self.day is not None and not date.min + _REACH < self.day < date.max - _REACH:
            raise BrokerConfigError(
                f"{self.day} is out of reach.", remedy="Name the day of the execution.", fault=Fault.USER
            )


def days_of(trade: BrokerTrade, manifest: Manifest) -> set[date]:
    """The days that people may call the day of this trade: in UTC, in its sources' zones, and as the exchange does."""
    zones = {ZoneInfo(source.calendar.zone) for source in manifest.sources}
    told = set() if trade.trade_date is None else {trade.trade_date}
    return told | {trade.executed_at.astimezone(zone).date() for zone in (UTC, *zones)}


def means(symbol: str, trade: BrokerTrade) -> bool:
    """Whether a trade is of that symbol, however it is spelled."""
    asked = spellings_of_row(symbol, ())
    return bool(set(asked.exact) & set(spellings_of_instrument(trade.instrument).exact))


def may_mean(symbol: str, trade: BrokerTrade) -> bool:
    """Whether somebody who writes that symbol may have this trade in mind."""
    asked, known = spellings_of_row(symbol, ()), spellings_of_instrument(trade.instrument)
    if {*asked.exact, *asked.loose} & {*known.exact, *known.loose}:
        return True
    words = (symbol.upper().split()[0], trade.instrument.symbol.upper().split()[0])
    shorter, longer = sorted(words, key=len)
    return longer.startswith(shorter) or _differ_by_one(*words)


def _differ_by_one(one: str, other: str) -> bool:
    if len(one) == len(other) > 2:
        different = [place for place, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]]
        swapped = len(different) == 2 and sorted(one) == sorted(other) and different[1] == different[0] + 1
        return len(different) == 1 or swapped
    shorter, longer = sorted((one, other), key=len)
    left_out = [longer[:place] + longer[place + 1 :] for place in range(len(longer))]
    return len(longer) > 3 and shorter in left_out


def span_around(days: Iterable[date]) -> tuple[datetime, datetime]:
    """From when to when trades are looked at for some days."""
    ordered = sorted(days)
    midnight = datetime.min.time()
    return (
        datetime.combine(ordered[0], midnight, UTC) - AROUND,
        datetime.combine(ordered[-1], midnight, UTC) + AROUND + timedelta(days=1),
    )
