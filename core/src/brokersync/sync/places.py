"""The places to which the pages of one answer lead, and whether they still lead on. Pure."""

from __future__ import annotations

import attrs

from brokersync.types import TradePage

_EMPTY_IN_A_ROW = 1000


class Places:
    """Follows the cursors of an answer that is given from `cursor` on.

    Pages may lead to the same place one after another, such as the chunks of a report that only is had as a whole, as
    long as each tells something else; and for a while they may tell nothing.
    """

    def __init__(self, cursor: str | None) -> None:
        self._here, self._passed = cursor, {cursor}
        self._told: TradePage | None = None
        self._empty = 0

    def lead_on(self, page: TradePage) -> bool:
        """Whether this page tells what those before it did not, or leads to where they did not."""
        if page.cursor is None or page.resume_at is not None:
            return True
        told, self._told = self._told, attrs.evolve(page, as_of=None)
        if page.cursor != self._here:
            known = page.cursor in self._passed
            self._here, self._empty = page.cursor, 0
            self._passed.add(page.cursor)
            return not known
        if told != self._told:
            self._empty = 0
            return True
        self._empty += 1
        return not page.bookings and not page.quarantined and self._empty < _EMPTY_IN_A_ROW
