"""The rows behind trades, each with the rule that decided: from the fold itself. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from brokersync.converter import from_json
from brokersync.dispositions import BookingName, Folded, Rule, Ruling
from brokersync.explaining.explanation import ExplainedBooking
from brokersync.records import KeptBooking
from brokersync.store import StoredBooking
from brokersync.sync.fold import fold
from brokersync.types import BookingEffect, BrokerTrade, FeesMode, TimeWindow


def explained(
    rows: Iterable[StoredBooking], precedence: Callable[[str], int]
) -> tuple[tuple[BrokerTrade, ...], tuple[ExplainedBooking, ...]]:
    """The trades that the rows come to, and each row with its ruling, in the order in which they first came."""
    sets: dict[int, list[StoredBooking]] = {}
    for row in rows:
        sets.setdefault(row.set_id, []).append(row)
    trades: list[BrokerTrade] = []
    found: list[ExplainedBooking] = []
    for members in sets.values():
        folded = _folded(members, precedence)
        trades += folded.trades
        rulings = {(one.booking.source, one.booking.booking_id): one for one in folded.rulings}
        for row in members:
            ruling = rulings[row.source, row.booking.booking_id]
            of_trade = [
                one for one in members if rulings[one.source, one.booking.booking_id].trade_id == ruling.trade_id
            ]
            found.append(_explained(row, ruling, of_trade, precedence))
    return tuple(trades), tuple(found)


def _folded(members: Iterable[StoredBooking], precedence: Callable[[str], int]) -> Folded:
    return fold(
        [
            KeptBooking(
                source=row.source,
                version=row.version,
                precedence=precedence(row.source),
                booking=row.booking,
                as_of=row.as_of,
            )
            for row in members
        ]
    )


def _explained(
    row: StoredBooking, ruling: Ruling, members: Iterable[StoredBooking], precedence: Callable[[str], int]
) -> ExplainedBooking:
    asked = row.origin.get("window")
    return ExplainedBooking(
        source=row.source,
        booking_id=row.booking.booking_id,
        effect=row.booking.effect,
        rule=ruling.rule,
        disposition=ruling.disposition,
        words=_words(row, ruling, members, precedence),
        trade_id=ruling.trade_id,
        by=None if ruling.by is None else f"{ruling.by.source} {ruling.by.booking_id}",
        version=row.version,
        read_at=from_json(row.origin["at"], datetime) if "at" in row.origin else None,
        asked=from_json({"start": asked[0], "end": asked[1]}, TimeWindow) if asked else None,
        file=row.origin.get("file") or None,
        as_of=row.as_of,
        content=row.booking.trade,
        raw=row.raw,
    )


def _words(
    row: StoredBooking, ruling: Ruling, members: Iterable[StoredBooking], precedence: Callable[[str], int]
) -> str:
    other = "" if ruling.by is None else f"{ruling.by.source} {ruling.by.booking_id}"
    if ruling.rule is Rule.TOLD_BETTER and ruling.by is not None:
        return f"the same as {other}, which is taken because {_better(row, ruling.by, members, precedence)}"
    if ruling.rule is Rule.GIVES_CONTENT:
        return _content_words(row, members)
    if ruling.rule is Rule.CANCELS:
        return f"cancels {other}" if other else "a cancel more than there are bookings to cancel"
    return _OF_RULE[ruling.rule].format(other=other)


def _better(
    row: StoredBooking, by: BookingName, members: Iterable[StoredBooking], precedence: Callable[[str], int]
) -> str:
    mine, theirs = precedence(row.source), precedence(by.source)
    if mine != theirs:
        return f"its source counts more ({theirs} against {mine})"
    if by.booking_id != row.booking.booking_id:
        return "it tells the same row with more columns"
    made = next(
        (one.as_of for one in members if (one.source, one.booking.booking_id) == (by.source, by.booking_id)), None
    )
    if made == row.as_of:
        return "nothing says which of the two is newer"
    return "the broker made it later" if row.as_of else "it says when the broker made it"


_OF_RULE: Mapping[Rule, str] = {
    Rule.REPLACED: "replaced by {other}",
    Rule.AMENDED: "completed by {other}, which tells more of the trade",
    Rule.CANCELLED: "cancelled by {other}",
    Rule.WAITS: "a cancel that waits for the row that it cancels",
}


def _content_words(row: StoredBooking, members: Iterable[StoredBooking]) -> str:
    others = [one for one in members if one is not row and one.booking.effect is not BookingEffect.CANCEL]
    if row.booking.fees_mode is FeesMode.PART and len(list(members)) > 1:
        return "gives the trade its content; the fees are the sum of all its rows"
    if row.version > 1 and row.as_of is not None:
        return f"gives the trade its content, in the latest of the {row.version} versions that were read"
    return "gives the trade its content" + (", as the last word on it" if others else "")
