"""What the user of a Flex query sets in Client Portal, and what that does to a statement's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from html import escape
from typing import Any, Final

import attrs
from attrs.validators import deep_iterable, ge, in_, instance_of

from brokersync_ibkr.sandbox_calendar import NEW_YORK

DETAILS: Final = "UnbundledCommissionDetails"
SECTIONS: Final = ("AccountInformation", "Trades", "OptionEAE", "ConversionRates")
MASTERS: Final = ("", "separate", "consolidated")
LEVELS: Final = ("EXECUTION", "ORDER", "CLOSED_LOT", "SYMBOL_SUMMARY", "ASSET_SUMMARY")
DATE_FORMATS: Final = {
    "yyyyMMdd": "%Y%m%d",
    "yyyy-MM-dd": "%Y-%m-%d",
    "MM/dd/yyyy": "%m/%d/%Y",
    "MM/dd/yy": "%m/%d/%y",
    "dd/MM/yyyy": "%d/%m/%Y",
    "dd/MM/yy": "%d/%m/%y",
    "dd-MMM-yy": "%d-{month}-%y",
}
TIME_FORMATS: Final = {"HHmmss": "%H%M%S", "HH:mm:ss": "%H:%M:%S"}
SEPARATORS: Final = (";", ",", " ", "")

# not the locale's names: IBKR writes English
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATES = frozenset(
    (
        *("fromDate", "toDate", "whenGenerated", "reportDate", "dateTime", "tradeDate", "settleDateTarget"),
        *("settleDate", "orderTime", "expiry", "origTradeDate", "date", "dateOpened", "dateFunded", "dateClosed"),
    )
)
_DAY_LENGTH = 8
_CSV_TITLES = {
    "accountId": "ClientAccountID",
    "currency": "CurrencyPrimary",
    "fxRateToBase": "FXRateToBase",
    "assetCategory": "AssetClass",
    "buySell": "Buy/Sell",
    "dateTime": "Date/Time",
    "notes": "Notes/Codes",
    "openCloseIndicator": "Open/CloseIndicator",
    "putCall": "Put/Call",
    "ibCommission": "IBCommission",
    "ibCommissionCurrency": "IBCommissionCurrency",
    "ibExecID": "IBExecID",
    "ibOrderID": "IBOrderID",
}


def _known(names: Sequence[str]) -> Any:
    return deep_iterable(in_(tuple(names)))


@attrs.frozen(kw_only=True)
class QuerySettings:
    """A query as it was set up; `sections` and `levels` are what is ticked, `without` the columns that are not.

    `zone` writes EDT or EST behind times. `alias` shows the accounts' aliases in place of their ids, and `alias_beside`
    in a column of their own. With a `master` the query also holds the login's master account, which has a statement
    beside those of its sub-accounts, or one that puts them all together. A statement takes `seconds_a_day` to generate
    for each day of its span. The accounts `left_out` are not selected for it.
    """

    format: str = attrs.field(default="XML", validator=in_(("XML", "CSV")))
    date_format: str = attrs.field(default="yyyyMMdd", validator=in_(tuple(DATE_FORMATS)))
    time_format: str = attrs.field(default="HHmmss", validator=in_(tuple(TIME_FORMATS)))
    separator: str = attrs.field(default=";", validator=in_(SEPARATORS))
    zone: bool = attrs.field(default=False, validator=instance_of(bool))
    alias: bool = attrs.field(default=False, validator=instance_of(bool))
    alias_beside: bool = attrs.field(default=False, validator=instance_of(bool))
    master: str = attrs.field(default="", validator=in_(MASTERS))
    breakout_by_day: bool = attrs.field(default=False, validator=instance_of(bool))
    sections: tuple[str, ...] = attrs.field(default=SECTIONS, converter=tuple, validator=_known((*SECTIONS, DETAILS)))
    levels: tuple[str, ...] = attrs.field(
        default=("EXECUTION", "ORDER", "SYMBOL_SUMMARY"), converter=tuple, validator=_known(LEVELS)
    )
    without: frozenset[str] = attrs.field(
        default=frozenset(), converter=frozenset, validator=deep_iterable(instance_of(str))
    )
    left_out: frozenset[str] = attrs.field(
        default=frozenset(), converter=frozenset, validator=deep_iterable(instance_of(str))
    )
    seconds_a_day: float = attrs.field(default=0.0, validator=[instance_of((int, float)), ge(0)])

    def changed(self, wish: object) -> QuerySettings:
        """The settings with what `wish` names of them set anew. Raises `ValueError` for what can not be set so."""
        names = {field.name for field in attrs.fields(QuerySettings)}
        if not isinstance(wish, Mapping) or not set(wish) <= names:
            raise ValueError(f"a query has the settings {', '.join(sorted(names))}")
        try:
            return attrs.evolve(self, **wish)
        except (TypeError, ValueError) as error:
            raise ValueError(str(error.args[0])) from None

    def generated_in(self, think: timedelta, days: int) -> timedelta:
        """How long a statement over so many days is on order."""
        return think + timedelta(seconds=self.seconds_a_day * days)

    def element(self, name: str, names: Sequence[str], values: Mapping[str, str]) -> str:
        """An element with those of these attributes that are ticked."""
        if self.alias_beside:
            values = {**values, "acctAlias": alias_of(values["accountId"])}
        told = {key: values.get(key, "") for key in names if key not in self.without}
        return f"<{name}{self.attributes(told)} />\n"

    def attributes(self, values: Mapping[str, str]) -> str:
        return "".join(f' {name}="{escape(self.text(name, value))}"' for name, value in values.items())

    def csv(self, names: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
        """A section as text, under the titles that IBKR gives the columns there."""
        told = [name for name in names if name not in self.without]
        lines = [[_CSV_TITLES.get(name, name[0].upper() + name[1:]) for name in told]]
        lines += [[self.text(name, row.get(name, "")) for name in told] for row in rows]
        return "".join(",".join(f'"{value}"' for value in line) + "\n" for line in lines)

    def text(self, name: str, value: str) -> str:
        """A value as this query writes it; dates and times come as yyyyMMdd;HHmmss."""
        if name in _DATES and value[:1].isdigit():
            return _moment(value, self.date_format, self.time_format, self.separator, self.zone)
        if name == "accountId" and self.alias:
            return alias_of(value)
        return value


def alias_of(account: str) -> str:
    """The name that the user of an account gave it."""
    return f"Pot {account[-3:]}"


@lru_cache(maxsize=1 << 14)
def _moment(text: str, day: str, clock: str, separator: str, zone: bool) -> str:
    moment = datetime.strptime(text, "%Y%m%d" if len(text) == _DAY_LENGTH else "%Y%m%d;%H%M%S").replace(tzinfo=NEW_YORK)
    told = moment.strftime(DATE_FORMATS[day]).replace("{month}", _MONTHS[moment.month - 1])
    if len(text) == _DAY_LENGTH:
        return told
    return told + separator + moment.strftime(TIME_FORMATS[clock] + (" %Z" if zone else ""))
