"""A row of each source to its booking: pure, and the same for rows that come in and for rows that were kept."""

from __future__ import annotations

from brokersync.plugin import QuarantinedRow, TradeBooking
from brokersync_tradovate.fills_report import BadRow, ReportFill
from brokersync_tradovate.identity import named
from brokersync_tradovate.normalise import booking_of, quarantined, report_costs, session_costs
from brokersync_tradovate.payloads import Fill, FillFee, Row
from brokersync_tradovate.references import REFERENCES, Reference


def session_raw(row: Row, fee_row: Row | None, reference: Reference | None) -> Row:
    """What is kept of a fill of the session's list, which is all that reading it takes."""
    return {"fill": row, "fillFee": fee_row, REFERENCES: reference.kept() if reference else {}}


def unreadable(
    row: Row, reason: str, fee_row: Row | None, reference: Reference | None, environment: str, account_id: str | None
) -> QuarantinedRow:
    """A fill of the session's list that is not what Tradovate documents, with all that a later reading may need."""
    return quarantined(session_raw(row, fee_row, reference), reason, environment, account_id, named(row))


def session_outcome(
    fill: Fill,
    row: Row,
    fee: FillFee | None,
    fee_row: Row | None,
    reference: Reference,
    *,
    environment: str,
    account_id: str | None,
) -> TradeBooking | QuarantinedRow:
    """A fill of the session's list with its fees; the raw row keeps all three."""
    instrument = reference.instrument
    return booking_of(
        fill,
        session_raw(row, fee_row, reference),
        environment=environment,
        account_id=account_id,
        instrument=instrument,
        costs=session_costs(fee, reference.codes, instrument.currency),
    )


def report_outcome(
    row: ReportFill | BadRow, reference: Reference | None, *, environment: str, account_id: str
) -> TradeBooking | QuarantinedRow:
    """A row of an account's Fills report."""
    if isinstance(row, BadRow) or reference is None:
        reason = row.reason if isinstance(row, BadRow) else "what was traded is unknown"
        return quarantined(row.written, reason, environment, account_id, row.name)
    if row.account_id not in (None, account_id):
        return quarantined(
            row.written,
            f"it belongs to the account {row.account_id}, which was not asked for",
            environment,
            row_id=row.name,
        )
    instrument = reference.instrument
    return booking_of(
        row.fill,
        {**row.written, REFERENCES: reference.kept()},
        environment=environment,
        account_id=account_id,
        instrument=instrument,
        costs=report_costs(row.commission, instrument.currency),
    )
