"""One row of the sandbox's books, and the ids that such rows get."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import attrs

from brokersync_ibkr.sandbox_calendar import wall_time
from brokersync_ibkr.sandbox_instruments import Contract

MAX_ACCOUNTS = 128
MAX_LAG_DAYS = 63
_MAX_ROWS = 4096
_ZERO = Decimal(0)
_FIRST_DAY = date(2015, 1, 1)
_CONFIRMATION_STEP = 300


@attrs.frozen(kw_only=True)
class Booking:
    """A row as the broker keeps it: quantity and money are signed as in a statement, `executed` is New York's time.

    `chain` is the transaction id of the first booking of the same execution. `voids` is what a reversal takes back.
    """

    contract: Contract
    kind: str
    quantity: Decimal
    price: Decimal
    executed: datetime
    trade_date: date
    report_date: date
    transaction_id: str
    chain: str
    order_id: str
    trade_id: str = ""
    execution_id: str = ""
    order_type: str = ""
    commission: Decimal = _ZERO
    commission_currency: str
    taxes: Decimal = _ZERO
    accrued_interest: Decimal = _ZERO
    open_close: str = ""
    notes: str = ""
    venue: str = "--"
    voids: Booking | None = None

    @property
    def side(self) -> str:
        """The word of the original: a reversal carries its original's side and the opposite quantity."""
        signed = self.quantity if self.voids is None else self.voids.quantity
        return "BUY" if signed > 0 else "SELL"

    @property
    def money(self) -> Decimal:
        return self.contract.money(self.quantity, self.price)

    @property
    def net_cash(self) -> Decimal:
        """Means another thing for each category: none for spot forex, variation margin for futures."""
        if self.contract.category == "CASH":
            return _ZERO
        if self.contract.category == "FUT":
            close = self.contract.closing_price(self.trade_date)
            return self.contract.money(self.quantity, close - self.price) + self.commission
        return self.commission + self.taxes - self.money

    @property
    def confirmed_at(self) -> datetime | None:
        """When Trade Confirmation queries first tell of it, in UTC: five to ten minutes after the execution.

        None for what they never tell: our choice is book entries, reversals and replacements, as what the back office
        does later stands in Activity statements only.
        """
        if self.kind != "ExchTrade" or self.chain != self.transaction_id:
            return None
        started = int(self.executed.timestamp()) // _CONFIRMATION_STEP
        return datetime.fromtimestamp((started + 2) * _CONFIRMATION_STEP, UTC)


class IdMint:
    """Ids of the rows planned on one day for one account; those of later days grow, and no two plans share one."""

    def __init__(self, seed: int, slot: int, planned: date) -> None:
        self._slot = slot
        self._planned = planned
        self._rows: Counter[date] = Counter()
        offset = random.Random(f"{seed}:ids").randrange(10**9)
        self._bases = {"transaction": 10**10 + offset, "trade": 10**9 + offset, "order": offset}

    def number(self, day: date) -> int:
        """The next free number of that day: bits for the day, how late it is, the account and the row."""
        lag, row = (day - self._planned).days, self._rows[day]
        if not 0 <= lag <= MAX_LAG_DAYS or row >= _MAX_ROWS:
            raise ValueError(f"the sandbox has no id left for row {row} of {day}, planned on {self._planned}")
        self._rows[day] += 1
        return (((day - _FIRST_DAY).days * 64 + lag) * MAX_ACCOUNTS + self._slot) * _MAX_ROWS + row

    def text(self, kind: str, number: int) -> str:
        return str(self._bases[kind] + number)

    def execution(self, day: date, number: int, part: int, revision: int = 1) -> str:
        """Four hexadecimal parts; the second looks like a time, the last counts revisions."""
        gateway = 0x10000 + self._slot * 64 + (day - self._planned).days
        clock = int((wall_time(day, 0) + timedelta(hours=7)).timestamp()) + number % _MAX_ROWS
        return f"{gateway:08x}.{clock:08x}.{part:02d}.{revision:02d}"

    def conversion(self, number: int) -> str:
        """The execution id of an automatic currency conversion, known by its first part."""
        return f"CUSTHSFX.{number:x}.01.01"
