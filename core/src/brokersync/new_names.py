"""The names of rows without an id that are read from what is kept, and perhaps under another name than before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from brokersync.sync.occurrences import numbered
from brokersync.types import IdQuality, TradeBooking


class NewNames:
    """Equal rows keep the numbers by which they are told apart; under a new name they get what is free of them.

    Free is also what another row leaves, so all rows are noted before the first is named. What is named in several
    runs, each of which broke off, has the same names in the end.
    """

    def __init__(self, held: Iterable[str]) -> None:
        """`held` are all names in the source, also of rows that are not read."""
        self._held = set(held)
        self._tried: Counter[str] = Counter()

    def note(self, before: str, booking: TradeBooking) -> None:
        """The row that had a name will be this booking."""
        if _as_before(before, booking) is None:
            self._held.discard(before)

    def of(self, before: str, booking: TradeBooking) -> TradeBooking:
        """The booking under its name."""
        if booking.id_quality is not IdQuality.SYNTHETIC:
            return booking
        if (kept := _as_before(before, booking)) is not None:
            return kept
        while True:
            self._tried[booking.booking_id] += 1
            named = numbered(booking, self._tried[booking.booking_id])
            if named.booking_id not in self._held:
                self._held.add(named.booking_id)
                return named


def _as_before(before: str, booking: TradeBooking) -> TradeBooking | None:
    """The booking under the name that its row has, where it is still one of those of its content."""
    if before == booking.booking_id:
        return booking
    _, mark, number = before.rpartition("#")
    if booking.id_quality is IdQuality.SYNTHETIC and mark and number.isdecimal():
        named = numbered(booking, int(number))
        return named if named.booking_id == before else None
    return None
