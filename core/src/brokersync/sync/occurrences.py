"""Rows without an id of the broker's, told apart by counting equal ones. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType

import attrs

from brokersync.records import NumberedRow
from brokersync.store.quarantine import names_of_content, numbered_name, places_of, raw_of, whole_name
from brokersync.store.rows import compact
from brokersync.types import IdQuality, QuarantinedRow, TradeBooking

_NONE: Mapping[str, str] = MappingProxyType({})
# one in a thousand million readings of a hundred thousand rows takes two of them for equal
_DIGEST_BYTES, _DIGEST_LENGTH = 8, 11


class Occurrences:
    """Numbers rows that the broker gave no id and that are equal, so that two equal fills stay two.

    A reading that holds fewer of them names the first ones, whatever else it holds: the numbers are the same for any
    windows, as long as one reading holds all that are equal. So it has to begin where a window does, or where another
    was left of which it has what was `kept`.
    """

    def __init__(self, kept: Mapping[str, str] = _NONE) -> None:
        self._counts = Counter({name: int(times) for times, names in kept.items() for name in _cut(names)})
        self._times: dict[str, datetime] = {}
        self._confused = False
        # whether rows may have come of which was not known where they belong
        self._placeless = bool(kept)
        self._alike: dict[str, int] = {}

    @property
    def seen(self) -> bool:
        """Whether the reading had any such rows."""
        return bool(self._counts)

    def kept(self) -> Mapping[str, str]:
        """To go on from here: per number of equal rows the digests of those that were so many, in one text."""
        found: defaultdict[int, list[str]] = defaultdict(list)
        for name, times in self._counts.items():
            found[times].append(name)
        return {str(times): "".join(names) for times, names in found.items()}

    def number(self, booking: TradeBooking) -> TradeBooking:
        """The booking under an id of its own."""
        if booking.id_quality is not IdQuality.SYNTHETIC:
            return booking
        key = _digest(booking.environment, booking.account_id, booking.booking_id)
        raw = raw_of(booking)
        text = compact(raw) if raw else ""
        alike = (self._alike_before(booking, text) if raw else 0) + 1
        # an older plugin that began the reading may not have understood those that look the same
        number = self._counts[key] = max(self._counts[key] + 1, alike)
        if booking.trade is not None and self._times.setdefault(key, booking.trade.executed_at) != (
            booking.trade.executed_at
        ):
            self._confused = True
        named = numbered(booking, number)
        if raw:
            self._counts[_text(booking.environment, booking.account_id, text)] += 1
            self._alike[whole_name(named)] = alike
        return named

    def number_row(self, row: QuarantinedRow) -> QuarantinedRow:
        """The row that was not understood, with which one of those it is that look the same."""
        if row.row_id is not None:
            return self._number_named(row, row.row_id)
        self._placeless = self._placeless or None in (row.environment, row.account_id)
        key = _text(row.environment, row.account_id, compact(row.raw))
        self._counts[key] += 1
        number = self._counts[key]
        if number == 1:
            return row
        return NumberedRow(
            reason=row.reason, raw=row.raw, account_id=row.account_id, environment=row.environment, number=number
        )

    def _number_named(self, row: QuarantinedRow, name: str) -> QuarantinedRow:
        if row.id_quality is not IdQuality.SYNTHETIC:
            return row
        key = _digest(row.environment or "", row.account_id or "", name)
        self._counts[key] += 1
        return attrs.evolve(row, row_id=numbered_name(name, self._counts[key]))

    def takes_alike(self) -> Mapping[str, int]:
        """Of the bookings since it was asked last, which one each is of those that look the same."""
        alike, self._alike = self._alike, {}
        return alike

    def _alike_before(self, booking: TradeBooking, text: str) -> int:
        places = places_of(booking) if self._placeless else [(booking.environment, booking.account_id)]
        return sum(self._counts[_text(*place, text)] for place in places)

    def takes_confused(self) -> bool:
        """Whether rows came under one id that no window need hold together; said once."""
        confused, self._confused = self._confused, False
        return confused


def _text(environment: str | None, account_id: str | None, text: str) -> str:
    return _digest("not understood", environment or "", account_id or "", text)


def _digest(*names: str) -> str:
    digest = hashlib.blake2b("\0".join(names).encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _cut(names: str) -> Iterator[str]:
    return (names[start : start + _DIGEST_LENGTH] for start in range(0, len(names), _DIGEST_LENGTH))


def numbered(booking: TradeBooking, number: int) -> TradeBooking:
    """One of several equal bookings; the first keeps its id."""
    if number == 1:
        return booking
    named = renamed(booking, numbered_name(booking.booking_id, number))
    other = set(names_of_content(booking))
    loose = tuple([numbered_name(ref, number) if ref in other else ref for ref in named.loose_refs])
    return attrs.evolve(named, loose_refs=loose)


def renamed(booking: TradeBooking, name: str) -> TradeBooking:
    """The booking under another id, also where its id is that of its trade."""
    old, trade = booking.booking_id, booking.trade
    if trade is not None and trade.trade_id == old:
        trade = attrs.evolve(trade, trade_id=name)
    refs = tuple(name if ref == old else ref for ref in booking.refs)
    return attrs.evolve(booking, booking_id=name, trade=trade, refs=refs)
