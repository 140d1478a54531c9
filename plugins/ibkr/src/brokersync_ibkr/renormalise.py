"""Kept rows read again, as the plugin reads them today: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from brokersync.plugin import QuarantinedRow, RawRow, TradeBooking, TradePage
from brokersync_ibkr.accounts import environment_of
from brokersync_ibkr.dates import FlexDates
from brokersync_ibkr.dayorder import DayOrder
from brokersync_ibkr.instruments import RowError
from brokersync_ibkr.keptrows import DATES, read_row, remembered
from brokersync_ibkr.normalise import Normaliser
from brokersync_ibkr.pages import PAGE_SIZE


def renormalise(source: str, rows: Iterable[RawRow]) -> Iterator[TradePage]:
    """Pages of the rows."""
    again = _Again()
    for row in rows:
        again.read(row)
        if len(again.bookings) >= PAGE_SIZE:
            yield again.page()
    while again.bookings or again.quarantined:
        yield again.page()


class _Again:
    def __init__(self) -> None:
        self._unmapped: Counter[str] = Counter()
        self._normalisers: dict[str | None, Normaliser] = {}
        self.bookings: list[TradeBooking] = []
        self.quarantined: list[QuarantinedRow] = []

    def read(self, row: RawRow) -> None:
        account_id = row.account_id or row.raw.get("accountId")
        if account_id is None:
            self.quarantined.append(QuarantinedRow(reason="the row names no account", raw=row.raw))
            return
        place = remembered(row.raw, account_id, row.environment or environment_of(account_id, "live"))
        found = read_row(self._normaliser(row.raw.get(DATES)), row.raw, place)
        if isinstance(found, QuarantinedRow):
            self.quarantined.append(found)
        else:
            self.bookings.append(found)

    def page(self) -> TradePage:
        page = TradePage(
            bookings=tuple(self.bookings[:PAGE_SIZE]),
            quarantined=tuple(self.quarantined[:PAGE_SIZE]),
            unmapped=dict(self._unmapped),
        )
        del self.bookings[:PAGE_SIZE], self.quarantined[:PAGE_SIZE]
        self._unmapped.clear()
        return page

    def _normaliser(self, dates: str | None) -> Normaliser:
        if dates not in self._normalisers:
            order = None if dates is None else DayOrder(dates)
            self._normalisers[dates] = Normaliser(FlexDates(lambda: _known(order)), self._note_unknown)
        return self._normalisers[dates]

    def _note_unknown(self, what: str) -> None:
        self._unmapped[what] += 1


def _known(order: DayOrder | None) -> DayOrder:
    if order is None:
        raise RowError("whether its dates begin with the day or the month was not kept")
    return order
