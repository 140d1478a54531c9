"""Of which accounts an answer tells, while it is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from brokersync.records import AccountKey, OpenRequest, Span
from brokersync.sync.proof import Proof
from brokersync.types import TimeWindow, TradePage


class Telling:
    """Collects what the pages of one reading told of each account, by environment/id.

    `told` has the days that count as read, none of an account of which there were rows alone. `asked` are those that
    the reading was for from its start; none of one that is gone on with after rows that nobody looks at here.
    """

    def __init__(self, proof: Proof | None = None, opened: OpenRequest | None = None) -> None:
        self.asked = () if proof is None or (opened is not None and opened.gave_rows) else proof.accounts
        self.told: dict[str, list[TimeWindow]] = {}

    def add(self, page: TradePage, spans: Iterable[tuple[AccountKey, Span]]) -> None:
        """What a page told, and which days of whom it proved."""
        for row in _accounts_of(page):
            self.told.setdefault(row, [])
        for key, span in spans:
            self.told.setdefault(f"{key.environment}/{key.account_id}", []).append(span.window)


def _accounts_of(page: TradePage) -> Sequence[str]:
    told = {f"{one.environment}/{one.account_id}" for one in page.bookings}
    return sorted(told | {f"{one.environment}/{one.account_id}" for one in page.quarantined})
