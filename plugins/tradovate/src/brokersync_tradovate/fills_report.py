"""The Fills report, which is also what a user exports: one row for a fill, read by the names of its columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import attrs

from brokersync_tradovate.identity import name_of, named
from brokersync_tradovate.local_times import instant
from brokersync_tradovate.payloads import Fill
from brokersync_tradovate.rows import Row, RowError, exact_number, whole_number
from brokersync_tradovate.tables import Columns, Table, TableError, TableRow, kept_row

# The fill entity's names, and the columns that hold them. `Price` is no substitute for its underscored column, since
# it may be written in 32nds; nor is `Timestamp`, which has no zone, unless somebody says which one it is.
COLUMNS: Final[Columns] = {
    "id": ("_id", "fill id"),
    "orderId": ("_orderid", "order id"),
    "contractId": ("_contractid",),
    "timestamp": ("_timestamp",),
    "localTime": ("timestamp",),
    "tradeDate": ("_tradedate",),
    "action": ("_action", "b/s"),
    "qty": ("_qty", "quantity"),
    "price": ("_price",),
    "active": ("_active",),
    "accountId": ("_accountid",),
    "account": ("account",),
    "contract": ("contract", "_contract"),
    "commission": ("commission", "_commission"),
}
_NEEDED = ("id", "orderId", "contractId", "action", "qty", "price")
_IDS = ("id", "orderId", "contractId", "accountId")
_ACTIONS = {"0": "Buy", "1": "Sell"}
_SHORTENED = re.compile(r"\d(?:[.,]\d+)?E\+\d+", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class ReportFill:
    """A fill with what the report adds to it.

    `commission` is that alone, without the other fees. `shown` is what the column `Timestamp` shows, read as UTC; other
    reports of the same request show the time of this fill so, too.
    """

    fill: Fill
    shown: datetime | None
    account_id: str | None
    account: str | None
    contract: str | None
    commission: Decimal | None
    written: Row

    @property
    def name(self) -> str:
        """Its booking's id."""
        return name_of(self.fill.id)

    @classmethod
    def of(cls, cells: Mapping[str, str], written: Row, zone: ZoneInfo | None = None) -> ReportFill:
        """From the cells under the fill entity's names, and the row as it was written. Raises `RowError`."""
        action, commission = cells["action"], cells["commission"]
        told = {**cells, "action": _ACTIONS.get(action, action.capitalize())}
        if zone is not None and not cells["timestamp"]:
            told["timestamp"] = instant(cells["localTime"], zone).isoformat()
        return cls(
            fill=Fill.of(told),
            shown=_shown(cells["localTime"]),
            account_id=_account_id(cells),
            account=cells["account"] or None,
            contract=cells["contract"] or None,
            commission=exact_number(commission) if commission else None,
            written=written,
        )


@attrs.frozen
class BadRow:
    """A row of the report that can not be read, and why.

    `name` is what its booking would be called, and `account_id` whose it would be, as far as the row tells that; so
    with `contract` and `shown`. `is_shortened` says that a spreadsheet has rounded its ids, such as to `5.4E+11`.
    """

    reason: str
    written: Row
    name: str | None = None
    account_id: str | None = None
    contract: str | None = None
    shown: datetime | None = None
    is_shortened: bool = False


class ZoneNeededError(TableError):
    """A report that tells its times in a zone which it does not tell."""


class FillsReport:
    """The rows of one report, which may be none.

    `zone` is that of the column `Timestamp`, which is read only where there is no column `_timestamp`. Raises
    `TableError` for a text that is no Fills report, which names the columns that it lacks.
    """

    def __init__(self, lines: Iterable[str], zone: ZoneInfo | None = None) -> None:
        self._table = Table(lines, COLUMNS)
        self._table.require(_NEEDED)
        self.in_local_times = bool(self._table.header) and not self._table.has("timestamp")
        if self.in_local_times and zone is None and self._table.has("localTime"):
            raise ZoneNeededError("has no column _timestamp, and its other times do not tell their zone")
        self._table.require(["localTime" if self.in_local_times and zone else "timestamp"])
        self._zone = zone if self.in_local_times else None

    @property
    def absent_columns(self) -> Sequence[str]:
        """The columns that are usual, not needed, and not there."""
        return self._table.absent()

    def rows(self) -> Iterator[ReportFill | BadRow]:
        """The rows as they are reached; to be read once."""
        return (_fill(row, self._zone) for row in self._table.rows())


def kept_fill(written: Row, zone: ZoneInfo | None = None) -> ReportFill | BadRow:
    """A row that was kept, by the names of its columns."""
    return _fill(kept_row(written, COLUMNS), zone)


def _fill(row: TableRow, zone: ZoneInfo | None) -> ReportFill | BadRow:
    if row.problem is not None:
        return BadRow(row.problem, row.written)
    try:
        return ReportFill.of(row.told, row.written, zone)
    except RowError as error:
        told = row.told
        return BadRow(
            str(error),
            row.written,
            name=named(told),
            account_id=told["accountId"] if whole_number(told["accountId"]) is not None else None,
            contract=told["contract"] or None,
            shown=_shown(told["localTime"]),
            is_shortened=any(_SHORTENED.fullmatch(told[name]) for name in _IDS),
        )


def _shown(text: str) -> datetime | None:
    try:
        return instant(text, UTC)
    except RowError:
        return None


def _account_id(cells: Mapping[str, str]) -> str | None:
    told = cells["accountId"]
    if told and whole_number(told) is None:
        raise RowError("accountId is no whole number")
    return told or None
