"""How the sandbox writes one row of a statement: every attribute under the name that the broker gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from brokersync_ibkr.sandbox_bookings import Booking
from brokersync_ibkr.sandbox_calendar import next_business_day
from brokersync_ibkr.sandbox_instruments import Contract, rate
from brokersync_ibkr.sandbox_ledger import Account, plain

_INSTRUMENT = (
    "assetCategory subCategory symbol description conid securityID securityIDType cusip isin figi sedol "
    "listingExchange underlyingConid underlyingSymbol underlyingSecurityID underlyingListingExchange issuer "
    "issuerCountryCode multiplier strike expiry putCall principalAdjustFactor"
)
_TAIL = "serialNumber deliveryType commodityType fineness weight"
TRADE_NAMES = tuple(
    f"accountId acctAlias model currency fxRateToBase {_INSTRUMENT} tradeID relatedTradeID reportDate dateTime "
    "tradeDate settleDateTarget transactionType exchange quantity tradePrice tradeMoney proceeds taxes ibCommission "
    "ibCommissionCurrency netCash closePrice openCloseIndicator notes cost fifoPnlRealized fxPnl mtmPnl "
    "capitalGainsPnl origTradePrice origTradeDate origTradeID origOrderID origTransactionID buySell clearingFirmID "
    "ibOrderID transactionID ibExecID relatedTransactionID rtn brokerageOrderID orderReference volatilityOrderLink "
    "exchOrderId extExecID orderTime openDateTime holdingPeriodDateTime whenRealized whenReopened levelOfDetail "
    f"changeInPrice changeInQuantity orderType traderID isAPIOrder accruedInt positionActionID {_TAIL}".split()
)
CONFIRM_NAMES = tuple(
    f"accountId acctAlias model currency {_INSTRUMENT} transactionType tradeID orderID execID brokerageOrderID "
    "orderReference volatilityOrderLink clearingFirmID origTradePrice origTradeDate origTradeID extExecID blockID "
    "orderTime dateTime reportDate settleDate tradeDate exchange buySell quantity price amount proceeds netCash "
    "netCashWithBillable commission brokerExecutionCommission brokerClearingCommission thirdPartyExecutionCommission "
    "thirdPartyClearingCommission thirdPartyRegulatoryCommission otherCommission commissionCurrency tax salesTax "
    "tradeCharge otherTax code orderType levelOfDetail traderID isAPIOrder allocatedTo accruedInt rfqID "
    f"positionActionID {_TAIL}".split()
)
EXERCISE_NAMES = tuple(
    f"accountId acctAlias model currency fxRateToBase {_INSTRUMENT} date transactionType quantity tradePrice markPrice "
    f"proceeds commisionsAndTax costBasis realizedPnl fxPnl mtmPnl tradeID relatedTradeID {_TAIL}".split()
)
ACCOUNT_NAMES = (
    *("accountId", "acctAlias", "model", "currency", "name", "accountType", "customerType", "dateOpened", "dateFunded"),
    *("dateClosed", "masterName", "ibEntity"),
)
_CONFIRMATION_NAMES = {
    "orderID": "ibOrderID",
    "execID": "ibExecID",
    "price": "tradePrice",
    "amount": "tradeMoney",
    "commission": "ibCommission",
    "brokerExecutionCommission": "ibCommission",
    "commissionCurrency": "ibCommissionCurrency",
    "netCashWithBillable": "netCash",
    "tax": "taxes",
    "settleDate": "settleDateTarget",
}
_CONFIRMATION_ZEROS = (
    *("brokerClearingCommission", "thirdPartyExecutionCommission", "thirdPartyClearingCommission"),
    *("thirdPartyRegulatoryCommission", "otherCommission", "salesTax", "tradeCharge", "otherTax", "blockID"),
)
_ONLY_ON_EXECUTIONS = (
    *("tradeID", "transactionID", "ibExecID", "transactionType", "extExecID", "exchange", "notes"),
    *("openCloseIndicator", "brokerageOrderID", "orderReference", "isAPIOrder"),
)
_EVENTS = {"Ep": "Expiration", "Ex": "Exercise", "A": "Assignment"}
_PRICE_DIGITS = Decimal("1E-9")


def day_text(day: date) -> str:
    return f"{day:%Y%m%d}"


def time_text(moment: datetime) -> str:
    return f"{moment:%Y%m%d;%H%M%S}"


def trade_values(row: Booking, account: Account) -> dict[str, str]:
    """A row of Trades."""
    contract, money = row.contract, row.money
    moment = time_text(row.executed)
    close = contract.closing_price(row.trade_date)
    return _instrument(contract) | {
        "accountId": account.number,
        "currency": contract.currency,
        "fxRateToBase": plain(rate(contract.currency, account.currency, row.report_date)),
        "tradeID": row.trade_id,
        "reportDate": day_text(row.report_date),
        "dateTime": moment,
        "tradeDate": day_text(row.trade_date),
        "settleDateTarget": day_text(next_business_day(row.trade_date, contract.settle_days)),
        "transactionType": row.kind,
        "exchange": row.venue,
        "quantity": plain(row.quantity),
        "tradePrice": plain(row.price),
        "tradeMoney": plain(money),
        "proceeds": plain(-money) if money else "-0",
        "taxes": plain(row.taxes),
        "ibCommission": plain(row.commission),
        "ibCommissionCurrency": row.commission_currency,
        "netCash": plain(row.net_cash),
        "closePrice": plain(close),
        "openCloseIndicator": row.open_close,
        "notes": row.notes,
        "cost": plain(money),
        "fifoPnlRealized": "0",
        "fxPnl": "0",
        "mtmPnl": plain(contract.money(row.quantity, close - row.price)),
        "capitalGainsPnl": "0",
        **_pointers(row),
        "buySell": row.side if row.voids is None else f"{row.side} (Ca.)",
        "ibOrderID": row.order_id,
        "transactionID": row.transaction_id,
        "ibExecID": row.execution_id,
        **_audit_trail(row, account),
        "exchOrderId": "N/A",
        "extExecID": f"{row.transaction_id}X" if row.execution_id else "N/A",
        "orderTime": moment if row.order_type else "",
        "levelOfDetail": "EXECUTION",
        "changeInPrice": "0",
        "changeInQuantity": "0",
        "orderType": row.order_type,
        "isAPIOrder": "N",
        "accruedInt": plain(row.accrued_interest),
        "fineness": "0.0",
        "weight": "0.0 ()",
    }


def allocated(values: Mapping[str, str], master: str) -> dict[str, str]:
    """The row as the master tells it that traded for the account."""
    notes = ";".join(part for part in (values["notes"], "Al") if part)
    return {**values, "accountId": master, "notes": notes, "allocatedTo": values["accountId"]}


def summed_values(rows: Sequence[Booking], account: Account, level: str) -> dict[str, str]:
    """The sum of executions as an Order or SymbolSummary row: everything that repeats them, and none of their ids."""
    quantity = sum((row.quantity for row in rows), Decimal(0))
    units = sum((abs(row.quantity) for row in rows), Decimal(0))
    money = sum((row.money for row in rows), Decimal(0))
    price = sum((abs(row.quantity) * row.price for row in rows), Decimal(0)) / units
    values = trade_values(rows[-1], account) | dict.fromkeys(_ONLY_ON_EXECUTIONS, "")
    values |= {
        "quantity": plain(quantity),
        "tradePrice": plain(price.quantize(_PRICE_DIGITS)),
        "tradeMoney": plain(money),
        "proceeds": plain(-money),
        "cost": plain(money),
        "taxes": plain(sum((row.taxes for row in rows), Decimal(0))),
        "ibCommission": plain(sum((row.commission for row in rows), Decimal(0))),
        "netCash": plain(sum((row.net_cash for row in rows), Decimal(0))),
        "levelOfDetail": level,
    }
    if level != "ORDER":
        values |= {"ibOrderID": "", "orderType": "", "orderTime": "", "dateTime": "", "exchange": "MULTI"}
        if len({row.trade_date for row in rows}) > 1:
            values["tradeDate"] = "MULTI"
    return values


def lot_values(row: Booking, account: Account) -> dict[str, str]:
    """The tax lot that a fill closes: bought for another price, and told under none of the fill's ids.

    Our choice: which opening it was is not traced, so it carries the transaction id of none.
    """
    values = trade_values(row, account) | dict.fromkeys((*_ONLY_ON_EXECUTIONS, "ibOrderID"), "")
    price = row.contract.closing_price(row.trade_date)
    return values | {"tradePrice": plain(price), "openCloseIndicator": "C", "levelOfDetail": "CLOSED_LOT"}


def as_confirmation(values: Mapping[str, str]) -> dict[str, str]:
    """The same row under the names of a Trade Confirmation query, whose code field joins what Trades keeps apart."""
    renamed = {name: values[known] for name, known in _CONFIRMATION_NAMES.items()}
    code = ";".join(part for part in (values["openCloseIndicator"], values["notes"]) if part)
    return {**values, **dict.fromkeys(_CONFIRMATION_ZEROS, "0"), **renamed, "code": code}


def exercise_values(row: Booking, account: Account) -> dict[str, str]:
    """A row of OptionEAE, which tells of a book entry in Trades once more, under the same trade id."""
    values = trade_values(row, account)
    option = row.contract.category == "OPT"
    return values | {
        "date": values["tradeDate"],
        "transactionType": _EVENTS[row.notes] if option else row.side.capitalize(),
        "markPrice": "0" if row.notes == "Ep" else values["closePrice"],
        "commisionsAndTax": plain(row.commission + row.taxes),
        "costBasis": values["cost"],
        "realizedPnl": "0",
    }


def _instrument(contract: Contract) -> dict[str, str]:
    under = contract.underlying
    return {
        "assetCategory": contract.category,
        "subCategory": contract.sub_category,
        "symbol": contract.symbol,
        "description": contract.description,
        "conid": str(contract.conid),
        "securityID": contract.isin,
        "securityIDType": "ISIN" if contract.isin else "",
        "isin": contract.isin,
        "listingExchange": contract.listing,
        "underlyingConid": str(under.conid) if under else "",
        "underlyingSymbol": contract.root or (contract.symbol if contract.category == "STK" else ""),
        "underlyingSecurityID": under.isin if under else "",
        "underlyingListingExchange": under.listing if under else "",
        "issuerCountryCode": contract.country,
        "multiplier": plain(contract.multiplier),
        "strike": "" if contract.strike is None else plain(contract.strike),
        "expiry": "" if contract.expiry is None else day_text(contract.expiry),
        "putCall": contract.put_call,
    }


def _pointers(row: Booking) -> dict[str, str]:
    """What a reversal says of its original; the reversal of a paid-out fraction says nothing."""
    target = row.voids
    if target is None or row.kind != "TradeCancel":
        return {"origTradePrice": "0", "origOrderID": "0"}
    return {
        "origTradePrice": plain(target.price),
        "origTradeDate": day_text(target.trade_date),
        "origTradeID": target.trade_id,
        "origOrderID": target.order_id,
        "origTransactionID": target.transaction_id,
    }


def _audit_trail(row: Booking, account: Account) -> dict[str, str]:
    """Paper accounts have no audit trail."""
    if account.number.startswith("DU") or not row.execution_id:
        return {}
    return {"brokerageOrderID": f"{int(row.order_id):012x}.0001", "orderReference": "sandbox" if row.notes else ""}
