"""How long an account that its broker has closed is still read. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from brokersync.manifest import SourceScope, SourceSpec
from brokersync.sync.days import ceiling
from brokersync.types import BrokerAccount

# what was traded on the last day may be booked, corrected or taken back weeks later
_SETTLES: Final = timedelta(days=30)


def read_until(source: SourceSpec, account: BrokerAccount | None) -> datetime | None:
    """Up to when a source is read of an account; `None` where that has no end.

    A request for a whole login costs the same with the account as without it, and so goes on.
    """
    if account is None or not account.closed or account.closed_at is None or source.scope is SourceScope.LOGIN:
        return None
    return ceiling(account.closed_at + _SETTLES, source.calendar)
