"""What a row says about the contract it trades."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal

from brokersync.plugin import AssetClass, Instrument, Right
from brokersync_ibkr.dates import FlexDates
from brokersync_ibkr.numbers import NULLS, number
from brokersync_ibkr.vocabulary import ASSET_CLASSES, DERIVATIVES, OPTION_CATEGORIES

_RIGHTS = {"C": Right.CALL, "P": Right.PUT}
_TELLING = (
    "conid",
    "symbol",
    "description",
    "assetCategory",
    "subCategory",
    "currency",
    "multiplier",
    "strike",
    "expiry",
    "putCall",
    "isin",
    "cusip",
    "figi",
    "securityID",
    "securityIDType",
    "underlyingSymbol",
    "listingExchange",
    "exchange",
)
_MOST_KEPT = 10_000


class RowError(ValueError):
    """The row is not understood and must be quarantined; the text says why, without any of its amounts.

    `row_id` is what a whole reading of it is known by, of a row that has no id.
    """

    row_id: str | None = None


class InstrumentReader:
    """Reads instruments; the same words give the same `Instrument` object again."""

    def __init__(self, dates: FlexDates, note_unknown: Callable[[str], None]) -> None:
        self._dates = dates
        self._note_unknown = note_unknown
        self._kept: dict[tuple[str | None, ...], Instrument] = {}

    def read(self, fields: Mapping[str, str]) -> Instrument:
        """The instrument of a row. Raises `RowError` when it can not be named, or a number or date is unreadable."""
        key = tuple(map(fields.get, _TELLING))
        instrument = self._kept.get(key)
        if instrument is None:
            instrument = self._build(fields)
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = instrument
        return instrument

    def _build(self, fields: Mapping[str, str]) -> Instrument:
        category = fields.get("assetCategory", "")
        asset_class = self._asset_class(category, fields.get("subCategory"))
        symbol = text_of(fields, "symbol") or text_of(fields, "description") or text_of(fields, "conid")
        if symbol is None:
            raise RowError("the row names no instrument")
        currency = text_of(fields, "currency")
        # a multiplier of zero stands where there is none
        return Instrument(
            symbol=symbol,
            broker_id=text_of(fields, "conid"),
            asset_class=asset_class,
            currency=currency.upper() if currency else None,
            multiplier=number_of(fields, "multiplier") or None,
            exchange=text_of(fields, "listingExchange") or text_of(fields, "exchange"),
            isin=_security_id(fields, "isin"),
            figi=_security_id(fields, "figi"),
            cusip=_security_id(fields, "cusip"),
            underlying=text_of(fields, "underlyingSymbol") if asset_class in DERIVATIVES else None,
            expiry=self._expiry(fields),
            strike=_strike(fields, category),
            right=self._right(fields),
        )

    def _asset_class(self, category: str, sub_category: str | None) -> AssetClass:
        if category == "STK" and sub_category == "ETF":
            return AssetClass.ETF
        asset_class = ASSET_CLASSES.get(category)
        if asset_class is None:
            self._note_unknown(f"assetCategory={category}")
        return asset_class or AssetClass.OTHER

    def _expiry(self, fields: Mapping[str, str]) -> date | None:
        text = text_of(fields, "expiry")
        if text is None:
            return None
        try:
            return self._dates.day(text)
        except ValueError:
            raise RowError("the expiry is no date") from None

    def _right(self, fields: Mapping[str, str]) -> Right | None:
        text = text_of(fields, "putCall")
        if text is not None and text not in _RIGHTS:
            self._note_unknown(f"putCall={text}")
        return _RIGHTS.get(text or "")


def text_of(fields: Mapping[str, str], name: str) -> str | None:
    """A row's text, or `None` where Flex writes none."""
    text = fields.get(name)
    return None if text is None or text in NULLS else text


def number_of(fields: Mapping[str, str], name: str) -> Decimal | None:
    """A row's number, or `None` where Flex writes none. Raises `RowError` for text that is no number."""
    try:
        return number(fields.get(name))
    except ValueError:
        raise RowError(f"{name} is no number") from None


def _security_id(fields: Mapping[str, str], name: str) -> str | None:
    stated = text_of(fields, name)
    if stated is None and fields.get("securityIDType") == name.upper():
        return text_of(fields, "securityID")
    return stated


def _strike(fields: Mapping[str, str], category: str) -> Decimal | None:
    strike = number_of(fields, "strike")
    return strike if strike or category in OPTION_CATEGORIES else None
