"""Sync reports as a person reads them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from brokersync.cli.spans import ZoneOf, days_text
from brokersync.cli.tables import duration_text, paragraph, show_table
from brokersync.converter import from_json
from brokersync.sync.days import stretch_text
from brokersync.types import TimeWindow

if TYPE_CHECKING:
    from brokersync.cli.sync import Result

_NUMBERS = ("fetched", "added", "modified", "unchanged", "quarantined", "requests", "retries", "waits")


def show_results(results: Sequence[Result], zone_of: ZoneOf) -> None:
    """A line of numbers per connection, then what was covered, what was new to us, and what went wrong."""
    show_table(
        ("connection", *_NUMBERS, "time"),
        [
            (
                result.connection_id,
                *(str(result.report.get(name, "")) for name in _NUMBERS),
                duration_text(timedelta(seconds=result.report.get("duration", 0))),
            )
            for result in results
        ],
        right=(*_NUMBERS, "time"),
        whole=("connection",),
        wide=("fetched", "requests", "retries"),
    )
    rows = [
        (result.connection_id, *_span(span, zone_of(result.report["provider"], span["source"])))
        for result in results
        for span in result.report.get("spans", ())
    ]
    if rows:
        sys.stdout.write("\n")
        show_table(("connection", "account", "source", "asked for", "covered"), rows)
    for result in results:
        _show_unmapped(result)
        _show_losses(result, zone_of)
        _show_problems(result)


def _span(span: Mapping[str, Any], zone: str) -> tuple[str, str, str, str]:
    return (
        f"{span['environment']} {span['account_id']}",
        span["source"],
        days_text(span["requested"], zone),
        ", ".join(days_text(window, zone) for window in span["covered"]) or "nothing",
    )


def _show_unmapped(result: Result) -> None:
    counts = sorted(result.report.get("unmapped", {}).items())
    if counts:
        sys.stdout.write("\n")
    for what, count in counts:
        paragraph(f"{result.connection_id}: new to us: {what} ({count})")


def _show_losses(result: Result, zone_of: ZoneOf) -> None:
    for one in result.report.get("lost", ()):
        window = from_json(one["window"], TimeWindow)
        days = stretch_text(window, zone_of(result.report["provider"], one["source"]))
        sys.stdout.write("\n")
        paragraph(
            f"{result.connection_id}: {one['source']} has forgotten {days} of {one['environment']} "
            f"{one['account_id']} before it was read. {one['repair']}"
        )


def _show_problems(result: Result) -> None:
    sources: dict[str, list[str]] = {}
    for one in result.report.get("problems", ()):
        # what keeps a login from being used is met by each source that is asked for, and said once
        named = sources.setdefault(f"{one['message']} {one.get('remedy', '')}", [])
        if one.get("source") and one["source"] not in named:
            named.append(one["source"])
    lines = [f"{', '.join(named)}: {text}" for text, named in sources.items()]
    if result.error is not None:
        lines.append(str(result.error))
    if result.deferred_until is not None:
        lines.append(f"Not finished: go on after {result.deferred_until:%Y-%m-%d %H:%M:%S} UTC.")
    for line in lines:
        sys.stdout.write("\n")
        paragraph(f"{result.connection_id}: {line.strip(': ')}")
