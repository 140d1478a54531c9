"""`brokersync sync`: bring connections up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import attrs
from cyclopts import Parameter

from brokersync.cli.common import Owned, finish, parse_day, print_json
from brokersync.cli.exits import Exit, exit_of
from brokersync.errors import BrokerConfigError, BrokerError, StoreError

if TYPE_CHECKING:
    from brokersync.events import EventSink
    from brokersync.records import Connection, Deferred, Done
    from brokersync.service import BrokerSync


@attrs.frozen(kw_only=True)
class Result:
    """How the sync of one connection ended; `report` sums up all its parts."""

    connection_id: str
    report: Mapping[str, Any]
    deferred_until: datetime | None = None
    error: BrokerError | None = None

    @property
    def exit(self) -> Exit:
        if self.error is not None:
            return exit_of(self.error)
        if self.deferred_until is not None:
            return Exit.LATER
        return Exit.PARTLY if self.report.get("problems") else Exit.DONE


def sync(
    *connections: str,
    source: Annotated[tuple[str, ...], Parameter(help="Only this source of the broker.", negative="")] = (),
    again_from: Annotated[str | None, Parameter(help="Read again from this day on, covered or not.")] = None,
    wait: Annotated[int, Parameter(help="Seconds to wait at most for a busy broker; 0 comes back at once.")] = 900,
    common: Owned = Owned(),
) -> int:
    """Bring connections up to date: all of yours, or those named.

    Repeating it is safe at any time: what is stored is not stored twice, and what was interrupted goes on.
    """
    return finish(_sync(connections, source, again_from, timedelta(seconds=wait), common), common)


async def _sync(
    names: Sequence[str], sources: Sequence[str], again_from: str | None, wait: timedelta, common: Owned
) -> int:
    from brokersync.cli.progress import SyncProgress
    from brokersync.cli.spans import zones

    start = parse_day(again_from, "--again-from") if again_from else None
    async with common.open() as bs:
        chosen = await _chosen(bs, names, common.owner)
        with SyncProgress(chosen) as progress:
            results = await sync_all(bs, chosen, events=progress, sources=sources or None, again_from=start, wait=wait)
        with suppress(StoreError):  # what is too old to keep is in nobody's way; the next sync tries again
            await bs.prune()
        zone_of = zones(bs.registry)
    if common.json:
        print_json({"syncs": [as_json(result) for result in results]})
    else:
        from brokersync.cli.reports import show_results

        show_results(results, zone_of)
    return max((result.exit for result in results), default=Exit.DONE)


async def _chosen(bs: BrokerSync, names: Sequence[str], owner: str) -> list[Connection]:
    mine = await bs.connections(owner)
    if not names:
        if not mine:
            raise BrokerConfigError(
                f"{owner!r} has no connection.", remedy="Connect a broker with: brokersync connect BROKER"
            )
        return list(mine)
    known = {one.connection_id: one for one in mine}
    for name in names:
        if name not in known:
            raise BrokerConfigError(
                f"{owner!r} has no connection {name!r}.", remedy=f"Known are: {', '.join(known) or 'none'}."
            )
    return [known[name] for name in dict.fromkeys(names)]


async def sync_all(
    bs: BrokerSync,
    connections: Sequence[Connection],
    *,
    events: EventSink,
    sources: Sequence[str] | None = None,
    again_from: datetime | None = None,
    wait: timedelta = timedelta(minutes=15),
) -> list[Result]:
    """Sync connections side by side; one that is deferred is taken up again until `wait` is over."""
    return await asyncio.gather(
        *(_one(bs, connection, events, sources, again_from, wait) for connection in connections)
    )


async def _one(
    bs: BrokerSync,
    connection: Connection,
    events: EventSink,
    sources: Sequence[str] | None,
    again_from: datetime | None,
    wait: timedelta,
) -> Result:
    name, began = connection.connection_id, datetime.now(UTC)
    parts: list[Mapping[str, Any]] = []
    while True:
        try:
            outcome: Done | Deferred = await bs.run(
                name, owner=connection.owner, sources=sources, again_from=again_from, events=events
            )
        except BrokerError as error:
            return Result(connection_id=name, report=_sum(parts), error=error)
        parts.append(_as_report(outcome))
        until = getattr(outcome, "until", None)
        if until is None:
            took = (datetime.now(UTC) - began).total_seconds()
            return Result(connection_id=name, report=_sum(parts) | {"duration": took})
        if until - began > wait:
            return Result(connection_id=name, report=_sum(parts), deferred_until=until)
        await asyncio.sleep(max((until - datetime.now(UTC)).total_seconds(), 0))


def _as_report(outcome: Done | Deferred) -> dict[str, Any]:
    from brokersync.converter import to_json

    report: dict[str, Any] = to_json(outcome.report)
    return report


_SUMMED = ("duration", "waited", "pages", "rows", "fetched", "added", "modified", "removed", "unchanged", "quarantined",
           "waiting", "requests", "retries", "waits")  # fmt: skip


def _sum(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One report over the parts of a deferred sync; problems are those of the last part, the others were overcome."""
    if not parts:
        return {}
    total = dict(parts[-1])
    for name in _SUMMED:
        total[name] = sum(part[name] for part in parts)
    for name in ("dispositions", "skipped", "unmapped"):
        total[name] = _added_up([part[name] for part in parts])
    total["started_at"] = parts[0]["started_at"]
    total["spans"] = _joined_spans(parts)
    total["lost"] = [span for part in parts for span in part["lost"]]
    return total


def _added_up(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = {name for count in counts for name in count}
    return {name: sum(count.get(name, 0) for count in counts) for name in sorted(names)}


def _joined_spans(parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for part in parts:
        for span in part["spans"]:
            key = (span["source"], span["environment"], span["account_id"])
            known = found.setdefault(key, {**span, "covered": []})
            known["requested"] = {
                "start": min(known["requested"]["start"], span["requested"]["start"]),
                "end": max(known["requested"]["end"], span["requested"]["end"]),
            }
            known["covered"] = _union_text([*known["covered"], *span["covered"]])
    return [found[key] for key in sorted(found)]


def _union_text(spans: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    joined: list[dict[str, str]] = []
    for span in sorted(spans, key=lambda one: one["start"]):
        if joined and span["start"] <= joined[-1]["end"]:
            joined[-1]["end"] = max(joined[-1]["end"], span["end"])
        else:
            joined.append(dict(span))
    return joined


def as_json(result: Result) -> dict[str, Any]:
    """The result as the JSON document shows it."""
    from brokersync.converter import instant_text

    return {
        "connection_id": result.connection_id,
        "outcome": "failed" if result.error else "deferred" if result.deferred_until else "done",
        "until": instant_text(result.deferred_until) if result.deferred_until else None,
        "error": result.error.describe() if result.error else None,
        "report": dict(result.report) or None,
    }
