"""Coverage as a person reads it: a bar per account, and the gaps in words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from brokersync.cli.bars import bar, bar_width, cells, legend
from brokersync.cli.coverage import AccountHistory, telling
from brokersync.cli.tables import console, plain
from brokersync.explaining import failed_parts
from brokersync.manifest import Manifest, Retention, SelectsBy, SourceSpec
from brokersync.records import SpanState
from brokersync.sync.days import stretch_text
from brokersync.sync.history import Stretch
from brokersync.sync.plan import reach
from brokersync.sync.retention import repair, way_to_read, what_may_follow
from brokersync.sync.untold_notes import closes, is_not_told
from brokersync.types import TimeWindow

if TYPE_CHECKING:
    from rich.console import Console

_MOST_GAPS = 20
_NARROWEST = 20
_INDENTS: Mapping[str, Any] = {"initial_indent": "  ", "subsequent_indent": "    "}


def show(accounts: Iterable[AccountHistory], now: datetime, *, sync_every: timedelta, by_source: bool) -> None:
    """Write every account's bar and gaps, then what the characters mean.

    What happened since the last sync is no gap until the next one, after `sync_every`, is due.
    """
    out, width = console(), bar_width()
    shown: set[str] = set()
    for one in accounts:
        known = _without_tail(one.stretches(), sync_every)
        out.print(plain(one.name, "bold"))
        if not known:
            out.print(plain(textwrap.fill(_unknown(one), max(width, _NARROWEST), **_INDENTS)))
            out.print()
            continue
        whole = TimeWindow(known[0].window.start, known[-1].window.end)
        _axis(out, whole, _zone(one.manifest, known), width)
        shown |= _bar(out, known, whole, width)
        _words(out, one, known, now, width)
        for source in telling(one.sources):
            spec = one.manifest.source(source.source)
            if by_source:
                part = _without_tail(one.stretches_of(source), sync_every)
                out.print(plain(f"{source.source}, by {_days_of(spec)}", "dim"))
                shown |= _bar(out, part, whole, width)
                _words(out, one, part, now, width, best=known)
            elif spec.selects_by is SelectsBy.BOOKED:
                out.print(plain(f"  {source.source}: its days are days of booking"))
        out.print()
    if shown:
        out.print(legend(shown))


def _unknown(one: AccountHistory) -> str:
    """What is to be said where no source has told of any day."""
    if not one.trades:
        return "nothing is known yet"
    there = "1 trade is there" if one.trades == 1 else f"{one.trades} trades are there"
    files = [source.name for source in one.manifest.sources if source.files and not source.covers]
    if one.connected or not files:
        return f"{there}, and no day has been read to its end yet"
    return (
        f"{there}, imported from files, and no day is known to be complete: {' and '.join(files)} does not tell what a "
        f"file leaves out. A connection does: brokersync connect {one.manifest.key}"
    )


def _without_tail(known: Sequence[Stretch], sync_every: timedelta) -> Sequence[Stretch]:
    kept = list(known)
    while len(kept) > 1 and _is_new(kept[-1], known[-1].window.end - sync_every):
        kept.pop()
    return kept


def _is_new(stretch: Stretch, since: datetime) -> bool:
    return stretch.state is None and stretch.due and stretch.window.start >= since


def _axis(out: Console, whole: TimeWindow, zone: str, width: int) -> None:
    first = whole.start.astimezone(ZoneInfo(zone)).date()
    last = (whole.end - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date()
    out.print(plain(f"{first}{str(last).rjust(max(width - 10, 11))}"))


def _bar(out: Console, known: Sequence[Stretch], whole: TimeWindow, width: int) -> set[str]:
    names = cells(known, whole, width)
    out.print(bar(names), no_wrap=True)
    return {name for name in names if name}


def _words(
    out: Console,
    one: AccountHistory,
    known: Sequence[Stretch],
    now: datetime,
    width: int,
    best: Sequence[Stretch] = (),
) -> None:
    lines = _lines(one, known, now, best)
    if not lines:
        out.print("  complete")
    if len(lines) > _MOST_GAPS:
        out.print(f"  {len(lines) - _MOST_GAPS} older gaps: --json shows them all")
    for window, zone, words in lines[-_MOST_GAPS:]:
        line = f"{stretch_text(window, zone)}: {words}"
        out.print(plain(textwrap.fill(line, max(width, _NARROWEST), **_INDENTS)))


def _lines(
    one: AccountHistory, known: Sequence[Stretch], now: datetime, best: Sequence[Stretch]
) -> list[tuple[TimeWindow, str, str]]:
    """The gaps, all in one zone, and what is to be said of each; the same is said once."""
    zone, lines = _zone(one.manifest, known), list[tuple[TimeWindow, str, str]]()
    for gap in known:
        if gap.state is SpanState.FINAL:
            continue
        window, words = gap.window, _meaning(one, gap, now, best)
        if lines and lines[-1][0].end == window.start and lines[-1][2] == words:
            window = TimeWindow(lines.pop()[0].start, window.end)
        lines.append((window, zone, words))
    return lines


def _meaning(one: AccountHistory, gap: Stretch, now: datetime, best: Sequence[Stretch]) -> str:
    manifest = one.manifest
    if gap.state is SpanState.LOST:
        source = manifest.source(gap.sources[0])
        return f"lost, {_keeps(manifest, source, gap.window, now)}. " + (
            _elsewhere(gap, best) or repair(manifest, source, gap.window, now)
        )
    if gap.state is SpanState.PROVISIONAL:
        sources = [manifest.source(name) for name in gap.sources]
        others = () if best else manifest.sources
        follows = what_may_follow(sources, gap.window, now, due=gap.due, connected=one.connected, others=others)
        return f"provisional: {follows}"
    if gap.state is SpanState.UNAVAILABLE:
        return f"never available from {manifest.display_name}"
    if gap.due_from:
        return f"not read yet; it is read from {gap.due_from:%Y-%m-%d %H:%M} UTC on"
    if gap.due:
        return _to_be_read(one, gap)
    to_do = _elsewhere(gap, best) or way_to_read(manifest, gap.window, now, connected=one.connected)
    return f"not read from here. {to_do}" if best else f"nobody has read it yet. {to_do}"


def _to_be_read(one: AccountHistory, gap: Stretch) -> str:
    failing = [part for name in gap.sources for part in one.failing.get(name, ()) if part.window.overlap(gap.window)]
    if not failing:
        return "not read yet; the next sync reads it"
    if all(map(closes, failing)) and not any(map(is_not_told, failing)):
        return f"not read yet: these days {failed_parts(failing)}"
    if all(map(closes, failing)):
        to_do = "If another login or query has the account now, connect that one, or import its files."
        return f"not read: {failed_parts(failing)}; once they tell of it again, these days are read. {to_do}"
    return f"not read yet: {failed_parts(failing)}; the next sync tries again"


def _elsewhere(gap: Stretch, best: Sequence[Stretch]) -> str | None:
    """Where the gap of one source was read all the same, or will be."""
    over = [one for one in best if one.window.overlap(gap.window)]
    read = [one for one in over if one.state in (SpanState.FINAL, SpanState.PROVISIONAL)]
    if over and over == read:
        return f"Read from {_names(read)}."
    later = [one.due_from for one in over if one.due_from]
    if later:
        return f"Another source gives it from {min(later):%Y-%m-%d %H:%M} UTC on."
    due = [one for one in over if one.state is None and one.due]
    if not due:
        return None
    if not read:
        return f"The next sync reads it from {_names(due)}."
    return f"Read in part from {_names(read)}; the next sync reads more of it from {_names(due)}."


def _names(stretches: Iterable[Stretch]) -> str:
    return " and ".join(sorted({name for one in stretches for name in one.sources}))


def _keeps(manifest: Manifest, source: SourceSpec, window: TimeWindow, now: datetime) -> str:
    if source.retention is Retention.SESSION:
        return f"{manifest.display_name} keeps a session only in {source.name}"
    edge = reach(source, now)
    if source.look_back is not None and edge is not None and edge > window.start:
        return f"{manifest.display_name} keeps {_length_text(source.look_back)} only in {source.name}"
    return f"{manifest.display_name} has it no more in {source.name}"


def _length_text(length: timedelta) -> str:
    number, unit = (length.days, "day") if length >= timedelta(days=1) else (length // timedelta(hours=1), "hour")
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _days_of(source: SourceSpec) -> str:
    return "day of booking" if source.selects_by is SelectsBy.BOOKED else "time of execution"


def _zone(manifest: Manifest, known: Iterable[Stretch]) -> str:
    """The one zone of a list of stretches: that of the first source that tells of any."""
    named = (one.sources[0] for one in known if one.sources)
    return manifest.source(next(named, manifest.sources[0].name)).calendar.zone
