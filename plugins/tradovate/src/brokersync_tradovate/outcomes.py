"""A row of each source to its booking: pure, and the same for rows that come in and for rows that were kept."""

from __future__ import annotations

from typing import Final

from brokersync.plugin import QuarantinedRow, TradeBooking
from brokersync_tradovate.charges import CHARGES, FillCharges
from brokersync_tradovate.fills_report import BadRow, ReportFill
from brokersync_tradovate.identity import named
from brokersync_tradovate.normalise import booking_of, quarantined, report_costs, session_costs
from brokersync_tradovate.payloads import Fill, FillFee
from brokersync_tradovate.references import REFERENCES, Reference
from brokersync_tradovate.rows import Row

ZONE: Final = "statedZone"


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
    row: ReportFill | BadRow,
    reference: Reference | None,
    *,
    environment: str,
    account_id: str,
    charges: FillCharges | None = None,
) -> TradeBooking | QuarantinedRow:
    """A row of an account's Fills report, with what the Cash History says it cost."""
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
    kept = {REFERENCES: reference.kept()} | ({CHARGES: charges.kept()} if charges else {})
    return booking_of(
        row.fill,
        {**row.written, **kept},
        environment=environment,
        account_id=account_id,
        instrument=instrument,
        costs=report_costs(row.commission, instrument.currency, charges),
    )


def file_outcome(
    row: ReportFill | BadRow,
    reference: Reference | None,
    *,
    zone: str | None,
    environment: str | None,
    account_id: str | None,
) -> TradeBooking | QuarantinedRow:
    """A row of a Fills export, which says of what was traded no more than its name.

    The zone and what is known of the contract are kept beside the row, for reading it again takes them, too.
    """
    stated = {ZONE: zone} if zone else {}
    if isinstance(row, BadRow) or environment is None or reference is None:
        reason = row.reason if isinstance(row, BadRow) else "it is unknown whether its account is a live or a demo one"
        return quarantined({**row.written, **stated}, reason, environment, account_id, row.name)
    instrument = reference.instrument
    kept = {REFERENCES: reference.kept()} if reference.contract else {}
    return booking_of(
        row.fill,
        {**row.written, **stated, **kept},
        environment=environment,
        account_id=account_id,
        instrument=instrument,
        costs=report_costs(row.commission, instrument.currency),
    )
