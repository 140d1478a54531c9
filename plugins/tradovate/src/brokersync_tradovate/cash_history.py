"""The Cash History report: every movement of an account's cash, the fees of its fills among them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TypeAlias

import attrs

from brokersync_tradovate.local_times import instant
from brokersync_tradovate.payloads import FEE_CURRENCIES
from brokersync_tradovate.rows import RowError, exact_number
from brokersync_tradovate.tables import Columns, Table, TableRow

_COLUMNS: Columns = {
    "account": ("account", "_account"),
    "timestamp": ("timestamp",),
    "delta": ("delta", "_delta"),
    "kind": ("cash change type", "_cashchangetype"),
    "currency": ("currency", "_currency"),
    "contract": ("contract", "_contract"),
}
_FEES = {name.lower(): name for name in FEE_CURRENCIES}
# The published kinds that are never what a fill costs. Of all others that may be said.
_OTHERS = """
accountclosurefee adduserfee automaticreconciliation cancelledpairedtrade cashsettlement challengepayout courtesy
currencyconversion debit depositfee dormantfee entitlementsubscription escheatment fundtransaction fundtransactionfee
goodwillcredit inactivityfee manualadjustment marketdatasubscription newsession nsfcheckfee optionstrade promo
seatleasepayment stoppaymentfee swaptrade tradepaired tradovatesubscription
"""
_NO_FEE_OF_A_FILL = frozenset(_OTHERS.split())
Place: TypeAlias = tuple[str, datetime]
"""Where the broker books a fee: a contract and a second."""

_CURRENCY = re.compile(r"[A-Za-z]{3,5}")


@attrs.frozen(kw_only=True)
class Charge:
    """A fee that was booked to the account, by the fee's name in `fillFee`; what was given back is negative.

    Which fill it is for is not told: there are the contract and the second.
    """

    fee: str
    amount: Decimal
    currency: str
    contract: str
    second: datetime

    @property
    def place(self) -> Place:
        return self.contract, self.second


@attrs.frozen
class CashHistory:
    """The fees in a report. `whole` says that nothing else in it can be one, but what was booked on `unread` days."""

    charges: tuple[Charge, ...]
    whole: bool
    unread: frozenset[date] = frozenset()


def read_cash_history(lines: Iterable[str], account: str | None, unmapped: Counter[str]) -> CashHistory:
    """The fees of one account, from a report in UTC; what is not understood is counted in `unmapped`.

    Raises `TableError` for a text that is no Cash History.
    """
    table = Table(lines, _COLUMNS)
    table.require(_COLUMNS)
    charges, whole = [], True
    for row in table.rows():
        try:
            charge = _charge(row, account)
        except RowError as error:
            unmapped[f"Cash History row: {error}"] += 1
            whole = False
        else:
            charges += [charge] if charge else []
    return CashHistory(tuple(charges), whole)


def _charge(row: TableRow, account: str | None) -> Charge | None:
    if row.problem is not None:
        raise RowError(row.problem)
    told = row.told
    kind = told["kind"].replace(" ", "").lower()
    if kind in _NO_FEE_OF_A_FILL:
        return None
    if kind not in _FEES:
        raise RowError(f"the Cash Change Type {told['kind']!r} may be a fee of a fill")
    if account is not None and told["account"] != account:
        raise RowError("it is of another account")
    if not (_CURRENCY.fullmatch(told["currency"]) and told["contract"]):
        raise RowError("a fee without its currency or contract")
    return Charge(
        fee=_FEES[kind],
        amount=-exact_number(told["delta"]),
        currency=told["currency"].upper(),
        contract=told["contract"],
        second=instant(told["timestamp"], UTC),
    )
