"""Kept rows read again, as the plugin reads them today: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import attrs

from brokersync.plugin import QuarantinedRow, RawRow, TradeBooking, TradePage
from brokersync_tradovate.fills_report import BadRow, kept_fill
from brokersync_tradovate.identity import named
from brokersync_tradovate.normalise import quarantined
from brokersync_tradovate.outcomes import report_outcome, session_outcome
from brokersync_tradovate.payloads import Fill, FillFee, Row, RowError
from brokersync_tradovate.references import REFERENCES, reference_of

_PAGE_ROWS = 500


def renormalise(source: str, rows: Iterable[RawRow]) -> Iterator[TradePage]:
    """Pages of the rows, in their order."""
    read = _of_session if source == "session" else _of_report
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
    written: dict[str, Any] = {name: value for name, value in row.raw.items() if name != REFERENCES}
    fill = kept_fill(written)
    if row.account_id is None:
        return quarantined(row.raw, "the row names no account", environment)
    reference = None if isinstance(fill, BadRow) else reference_of(fill.fill.contract_id, fill.contract, row.raw)
    return report_outcome(fill, reference, environment=environment, account_id=row.account_id)
