"""When the pages of one reading were made, as far as that bounds what a later one of them proves. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from brokersync.types import CoveredSpan, QuarantinedRow, TradeBooking, TradePage


class Ages:
    """A page bounds what is proved of an account until the account is covered up to there.

    It concerns all accounts, unless it covers each that it tells of: rows that it lacks may lie in what a later page
    covers. `behind` is the oldest of the pages before the place where a reading was left.
    """

    def __init__(self, behind: datetime | None = None) -> None:
        self._pages: list[tuple[datetime, Collection[str] | None]] = [] if behind is None else [(behind, None)]
        self._covered: dict[str, int] = {}

    def add(self, page: TradePage, made: datetime | None) -> None:
        """The next page; whatever it covers is bounded by itself, too."""
        if made is not None:
            self._pages.append((made, _concerned(page)))

    def of(self, environment: str, account_id: str) -> datetime | None:
        """The age of the oldest page that concerns an account and came after it was covered last."""
        return self._of(f"{environment}/{account_id}")

    def cover(self, page: TradePage) -> None:
        """All pages up to this one are accounted for in what is known of the accounts that it covers."""
        self._covered |= dict.fromkeys(_names(page.covered), len(self._pages))

    def pending(self, accounts: Collection[str]) -> datetime | None:
        """The oldest of the pages that may bound what comes later, in a reading of these, named as environment/id."""
        if not accounts:
            return min((made for made, _ in self._pages), default=None)
        return min((made for made in map(self._of, accounts) if made is not None), default=None)

    def _of(self, name: str) -> datetime | None:
        since = self._pages[self._covered.get(name, 0) :]
        return min((made for made, concerned in since if concerned is None or name in concerned), default=None)


def _concerned(page: TradePage) -> Collection[str] | None:
    covered = _names(page.covered)
    return covered if covered and _names((*page.bookings, *page.quarantined)) <= covered else None


def _names(told: Iterable[CoveredSpan | TradeBooking | QuarantinedRow]) -> set[str]:
    return {f"{one.environment}/{one.account_id}" for one in told}
