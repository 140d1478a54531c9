"""Kept rows read again, as the plugin reads them today: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from zoneinfo import ZoneInfo

import attrs

from brokersync.plugin import QuarantinedRow, RawRow, TradeBooking, TradePage
from brokersync_tradovate.charges import CHARGES, charges_of
from brokersync_tradovate.fills_report import BadRow, kept_fill
from brokersync_tradovate.identity import named
from brokersync_tradovate.normalise import quarantined
from brokersync_tradovate.outcomes import ZONE, file_outcome, report_outcome, session_outcome
from brokersync_tradovate.payloads import Fill, FillFee
from brokersync_tradovate.references import REFERENCES, reference_of
from brokersync_tradovate.rows import Row, RowError
from brokersync_tradovate.statements import FILLS_FILE

_PAGE_ROWS = 500


def renormalise(source: str, rows: Iterable[RawRow]) -> Iterator[TradePage]:
    """Pages of the rows, in their order."""
    read = _READERS[source]
    waiting = iter(rows)
    while batch := list(islice(waiting, _PAGE_ROWS)):
        outcomes = [attrs.evolve(read(row), raw=row.raw) for row in batch]
        yield TradePage(
            bookings=tuple(one for one in outcomes if isinstance(one, TradeBooking)),
            quarantined=tuple(one for one in outcomes if isinstance(one, QuarantinedRow)),
            rows=len(batch),
        )


def _of_session(row: RawRow) -> TradeBooking | QuarantinedRow:
    environment = row.environment or "live"
    written: Row = row.raw.get("fill", row.raw)
    fee_row: Row | None = row.raw.get("fillFee")
    try:
        fill = Fill.of(written)
    except RowError as error:
        return quarantined(row.raw, str(error), environment, row.account_id, named(written))
    return session_outcome(
        fill,
        written,
        _fee(fee_row),
        fee_row,
        reference_of(fill.contract_id, None, row.raw),
        environment=environment,
        account_id=row.account_id,
    )


def _fee(row: Row | None) -> FillFee | None:
    try:
        return FillFee.of(row) if row else None
    except RowError:
        return None


def _of_report(row: RawRow) -> TradeBooking | QuarantinedRow:
    environment = row.environment or "live"
    fill = kept_fill(_columns(row.raw))
    if row.account_id is None:
        return quarantined(row.raw, "the row names no account", environment)
    reference = None if isinstance(fill, BadRow) else reference_of(fill.fill.contract_id, fill.contract, row.raw)
    return report_outcome(
        fill, reference, environment=environment, account_id=row.account_id, charges=charges_of(row.raw)
    )


def _of_file(row: RawRow) -> TradeBooking | QuarantinedRow:
    zone = row.raw.get(ZONE)
    fill = kept_fill(_columns(row.raw), ZoneInfo(zone) if zone else None)
    reference = None if isinstance(fill, BadRow) else reference_of(fill.fill.contract_id, fill.contract, row.raw)
    return file_outcome(fill, reference, zone=zone, environment=row.environment, account_id=row.account_id)


def _columns(raw: Row) -> Row:
    """The row as the broker wrote it, without what was put beside its columns."""
    return {name: value for name, value in raw.items() if name not in (REFERENCES, CHARGES, ZONE)}


_READERS: Mapping[str, Callable[[RawRow], TradeBooking | QuarantinedRow]] = {
    "session": _of_session,
    "reports": _of_report,
    FILLS_FILE: _of_file,
}
