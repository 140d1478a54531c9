"""One row of a trades section to one booking: pure, and the same for Activity and Trade Confirmation rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Final

import attrs

from brokersync.plugin import (
    BrokerTrade,
    Fee,
    FeesMode,
    IdQuality,
    Instrument,
    PositionEffect,
    PriceUnit,
    Side,
    TimePrecision,
    TradeBooking,
    TradeEvent,
)
from brokersync_ibkr.costs import RowPlace, fees_of, fees_state_of
from brokersync_ibkr.dates import FlexDates, Moment, new_york_midnight
from brokersync_ibkr.identity import Content, RowIds, ids_of, refuse_unsure
from brokersync_ibkr.instruments import InstrumentReader, RowError, number_of, text_of
from brokersync_ibkr.linking import Links, links_of
from brokersync_ibkr.vocabulary import (
    AUTO_FX_PREFIXES,
    CASH_SETTLED_CATEGORIES,
    EVENT_CODES,
    KNOWN_CODES,
    ROW_KINDS,
    TAG_CODES,
    RowKind,
)

PROVIDER: Final = "ibkr"

_NOTHING = Decimal(0)
_CANCELLED = "(Ca.)"
_CANCEL_CODE = "Ca"
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
_POSITION_EFFECTS = {
    "O": PositionEffect.OPEN,
    "C": PositionEffect.CLOSE,
    "C;O": PositionEffect.BOTH,
    "O;C": PositionEffect.BOTH,
}


class Normaliser:
    """Turns the rows of one document into bookings; `note_unknown` is told each name or value that is new to us."""

    def __init__(self, dates: FlexDates, note_unknown: Callable[[str], None]) -> None:
        self._dates = dates
        self._note_unknown = note_unknown
        self._instruments = InstrumentReader(dates, note_unknown)

    def booking(self, fields: Mapping[str, str], raw: Mapping[str, str], place: RowPlace) -> TradeBooking:
        """The booking of a fill row: `fields` are its attributes as an Activity statement names them, `raw` as it came.

        Raises `RowError` for a row that must be quarantined.
        """
        kind = _kind(fields)
        moment = self._moment(fields)
        instrument = self._instruments.read(fields)
        quantity, price = _amount(fields, "quantity", kind), _amount(fields, "tradePrice", kind)
        content = Content(place.account_id, instrument.broker_id, instrument.symbol, moment.at, quantity, price)
        ids = ids_of(fields, kind, content)
        if kind is RowKind.CANCEL and not ids.refs:
            raise RowError("it does not say which trade it takes back: tick Orig Trade ID in the query")
        if ids.quality is IdQuality.SYNTHETIC and (late := self._booked_late(fields, moment)) is not None:
            ids = ids.booked_on(late)
        if content.contract is None and ids.is_of_content:
            refuse_unsure(ids)
        fees = fees_of(fields, instrument.currency, place, self._note_unknown)
        trade = None if kind.cancels else self._trade(fields, place, kind, moment, instrument, content, ids, fees)
        links = links_of(trade, fields) if trade else Links()
        if trade and links.others:
            trade = attrs.evolve(trade, related=links.others)
        return TradeBooking(
            booking_id=ids.booking_id,
            environment=place.environment,
            account_id=place.account_id,
            effect=kind.effect,
            aliases=ids.aliases,
            refs=ids.refs,
            loose_refs=(*ids.loose_refs, *links.names),
            order=ids.order,
            fees_mode=FeesMode.PART,
            trade=trade,
            fees=fees if trade is None else (),
            id_quality=ids.quality,
            raw=raw,
        )

    def _trade(
        self,
        fields: Mapping[str, str],
        place: RowPlace,
        kind: RowKind,
        moment: Moment,
        instrument: Instrument,
        content: Content,
        ids: RowIds,
        fees: tuple[Fee, ...],
    ) -> BrokerTrade:
        codes = self._codes(fields)
        category = fields.get("assetCategory")
        bond = category in ("BOND", "BILL")
        accrued = number_of(fields, "accruedInt")
        return BrokerTrade(
            provider=PROVIDER,
            environment=place.environment,
            account_id=place.account_id,
            trade_id=ids.trade_id,
            order_id=_order_id(fields),
            instrument=instrument,
            side=_side(fields, content.quantity),
            position_effect=self._position_effect(fields, codes),
            quantity=content.quantity.copy_abs(),
            price=content.price,
            price_unit=PriceUnit.PERCENT_OF_PAR if bond else PriceUnit.MONEY,
            executed_at=moment.at,
            time_precision=TimePrecision.SECOND if moment.has_time else TimePrecision.DAY,
            trade_date=self._trade_date(fields, moment),
            fees=fees,
            fees_state=fees_state_of(fields, place),
            net_cash=number_of(fields, "netCash") if category in CASH_SETTLED_CATEGORIES else None,
            accrued_interest=accrued if bond or accrued else None,
            event=_event(kind, codes),
            tags=_tags(fields, kind, codes),
            id_quality=ids.quality,
        )

    def _moment(self, fields: Mapping[str, str]) -> Moment:
        when, day = text_of(fields, "dateTime"), text_of(fields, "tradeDate")
        try:
            moment = self._dates.moment(when or day or "")
            if moment.has_time:
                return moment
            clock = text_of(fields, "tradeTime")
            if clock:
                return self._dates.joined(when or day or "", clock)
            # only a day is told: of two, the exchange's trading day
            trade_day = self._dates.day(day) if day else moment.day
            return Moment(new_york_midnight(trade_day), trade_day, has_time=False)
        except ValueError:
            raise RowError("the time of the execution is not readable") from None

    def _trade_date(self, fields: Mapping[str, str], moment: Moment) -> date | None:
        text = text_of(fields, "tradeDate")
        if text is None:
            return None if moment.has_time else moment.day
        try:
            return self._dates.day(text)
        except ValueError:
            raise RowError("tradeDate is no date") from None

    def _booked_late(self, fields: Mapping[str, str], moment: Moment) -> date | None:
        """The day of booking of a row that was not booked on the day of its trade."""
        text = text_of(fields, "reportDate")
        try:
            booked = self._dates.day(text) if text else None
        except ValueError:
            raise RowError("reportDate is no date") from None
        return None if booked == (self._trade_date(fields, moment) or moment.day) else booked

    def _codes(self, fields: Mapping[str, str]) -> tuple[str, ...]:
        text = text_of(fields, "notes")
        if text is None:
            return ()
        codes = tuple([code.strip() for code in text.replace(",", ";").split(";")])
        for code in codes:
            if code and code not in KNOWN_CODES:
                self._note_unknown(f"code={code}")
        return codes

    def _position_effect(self, fields: Mapping[str, str], codes: tuple[str, ...]) -> PositionEffect:
        text = text_of(fields, "openCloseIndicator")
        if text is None:
            # a Trade Confirmation tells it among its codes
            text = ";".join([code for code in ("C", "O") if code in codes])
        effect = _POSITION_EFFECTS.get(text)
        if effect is None and text:
            self._note_unknown(f"openCloseIndicator={text}")
        return effect or PositionEffect.UNKNOWN


def _kind(fields: Mapping[str, str]) -> RowKind:
    kind = ROW_KINDS.get(fields.get("transactionType"))
    if kind is None:
        raise RowError(f"the transactionType {fields['transactionType'][:40]!r} is unknown")
    if not kind.cancels and fields.get("buySell", "").endswith(_CANCELLED):
        return RowKind.FRACTION_CANCEL if kind is RowKind.FRACTION else RowKind.CANCEL
    if "transactionType" not in fields and _CANCEL_CODE in fields.get("notes", "").replace(",", ";").split(";"):
        raise RowError("it is marked cancelled, and no Transaction Type says whether it is the trade or its cancel")
    return kind


def _amount(fields: Mapping[str, str], name: str, kind: RowKind) -> Decimal:
    amount = number_of(fields, name)
    if amount is None and not kind.cancels:
        raise RowError(f"{name} is missing")
    return amount or _NOTHING


def _side(fields: Mapping[str, str], quantity: Decimal) -> Side:
    if not quantity:
        raise RowError("the quantity is zero")
    by_sign = Side.BUY if quantity > 0 else Side.SELL
    text = text_of(fields, "buySell")
    if text is None:
        return by_sign
    side = _SIDES.get(text)
    if side is None:
        raise RowError(f"the side {text[:40]!r} is unknown")
    if side is not by_sign:
        raise RowError("buySell and the sign of the quantity contradict each other")
    return side


def _event(kind: RowKind, codes: tuple[str, ...]) -> TradeEvent:
    if kind is RowKind.FRACTION:
        return TradeEvent.CASH_IN_LIEU
    for code, event in EVENT_CODES if codes else ():
        if code in codes and (event is not TradeEvent.TRANSFER or kind is RowKind.BOOK):
            return event
    return TradeEvent.EXECUTION


def _tags(fields: Mapping[str, str], kind: RowKind, codes: tuple[str, ...]) -> tuple[str, ...]:
    tags = [TAG_CODES[code] for code in codes if code in TAG_CODES]
    if fields.get("ibExecID", "").startswith(AUTO_FX_PREFIXES):
        tags.append("auto_fx")
    if kind is RowKind.BOOK:
        tags.append("book_entry")
    if fields.get("isAPIOrder") in ("Y", "Yes"):
        tags.append("api_order")
    return tuple(dict.fromkeys(tags)) if tags else ()


def _order_id(fields: Mapping[str, str]) -> str | None:
    order_id = text_of(fields, "ibOrderID")
    # a book entry has no order and repeats its own number there
    return None if order_id in ("0", fields.get("transactionID")) else order_id
