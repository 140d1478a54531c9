"""What became of each raw row, and by which rule."""

from __future__ import annotations

from enum import StrEnum

import attrs

from brokersync.types import BrokerTrade


class Disposition(StrEnum):
    """What became of one raw row of a sync or a file; each row has exactly one.

    `stored` is news that stands, `same` is known already or told better by another source, `superseded` was replaced or
    cancelled by a row that is there too, `outdated` is what the broker itself told otherwise later. A cancel that is
    `waiting` has not met its trade yet. The rest was passed over as `not_an_execution`, or put in quarantine.
    """

    STORED = "stored"
    SAME = "same"
    SUPERSEDED = "superseded"
    OUTDATED = "outdated"
    WAITING = "waiting"
    NOT_AN_EXECUTION = "not_an_execution"
    QUARANTINED = "quarantined"


class Rule(StrEnum):
    """Which rule of the fold decided what a booking is to its trade."""

    GIVES_CONTENT = "gives_content"
    TOLD_BETTER = "told_better"
    REPLACED = "replaced"
    AMENDED = "amended"
    CANCELLED = "cancelled"
    CANCELS = "cancels"
    WAITS = "waits"


_DISPOSITIONS = {
    Rule.GIVES_CONTENT: Disposition.STORED,
    Rule.TOLD_BETTER: Disposition.SAME,
    Rule.REPLACED: Disposition.SUPERSEDED,
    Rule.AMENDED: Disposition.SUPERSEDED,
    Rule.CANCELLED: Disposition.SUPERSEDED,
    Rule.CANCELS: Disposition.STORED,
    Rule.WAITS: Disposition.WAITING,
}


@attrs.frozen
class BookingName:
    """A booking within its account: its source, and its id there."""

    source: str
    booking_id: str


@attrs.frozen(kw_only=True)
class Ruling:
    """What a booking is to the trade `trade_id`: `rule` decided, and `by` is the other booking that it speaks of.

    That is the one that tells it better, replaced, amended or cancelled it, or, of a cancel, the one it cancels.
    """

    booking: BookingName
    rule: Rule
    trade_id: str | None = None
    by: BookingName | None = None

    @property
    def disposition(self) -> Disposition:
        """The same in the words of a sync's report."""
        return _DISPOSITIONS[self.rule]


@attrs.frozen
class Folded:
    """The trades that a set of bookings stands for, and the ruling on each of these bookings."""

    trades: tuple[BrokerTrade, ...]
    rulings: tuple[Ruling, ...]
