"""A row of each source to its booking: pure, and the same for rows that come in and for rows that were kept.

All three end in `_booked`: what the values of one row break is that row alone, which goes into quarantine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from brokersync.plugin import BrokerTrade, QuarantinedRow, Side, TradeBooking
from brokersync_tradovate.charges import CHARGES, FillCharges
from brokersync_tradovate.fills_report import BadRow, ReportFill
from brokersync_tradovate.identity import name_of, named
from brokersync_tradovate.normalise import PROVIDER, Costs, plain, quarantined, report_costs, session_costs
from brokersync_tradovate.payloads import Fill, FillFee
from brokersync_tradovate.references import REFERENCES, Reference
from brokersync_tradovate.rows import Row

ZONE: Final = "statedZone"

_SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}


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
    return _booked(
        fill,
        session_raw(row, fee_row, reference),
        environment=environment,
        account_id=account_id,
        reference=reference,
        costs=lambda currency: session_costs(fee, reference.codes, currency),
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
    kept = {REFERENCES: reference.kept()} | ({CHARGES: charges.kept()} if charges else {})
    return _booked(
        row.fill,
        {**row.written, **kept},
        environment=environment,
        account_id=account_id,
        reference=reference,
        costs=lambda currency: report_costs(row.commission, currency, charges),
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
    kept = {REFERENCES: reference.kept()} if reference.contract else {}
    return _booked(
        row.fill,
        {**row.written, **stated, **kept},
        environment=environment,
        account_id=account_id,
        reference=reference,
        costs=lambda currency: report_costs(row.commission, currency),
    )


def _booked(
    fill: Fill,
    raw: Row,
    *,
    environment: str,
    account_id: str | None,
    reference: Reference,
    costs: Callable[[str | None], Costs],
) -> TradeBooking | QuarantinedRow:
    """The booking of one fill, or the row in quarantine where booking it would be a guess.

    `costs` tells the fees from the product's currency. What a trade is made of is made in here, so that whatever core
    does not take of it is a reason too.
    """
    row_id = name_of(fill.id)
    reason = _why_not(fill, account_id)
    if reason is not None or account_id is None:
        return quarantined(raw, reason or "", environment, account_id, row_id)
    try:
        instrument = reference.instrument
        told = costs(instrument.currency)
        trade = BrokerTrade(
            provider=PROVIDER,
            environment=environment,
            account_id=account_id,
            trade_id=row_id,
            order_id=str(fill.order_id),
            instrument=instrument,
            side=_SIDES[fill.action],
            quantity=fill.qty,
            price=fill.price,
            executed_at=fill.timestamp,
            trade_date=fill.trade_date,
            fees=told.fees,
            fees_state=told.state,
            # what `active: false` means is not documented, so such a fill is booked and not dropped
            tags=() if fill.active else ("inactive",),
            raw=plain(raw),
        )
        return TradeBooking.of(trade)
    except (ValueError, ArithmeticError) as error:
        return quarantined(raw, str(error), environment, account_id, row_id)


def _why_not(fill: Fill, account_id: str | None) -> str | None:
    if account_id is None:
        return f"its account is unknown, because Tradovate does not tell of the order {fill.order_id}"
    if fill.action not in _SIDES:
        return f"the action {fill.action!r} is neither Buy nor Sell"
    if fill.qty <= 0:
        return "the quantity is not positive"
    return None
