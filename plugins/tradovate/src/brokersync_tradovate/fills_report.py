"""The Fills report as Tradovate writes it: CSV with a header, read by the names of its columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import attrs

from brokersync.plugin import BrokerResponseError
from brokersync_tradovate.identity import name_of, named
from brokersync_tradovate.payloads import Fill, Row, RowError, exact_number

# The fill entity's names, and the columns that hold them, the best one first. `Price` and `Timestamp` are no
# substitutes for their underscored columns: the one may be written in 32nds, the other has neither zone nor
# milliseconds.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("_id", "fill id"),
    "orderId": ("_orderid", "order id"),
    "contractId": ("_contractid",),
    "timestamp": ("_timestamp",),
    "tradeDate": ("_tradedate",),
    "action": ("_action", "b/s"),
    "qty": ("_qty", "quantity"),
    "price": ("_price",),
    "active": ("_active",),
    "accountId": ("_accountid",),
    "contract": ("contract", "_contract"),
    "commission": ("commission", "_commission"),
}
_NEEDED = ("id", "orderId", "contractId", "timestamp", "action", "qty", "price")
_ACTIONS = {"0": "Buy", "1": "Sell"}


@attrs.frozen(kw_only=True)
class ReportFill:
    """A fill with what the report adds to it; `commission` is that alone, without the other fees."""

    fill: Fill
    account_id: str | None
    contract: str | None
    commission: Decimal | None
    written: Row

    @property
    def name(self) -> str:
        """Its booking's id."""
        return name_of(self.fill.id)

    @classmethod
    def of(cls, cells: Mapping[str, str], written: Row) -> ReportFill:
        """From the cells under the fill entity's names, and the row as it was written. Raises `RowError`."""
        action, commission = cells["action"], cells["commission"]
        return cls(
            fill=Fill.of({**cells, "action": _ACTIONS.get(action, action.capitalize())}),
            account_id=cells["accountId"] or None,
            contract=cells["contract"] or None,
            commission=exact_number(commission) if commission else None,
            written=written,
        )


@attrs.frozen
class BadRow:
    """A row of the report that can not be read, and why; `name` is what its booking would be called, if it tells."""

    reason: str
    written: Row
    name: str | None = None


class FillsReport:
    """The rows of one report, which may be none. Raises `BrokerResponseError` that names the columns it misses."""

    def __init__(self, text: str) -> None:
        self._lines = _lines(text)
        self._header = [name.strip() for name in next(self._lines, [])]
        self._places = _places(self._header)
        missing = [_COLUMNS[name][0] for name in _NEEDED if not self._places[name]]
        if self._header and missing:
            raise BrokerResponseError(f"Tradovate's Fills report lacks the columns {', '.join(missing)}.")

    @property
    def absent_columns(self) -> Sequence[str]:
        """The columns that are usual, not needed, and not there."""
        return [columns[0] for name, columns in _COLUMNS.items() if self._header and not self._places[name]]

    def rows(self) -> Iterator[ReportFill | BadRow]:
        """The rows as they are reached; to be read once."""
        for cells in self._lines:
            written = dict(zip(self._header, cells, strict=False))
            if len(cells) == len(self._header):
                yield _fill(cells, self._places, written)
            else:
                reason = f"the row has {len(cells)} cells under {len(self._header)} columns"
                yield BadRow(reason, {**written, "cells": cells})


def kept_fill(written: Row) -> ReportFill | BadRow:
    """A row that was kept, by the names of its columns."""
    if "cells" in written:
        return BadRow(f"the row has {len(written['cells'])} cells under {len(written) - 1} columns", written)
    return _fill(list(written.values()), _places(list(written)), written)


def _fill(cells: Sequence[str], places: Mapping[str, Sequence[int]], written: Row) -> ReportFill | BadRow:
    told = {name: _first(cells, where) for name, where in places.items()}
    try:
        return ReportFill.of(told, written)
    except RowError as error:
        return BadRow(str(error), written, named(told))


def _places(header: Sequence[str]) -> dict[str, list[int]]:
    """Where the columns of each name stand, the best one first."""
    place_of = {name.lower(): place for place, name in enumerate(header)}
    return {name: [place_of[one] for one in columns if one in place_of] for name, columns in _COLUMNS.items()}


def _first(cells: Sequence[str], places: Iterable[int]) -> str:
    """What the best of these columns says that says anything."""
    return next((cells[place].strip() for place in places if cells[place].strip()), "")


def _lines(text: str) -> Iterator[list[str]]:
    """The lines that hold anything. A quote that never ends is an error, else it would swallow the rest in silence."""
    try:
        for cells in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True):
            if any(cell.strip() for cell in cells):
                yield cells
    except csv.Error as error:
        raise BrokerResponseError(f"Tradovate's Fills report is no proper CSV: {error}.") from None
