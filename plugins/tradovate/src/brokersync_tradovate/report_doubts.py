"""What is odd about the fees and times of reported fills, in words and counted: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from datetime import timedelta
from typing import Final

from brokersync_tradovate.certainty import DIFFERS
from brokersync_tradovate.charges import FillCharges
from brokersync_tradovate.fills_report import ReportFill

NO_HISTORY: Final = (
    "days of which Tradovate gives no Cash History: reported fees are estimates around them until it does"
)
_SECOND = timedelta(seconds=1)


def doubts_about(
    fills: Sequence[ReportFill], charges: Mapping[int, FillCharges], left: Sized, unread: Sized
) -> Counter[str]:
    """What is odd about these fees, counted."""
    differing = sum(1 for row in fills if row.fill.id in charges and charges[row.fill.id].doubt == DIFFERS)
    return _zone_doubts(fills) + Counter(
        {
            "fees of the Cash History that are of no fill for sure": len(left),
            "fills whose fees are not those of other fills of the contract": differing,
            NO_HISTORY: len(unread),
        }
    )


def _zone_doubts(fills: Iterable[ReportFill]) -> Counter[str]:
    """What would show that a report is not in UTC, for which it was asked."""
    shown = ((fill.shown, fill.fill.timestamp) for fill in fills)
    if all(one is None or abs(one - executed) <= _SECOND for one, executed in shown):
        return Counter()
    return Counter(["the Fills report does not show its times in UTC"])
