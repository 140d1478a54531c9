"""When a day was read: from the log of syncs and of imported files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from brokersync.converter import from_json
from brokersync.records import AccountKey
from brokersync.store import Store
from brokersync.types import TimeWindow

_BATCH = 100
_FARTHEST = 5_000


@attrs.frozen(kw_only=True)
class Reading:
    """The latest sync or file that read a day in one source: what it asked for, and what it passed over."""

    at: datetime
    asked: TimeWindow
    skipped: Mapping[str, int]


def file_log(owner: str, provider: str) -> str:
    """The name under which imports of a broker's files are logged."""
    return f"file|{provider}|{owner}"


async def last_readings(
    store: Store, key: AccountKey, logs: Sequence[str], days: Mapping[str, TimeWindow]
) -> dict[str, Reading]:
    """The latest reading of a day per source, as far back as the log goes; `days` is the day in each source's zone."""
    found: dict[str, Reading] = {}
    before: int | None = None
    for _ in range(_FARTHEST // _BATCH):
        entries = await store.past_reports(logs, before=before, limit=_BATCH)
        for entry, at, report in entries:
            before = entry
            for source, reading in _readings(key, at, report, days.get):
                found.setdefault(source, reading)
        if len(entries) < _BATCH or len(found) == len(days):
            break
    return found


def _readings(
    key: AccountKey, at: str, report: Mapping[str, Any], day_of: Callable[[str], TimeWindow | None]
) -> Iterable[tuple[str, Reading]]:
    for span in report.get("spans", ()):
        day = day_of(span["source"])
        if day is None or (span["environment"], span["account_id"]) != (key.environment, key.account_id):
            continue
        if any(from_json(one, TimeWindow).overlap(day) for one in span["covered"]):
            asked = from_json(span["requested"], TimeWindow)
            yield span["source"], Reading(at=from_json(at, datetime), asked=asked, skipped=report.get("skipped", {}))
