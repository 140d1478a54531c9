"""Kept rows read again, as the plugin reads them today: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from brokersync.plugin import QuarantinedRow, RawRow, TradeBooking, TradePage
from {{ cookiecutter.__package }}.normalise import outcome_of

# what reads a row of each source; a second one, such as files beside a service, gets a line of its own
_READS: Final[Mapping[str, Callable[[Mapping[str, Any], str, str], TradeBooking | QuarantinedRow]]] = {
{% if cookiecutter.history_kind == "session" %}
    "session": outcome_of,
{% elif cookiecutter.history_kind == "files" %}
    "statement": outcome_of,
{% else %}
    "executions": outcome_of,
{% endif %}
}


def renormalise(source: str, rows: Iterable[RawRow]) -> Iterator[TradePage]:
    """A page for each row, so that a corrected plugin mends what an earlier one read wrong."""
    for row in rows:
        if row.account_id is None or row.environment is None:
            continue  # every row of ours names both
        outcome = _READS[source](row.raw, row.account_id, row.environment)
        if isinstance(outcome, QuarantinedRow):
            yield TradePage(quarantined=(outcome,), rows=1)
        else:
            yield TradePage(bookings=(outcome,), rows=1)
