"""Kept rows read again, as the plugin reads them today: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from brokersync.plugin import QuarantinedRow, RawRow, TradePage
from {{ cookiecutter.__package }}.normalise import outcome_of


def renormalise(source: str, rows: Iterable[RawRow]) -> Iterator[TradePage]:
    """A page for each row, so that a corrected plugin mends what an earlier one read wrong."""
    for row in rows:
        if row.account_id is None or row.environment is None:
            continue  # every row of ours names both
        outcome = outcome_of(row.raw, row.account_id, row.environment)
        if isinstance(outcome, QuarantinedRow):
            yield TradePage(quarantined=(outcome,), rows=1)
        else:
            yield TradePage(bookings=(outcome,), rows=1)
