"""Flex rows read a second time, in the plainest way: the whole document as a tree, one row after the other.

Written from IBKR's words alone; nothing of the plugin is used, so that the two can be held against each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
NOTHING = ("", "-", "--", "N/A")
CONFIRMED = {
    "execID": "ibExecID",
    "orderID": "ibOrderID",
    "price": "tradePrice",
    "commission": "ibCommission",
    "commissionCurrency": "ibCommissionCurrency",
    "tax": "taxes",
    "code": "notes",
}
CLASSES = {
    "STK": "stock", "OPT": "option", "FSOPT": "option", "FUT": "future", "FOP": "future_option",
    "FSFOP": "future_option", "CASH": "forex", "FXCFD": "forex", "BOND": "bond", "BILL": "bond", "CFD": "cfd",
    "FUND": "fund", "WAR": "warrant", "IOPT": "warrant", "CRYPTO": "crypto", "CMDTY": "metal",
}  # fmt: skip
CASH_OF_THE_TRADE = ("STK", "OPT", "FOP", "WAR", "IOPT", "BOND", "BILL", "FUND")
HAVE_AN_UNDERLYING = ("option", "future", "future_option", "cfd", "warrant", "other")
EVENTS = {
    "Ep": "expiration", "Ex": "exercise", "AEx": "exercise", "MEx": "exercise", "A": "assignment",
    "LF": "liquidation", "L": "liquidation",
}  # fmt: skip
EFFECTS = {"O": "open", "C": "close", "C;O": "both", "O;C": "both"}
DATES = ("%Y%m%d", "%Y-%m-%d", "%d-%b-%y")
TIMES = ("%H%M%S", "%H:%M:%S")
MOMENTS = [f"{day}{between}{time}" for day in DATES for between in (";", ",", " ", "", ", ") for time in TIMES]
LENGTHS = {form: len(datetime(2024, 5, 1).strftime(form)) for form in (*DATES, *MOMENTS)}


def rows_of(body: bytes) -> Iterator[tuple[ElementTree.Element, str]]:
    """Each execution of the document with its account."""
    for statement in ElementTree.fromstring(body).iter("FlexStatement"):
        for section in statement:
            if section.tag not in ("Trades", "TradeConfirms"):
                continue
            for row in section:
                if row.tag in ("Trade", "TradeConfirm") and row.get("levelOfDetail", "") in ("", "EXECUTION"):
                    yield row, row.get("accountId") or statement.get("accountId", "")


def read(row: ElementTree.Element, account: str) -> dict[str, Any]:
    """What the row says. Raises `ValueError` for one that nobody can understand."""
    told = {CONFIRMED.get(name, name) if row.tag == "TradeConfirm" else name: value for name, value in row.items()}
    kind = told.get("transactionType") or "ExchTrade"
    cancels = kind in ("TradeCancel", "FracShareCancel") or told.get("buySell", "").endswith("(Ca.)")
    facts: dict[str, Any] = {"account": account, "costs": _costs(told), "effect": _effect(kind, cancels=cancels)}
    # a cancel is held to what it shares with its trade, too
    facts_of_trade = _instrument(told) | _when(told)
    quantity, price = number(told.get("quantity")), number(told.get("tradePrice"))
    if told.get("transactionID"):
        facts["booking"] = f"tx:{told['transactionID']}"
    elif told.get("ibExecID") and not cancels:
        facts["booking"] = f"ex:{told['ibExecID']}"
    return facts if cancels else facts | facts_of_trade | _trade(told, kind, row.tag, quantity, price)


def _effect(kind: str, *, cancels: bool) -> str:
    if cancels:
        return "cancel"
    return "replace" if kind == "TradeCorrect" else "new"


def _trade(
    told: Mapping[str, str], kind: str, element: str, quantity: Decimal | None, price: Decimal | None
) -> dict[str, Any]:
    if not quantity or price is None:
        raise ValueError("no quantity or no price")
    side = "buy" if quantity > 0 else "sell"
    if said(told, "buySell") and told["buySell"].lower() != side:
        raise ValueError("the side is another one")
    category = told.get("assetCategory", "")
    bond = category in ("BOND", "BILL")
    codes = told.get("notes", "").replace(",", ";").split(";")
    if "transactionType" not in told and "Ca" in codes:
        raise ValueError("a trade or its cancel, nobody knows")
    order = said(told, "ibOrderID")
    accrued = number(told.get("accruedInt"))
    return {
        "side": side,
        "quantity": abs(quantity),
        "price": price,
        "unit": "percent_of_par" if bond else "money",
        "order": None if order in ("0", told.get("transactionID")) else order,
        "position": _position(told, codes),
        "net_cash": number(told.get("netCash")) if category in CASH_OF_THE_TRADE else None,
        "accrued": accrued if bond or accrued else None,
        "event": _event(kind, codes),
        "fees_state": _fees_state(told, element),
    }


def _instrument(told: Mapping[str, str]) -> dict[str, Any]:
    asset = CLASSES.get(told.get("assetCategory", ""), "other")
    strike = number(told.get("strike"))
    symbol = said(told, "symbol") or said(told, "description") or said(told, "conid")
    if symbol is None:
        raise ValueError("no instrument")
    return {
        "symbol": symbol,
        "conid": said(told, "conid"),
        "class": "etf" if told.get("assetCategory") == "STK" and told.get("subCategory") == "ETF" else asset,
        "currency": said(told, "currency"),
        "multiplier": number(told.get("multiplier")) or None,
        "exchange": said(told, "listingExchange") or said(told, "exchange"),
        "isin": _security(told, "isin"),
        "cusip": _security(told, "cusip"),
        "figi": _security(told, "figi"),
        "underlying": said(told, "underlyingSymbol") if asset in HAVE_AN_UNDERLYING else None,
        "expiry": _day(said(told, "expiry")),
        "strike": strike if strike or "option" in asset else None,
        "right": {"C": "call", "P": "put"}.get(told.get("putCall", "")),
    }


def _when(told: Mapping[str, str]) -> dict[str, Any]:
    at, has_time = moment(told)
    day = _day(said(told, "tradeDate"))
    return {
        "at": at,
        "precision": "second" if has_time else "day",
        "trade_date": day or (None if has_time else at.astimezone(NEW_YORK).date()),
    }


def number(text: str | None) -> Decimal | None:
    """A number with or without commas between its thousands."""
    if text is None or text.strip() in NOTHING:
        return None
    groups = text.strip().lstrip("+-").partition(".")[0].split(",")
    if len(groups) > 1 and (not 1 <= len(groups[0]) <= 3 or any(len(group) != 3 for group in groups[1:])):
        raise ValueError("the commas stand nowhere near the thousands")
    if not all(character in "+-.,0123456789" for character in text.strip()):
        raise ValueError("no number")
    try:
        return Decimal(text.strip().replace(",", ""))
    except ArithmeticError:
        raise ValueError("no number") from None


def said(told: Mapping[str, str], name: str) -> str | None:
    text = told.get(name)
    return None if text is None or text in NOTHING else text


def moment(told: Mapping[str, str]) -> tuple[datetime, bool]:
    """When it was executed, and whether a time of day is told."""
    text = said(told, "dateTime") or said(told, "tradeDate") or ""
    clock = said(told, "tradeTime")
    for candidate, has_time in ((text, True), (f"{text};{clock}", True), (text, False)):
        found = _parsed(candidate, with_time=has_time)
        if found is not None:
            day = _day(said(told, "tradeDate")) if not has_time else None
            if day is not None:
                found = datetime.combine(day, datetime.min.time(), NEW_YORK)
            return found.astimezone(UTC), has_time
    raise ValueError("no time")


def _parsed(text: str, *, with_time: bool) -> datetime | None:
    zone: Any = NEW_YORK
    for name, hours in ((" EDT", -4), (" EST", -5)):
        if text.endswith(name):
            text, zone = text.removesuffix(name), timezone(timedelta(hours=hours))
    for form in MOMENTS if with_time else DATES:
        found = _by(form, text)
        if found is not None:
            return found.replace(tzinfo=zone)
    return None


@lru_cache(maxsize=1 << 12)
def _by(form: str, text: str) -> datetime | None:
    # most forms do not fit, which their lengths tell sooner than trying them
    if len(text) != LENGTHS[form]:
        return None
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007  its caller knows the zone
    except ValueError:
        return None


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    found = _parsed(text, with_time=False) or _parsed(text, with_time=True)
    if found is None:
        raise ValueError("no date")
    return found.date()


def _costs(told: Mapping[str, str]) -> Counter[Any]:
    costs: Counter[Any] = Counter()
    commission = number(told.get("ibCommission"))
    if commission:
        has_column = "ibCommissionCurrency" in told
        costs["commission", said(told, "ibCommissionCurrency" if has_column else "currency")] -= commission
    for name in ("taxes", "salesTax", "otherTax", "tradeCharge"):
        if charge := number(told.get(name)):
            costs["other" if name == "tradeCharge" else "tax", said(told, "currency")] -= charge
    if any(currency is None for _, currency in costs):
        raise ValueError("a cost has no currency")
    return Counter({key: amount for key, amount in costs.items() if amount})


def _security(told: Mapping[str, str], name: str) -> str | None:
    by_type = said(told, "securityID") if told.get("securityIDType") == name.upper() else None
    return said(told, name) or by_type


def _position(told: Mapping[str, str], codes: list[str]) -> str:
    text = said(told, "openCloseIndicator")
    if text is None:
        text = ";".join(code for code in ("C", "O") if code in [one.strip() for one in codes])
    return EFFECTS.get(text, "unknown")


def _event(kind: str, codes: list[str]) -> str:
    if kind == "FracShare":
        return "cash_in_lieu"
    stripped = [code.strip() for code in codes]
    found = next((event for code, event in EVENTS.items() if code in stripped), None)
    return found or ("transfer" if kind == "BookTrade" and "T" in stripped else "execution")


def _fees_state(told: Mapping[str, str], element: str) -> str:
    if said(told, "ibCommission") is None:
        return "pending"
    has_column = "ibCommissionCurrency" in told
    return "final" if has_column and element == "Trade" else "estimated"


def as_told(booking: Any) -> dict[str, Any]:
    """A booking of the plugin's in the same words."""
    costs: Counter[Any] = Counter()
    for fee in booking.row_fees:
        costs[fee.kind.value, fee.currency] += fee.amount
    facts: dict[str, Any] = {
        "account": booking.account_id,
        "costs": Counter({key: amount for key, amount in costs.items() if amount}),
        "effect": booking.effect.value,
    }
    if booking.booking_id.startswith(("tx:", "ex:")):
        facts["booking"] = booking.booking_id
    trade = booking.trade
    if trade is None:
        return facts
    instrument = trade.instrument
    return facts | {
        "side": trade.side.value,
        "quantity": trade.quantity,
        "price": trade.price,
        "unit": trade.price_unit.value,
        "at": trade.executed_at,
        "precision": trade.time_precision.value,
        "trade_date": trade.trade_date,
        "order": trade.order_id,
        "symbol": instrument.symbol,
        "conid": instrument.broker_id,
        "class": instrument.asset_class.value,
        "currency": instrument.currency,
        "multiplier": instrument.multiplier,
        "exchange": instrument.exchange,
        "isin": instrument.isin,
        "cusip": instrument.cusip,
        "figi": instrument.figi,
        "underlying": instrument.underlying,
        "expiry": instrument.expiry,
        "strike": instrument.strike,
        "right": instrument.right.value if instrument.right else None,
        "position": trade.position_effect.value,
        "net_cash": trade.net_cash,
        "accrued": trade.accrued_interest,
        "event": trade.event.value,
        "fees_state": trade.fees_state.value,
    }
