"""The answer in one sentence, from what was found. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from brokersync.converter import decimal_text
from brokersync.dispositions import Rule
from brokersync.explaining.explanation import ExplainedBooking, Explanation, SourceAnswer, SourceState
from brokersync.explaining.question import means
from brokersync.types import BrokerTrade, TimePrecision, TradeStatus

# the worst obstacle is what a person has to know first
_OBSTACLES = (
    SourceState.FAILED,
    SourceState.WAITS,
    SourceState.UNREAD,
    SourceState.PARTLY,
    SourceState.LATER,
    SourceState.LOST,
)
_READ = (SourceState.FINAL, SourceState.PROVISIONAL)
# what one source has not read is there all the same where another one has
_PASSED = (SourceState.LATER, SourceState.PARTLY)


def verdict(found: Explanation) -> str:
    """The first thing to know: it is there, it was cancelled or replaced, it was not understood, or not read."""
    # rows that belong together may come to several trades
    if named := tuple(one for one in found.trades if one.trade_id == found.trade_id):
        found = attrs.evolve(found, trades=named)
    return (
        _there(found)
        or _cancelled(found)
        or _moved(found)
        or _quarantined(found.quarantined)
        or _merged(found)
        or _not_there(found)
    )


def trade_text(trade: BrokerTrade) -> str:
    """A trade in a few words."""
    when = (
        f"{trade.trade_date or trade.executed_at.date()}"
        if trade.time_precision is TimePrecision.DAY
        else f"{trade.executed_at:%Y-%m-%d %H:%M:%S} UTC"
    )
    currency = f" {trade.instrument.currency}" if trade.instrument.currency else ""
    symbol = " ".join(trade.instrument.symbol.split())
    quantity, price = decimal_text(trade.quantity), decimal_text(trade.price)
    return f"{trade.side.value} {quantity} {symbol} at {price}{currency} on {when}"


def _there(found: Explanation) -> str:
    live = [one for one in _live(found) if found.symbol is None or means(found.symbol, one)]
    if not live:
        return ""
    if len(live) == 1:
        return f"It is there: {trade_text(live[0])}, as {live[0].trade_id}."
    return f"{len(live)} such trades are there; the first is {trade_text(live[0])}, as {live[0].trade_id}."


def _live(found: Explanation) -> list[BrokerTrade]:
    return [one for one in found.trades if one.status is TradeStatus.ACTIVE]


def _cancelled(found: Explanation) -> str:
    gone = [one for one in found.trades if one.status is TradeStatus.CANCELLED]
    if not gone:
        return ""
    cancel = next(
        (one for one in found.bookings if one.rule is Rule.CANCELS and one.trade_id == gone[0].trade_id), None
    )
    by = "" if cancel is None else f" with the row {cancel.source} {cancel.booking_id}{_read(cancel)}"
    return f"The broker cancelled it: {trade_text(gone[0])}{by}."


def _moved(found: Explanation) -> str:
    for one in found.bookings:
        if one.rule in (Rule.REPLACED, Rule.AMENDED, Rule.CANCELLED) and one.content is not None and one.by:
            now = "".join(f"; it is now {trade_text(trade)}" for trade in _live(found)[:1])
            return f"The broker booked it and then changed it: {trade_text(one.content)} was {one.words}{now}."
    waiting = [one for one in found.bookings if one.rule is Rule.WAITS]
    if waiting:
        one = waiting[0]
        return f"Only a cancel of it was read, {one.source} {one.booking_id}{_read(one)}; it waits for its trade."
    return ""


def _quarantined(rows: Sequence[Mapping[str, object]]) -> str:
    sure = [row for row in rows if row["sure"]]
    if not sure:
        return ""
    row = sure[0]
    return f"A row that is probably it was not understood, and waits in quarantine: {str(row['reason']).rstrip('.')}."


def _merged(found: Explanation) -> str:
    if found.trade_id is None:
        return ""
    return f"No trade of this account has ever been known as {found.trade_id}{_unread(found)}."


def _unread(found: Explanation) -> str:
    """That of some rows nobody knows whether they are it."""
    number = sum(bool(row["may_be"]) for row in found.quarantined)
    if not number:
        return ""
    if number == 1:
        return "; a row that was not understood waits in quarantine, and may be it"
    return f"; {number} rows that were not understood wait in quarantine, and one of them may be it"


def _not_there(found: Explanation) -> str:
    day, unread = f"{found.day}", _unread(found)
    none = "Among the rows that were understood there is no such trade" if unread else "There is no such trade"
    read = [one for one in found.sources if one.state in _READ]
    standing = [one for one in found.sources if one.state in _OBSTACLES]
    final = [one for one in read if one.state is SourceState.FINAL]
    certain = [one for one in final if not _doubts([one])]
    if certain:
        return f"{none}: {day} was read completely from {_sources(certain)} and held no row for {found.symbol}{unread}."
    if final:
        return (
            f"{none} so far: {day} was read completely from {_sources(final)} and held no row for {found.symbol}, "
            f"but {', and '.join(_doubts(final))}{unread}."
        )
    if read and all(one.state in _PASSED for one in standing):
        around = _around(read)
        but = f"; {around}" if around else ""
        return (
            f"{none} so far: {day} was read from {_sources(read)} and held no row for {found.symbol}, "
            f"and it is still provisional{but}{unread}."
        )
    for state in _OBSTACLES:
        for one in standing:
            if one.state is state:
                return _OF_STATE[state].format(day=day, source=one.source, words=one.words.rstrip("."))
    if all(one.state is SourceState.FUTURE for one in found.sources):
        return f"{day} has not begun."
    words = dict.fromkeys(one.words.rstrip(".") for one in found.sources)
    return f"Nobody has read {day}: {'; '.join(words)}."


def _doubts(answers: Sequence[SourceAnswer]) -> list[str]:
    """Where a trade of the day may stand all the same, as clauses."""
    later = [one.unread_after for one in answers if one.unread_after]
    booked = f"a trade of that day may be booked on a later one, and {min(later)} is not read yet" if later else ""
    return [clause for clause in (booked, _around(answers)) if clause]


def _around(answers: Sequence[SourceAnswer]) -> str:
    """The hours around the day that none of these sources has read, where a trade of it may lie, as a clause."""
    unread = min((one.unread_beside for one in answers), key=len)
    if not unread:
        return ""
    return f"by another calendar a trade of that day may lie in hours that are not read completely: {'; '.join(unread)}"


_OF_STATE = {
    SourceState.FAILED: "{day} could not be read so far from {source}: {words}.",
    SourceState.WAITS: "{day} is being read from {source}: {words}.",
    SourceState.UNREAD: "{day} has not been read yet from {source}: {words}.",
    SourceState.LATER: "{day} has not been read yet from {source}: {words}.",
    SourceState.PARTLY: "{day} was read in part only from {source}: {words}.",
    SourceState.LOST: "{day} can not be had any more from {source}: {words}.",
}


def _sources(answers: Sequence[SourceAnswer]) -> str:
    named = [f"{one.source}{_when(one.read_at)}" for one in answers]
    return " and ".join((", ".join(named[:-1]), named[-1])) if len(named) > 1 else named[0]


def _read(one: ExplainedBooking) -> str:
    return _when(one.read_at, ", read")


def _when(moment: datetime | None, before: str = "") -> str:
    return f"{before} on {moment:%Y-%m-%d %H:%M} UTC" if moment else ""
