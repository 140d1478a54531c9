"""Coverage as a person reads it: a bar per account, and the gaps in words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rich.text import Text

from brokersync.cli.bars import bar, bar_width, cells, legend
from brokersync.cli.coverage import AccountHistory, telling
from brokersync.cli.spans import stretch_text
from brokersync.cli.tables import console
from brokersync.manifest import Manifest, Retention, SelectsBy, SourceSpec
from brokersync.records import SpanState
from brokersync.sync.history import Stretch, stretches
from brokersync.sync.plan import reach
from brokersync.sync.retention import repair
from brokersync.types import TimeWindow

if TYPE_CHECKING:
    from rich.console import Console

_MOST_GAPS = 20
_NARROWEST = 20


def show(accounts: Iterable[AccountHistory], now: datetime, *, sync_every: timedelta, by_source: bool) -> None:
    """Write every account's bar and gaps, then what the characters mean.

    What happened since the last sync is no gap until the next one, after `sync_every`, is due.
    """
    out, width = console(), bar_width()
    shown: set[str] = set()
    for one in accounts:
        known = _without_tail(stretches(one.sources), sync_every)
        out.print(Text(one.name, "bold"))
        if not known:
            out.print("  nothing is known yet\n")
            continue
        whole = TimeWindow(known[0].window.start, known[-1].window.end)
        _axis(out, whole, _zone(one.manifest, known[0]), width)
        shown |= _bar(out, known, whole, width)
        _words(out, one, known, now, width)
        for source in telling(one.sources):
            spec = one.manifest.source(source.source)
            if by_source:
                part = _without_tail(stretches([source]), sync_every)
                out.print(Text(f"{source.source}, by {_days_of(spec)}", "dim"))
                shown |= _bar(out, part, whole, width)
                _words(out, one, part, now, width, best=known)
            elif spec.selects_by is SelectsBy.BOOKED:
                out.print(Text(f"  {source.source}: its days are days of booking"))
        out.print()
    if shown:
        out.print(legend(shown))


def _without_tail(known: Sequence[Stretch], sync_every: timedelta) -> Sequence[Stretch]:
    *before, last = known or (None,)
    if last is None or not before or last.state is not None or last.window.length > sync_every:
        return known
    return before


def _axis(out: Console, whole: TimeWindow, zone: str, width: int) -> None:
    first = whole.start.astimezone(ZoneInfo(zone)).date()
    last = (whole.end - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date()
    out.print(Text(f"{first}{str(last).rjust(max(width - 10, 11))}"))


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
    lines = _lines(one.manifest, known, now, best)
    if not lines:
        out.print("  complete")
    if len(lines) > _MOST_GAPS:
        out.print(f"  {len(lines) - _MOST_GAPS} older gaps: --json shows them all")
    for window, zone, words in lines[-_MOST_GAPS:]:
        line = f"{stretch_text(window, zone)}: {words}"
        out.print(Text(textwrap.fill(line, max(width, _NARROWEST), initial_indent="  ", subsequent_indent="    ")))


def _lines(
    manifest: Manifest, known: Iterable[Stretch], now: datetime, best: Sequence[Stretch]
) -> list[tuple[TimeWindow, str, str]]:
    """The gaps, in the zone of their source, and what is to be said of each; the same is said once."""
    lines: list[tuple[TimeWindow, str, str]] = []
    for gap in known:
        if gap.state is SpanState.FINAL:
            continue
        window, zone, words = gap.window, _zone(manifest, gap), _meaning(manifest, gap, now, best)
        if lines and lines[-1][0].end == window.start and lines[-1][2] == words:
            before, zone, _ = lines.pop()
            window = TimeWindow(before.start, window.end)
        lines.append((window, zone, words))
    return lines


def _meaning(manifest: Manifest, gap: Stretch, now: datetime, best: Sequence[Stretch]) -> str:
    if gap.state is SpanState.LOST:
        source = manifest.source(gap.sources[0])
        return f"lost, {_keeps(manifest, source, gap.window, now)}. {_help(manifest, source, gap, now, best)}"
    if gap.state is SpanState.PROVISIONAL:
        return "provisional, read again at the next sync" if gap.due else "provisional, and can not be read again"
    if gap.state is SpanState.UNAVAILABLE:
        return f"never available from {manifest.display_name}"
    return "not read yet"


def _help(manifest: Manifest, source: SourceSpec, gap: Stretch, now: datetime, best: Sequence[Stretch]) -> str:
    """Where the gap of one source was read all the same, else how it can be had."""
    over = [one for one in best if one.window.overlap(gap.window)]
    if over and all(one.state in (SpanState.FINAL, SpanState.PROVISIONAL) for one in over):
        return f"Read from {' and '.join(sorted({name for one in over for name in one.sources}))}."
    return repair(manifest, source, gap.window, now)


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


def _zone(manifest: Manifest, stretch: Stretch) -> str:
    return manifest.source(stretch.sources[0]).calendar.zone
