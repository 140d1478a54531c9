"""The names of rows without an id that are read from what is kept, and perhaps under another name than before."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

from brokersync.store import Renewed
from brokersync.sync.occurrences import numbered
from brokersync.types import IdQuality, TradeBooking

_AT_ONCE = 500


class NewNames:
    """Names equal rows as a reading of the source does, by the first numbers, and keeps the names that are among these.

    What rows that are not read hold is not given to others. All rows are noted before the first is named, since a name
    may be one that another row leaves.
    """

    def __init__(self, held: Iterable[str]) -> None:
        """`held` are all names in the source."""
        self._unread = set(held)
        self._equal: Counter[str] = Counter()
        self._kept: defaultdict[str, set[str]] = defaultdict(set)
        self._names: dict[str, set[str]] = {}
        self._free: dict[str, Iterator[int]] = {}

    def note(self, before: str, booking: TradeBooking) -> None:
        """The row that had a name will be this booking."""
        self._unread.discard(before)
        if booking.id_quality is IdQuality.SYNTHETIC:
            self._equal[booking.booking_id] += 1
            if _as_before(before, booking) is not None:
                self._kept[booking.booking_id].add(before)

    def of(self, before: str, booking: TradeBooking) -> TradeBooking | None:
        """The booking under its name; `None` where it was not noted as this booking."""
        if booking.id_quality is not IdQuality.SYNTHETIC:
            return booking
        content = booking.booking_id
        if content not in self._names:
            self._share_out(booking)
        kept = _as_before(before, booking)
        if kept is not None and before in self._names[content]:
            return kept
        number = next(self._free[content], None)
        return None if number is None else numbered(booking, number)

    def _share_out(self, booking: TradeBooking) -> None:
        content, numbers = booking.booking_id, dict[int, str]()
        for number in count(1):
            if len(numbers) == self._equal[content]:
                break
            if (name := numbered(booking, number).booking_id) not in self._unread:
                numbers[number] = name
        self._names[content] = set(numbers.values())
        self._free[content] = iter([one for one, name in numbers.items() if name not in self._kept[content]])


def moved_together(moves: Sequence[Renewed]) -> Iterator[Sequence[Renewed]]:
    """The moves of one account in parts: at once those of which one gets a name that another leaves."""
    left, wanted = {one.row.booking_id for one in moves}, {one.booking.booking_id for one in moves}
    tied = [one for one in moves if one.booking.booking_id in left or one.row.booking_id in wanted]
    if tied:
        yield tied
    loose = [one for one in moves if one.booking.booking_id not in left and one.row.booking_id not in wanted]
    for first in range(0, len(loose), _AT_ONCE):
        yield loose[first : first + _AT_ONCE]


def _as_before(before: str, booking: TradeBooking) -> TradeBooking | None:
    """The booking under the name that its row has, where that is one of those of its content."""
    if before == booking.booking_id:
        return booking
    _, mark, number = before.rpartition("#")
    if mark and number.isdecimal():
        named = numbered(booking, int(number))
        return named if named.booking_id == before else None
    return None
