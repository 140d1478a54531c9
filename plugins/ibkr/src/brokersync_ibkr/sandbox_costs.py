"""How the sandbox tells what a commission is made of: the section Unbundled Commission Details."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from brokersync_ibkr.sandbox_bookings import Booking
from brokersync_ibkr.sandbox_ledger import Account, plain
from brokersync_ibkr.sandbox_query import QuerySettings
from brokersync_ibkr.sandbox_rows import time_text

_NAMES = (
    *("accountId", "acctAlias", "model", "currency", "symbol", "conid", "dateTime", "exchange", "buySell", "quantity"),
    *("price", "tradeID", "orderReference", "totalCommission", "brokerExecutionCharge", "brokerClearingCharge"),
    *("thirdPartyExecutionCharge", "thirdPartyClearingCharge", "thirdPartyRegulatoryCharge"),
    *("regFINRATradingActivityFee", "regSection31TransactionFee", "regOther", "other"),
)
_STEP = Decimal("0.0001")


def details(rows: Iterable[Booking], account: Account, query: QuerySettings) -> str:
    """A row for each commission; an exchange and a clearing house have a part in those of executions."""
    return "".join(
        query.element("UnbundledCommissionDetail", _NAMES, _values(row, account)) for row in rows if row.commission
    )


def _values(row: Booking, account: Account) -> dict[str, str]:
    exchange, clearing = ((row.commission * share).quantize(_STEP) for share in (Decimal("0.3"), Decimal("0.05")))
    return {
        "accountId": account.number,
        "currency": row.commission_currency,
        "symbol": row.contract.symbol,
        "conid": str(row.contract.conid),
        "dateTime": time_text(row.executed),
        "exchange": row.venue,
        "buySell": row.side,
        "quantity": plain(row.quantity),
        "price": plain(row.price),
        "tradeID": row.trade_id,
        "totalCommission": plain(row.commission),
        "brokerExecutionCharge": plain((row.commission - exchange - clearing).quantize(_STEP)),
        "brokerClearingCharge": "0",
        "thirdPartyExecutionCharge": plain(exchange),
        "thirdPartyClearingCharge": plain(clearing),
        "thirdPartyRegulatoryCharge": "0",
        "other": "0",
    }
