"""Windows that keep failing, per request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from brokersync.converter import from_json
from brokersync.records import FailedWindow, Lease
from brokersync.store.leases import check_lease
from brokersync.store.rows import optional_text, sortable
from brokersync.store.sql import Fetch, Put, Script, execute

_REQUEST = ("connection_id", "source", "account")


def failing(connection_id: str, source: str) -> Script[Mapping[str, tuple[FailedWindow, ...]]]:
    rows = yield Fetch(
        "SELECT account, starts, ends, failures, reason, at, not_before FROM failing_windows"
        " WHERE connection_id = ? AND source = ? ORDER BY account, starts",
        (connection_id, source),
    )
    found: dict[str, list[FailedWindow]] = {}
    for account, starts, ends, failures, reason, at, not_before in rows:
        facts = {
            "window": {"start": starts, "end": ends}, "failures": failures, "reason": reason, "at": at,
            "not_before": not_before,
        }  # fmt: skip
        found.setdefault(account, []).append(from_json(facts, FailedWindow))
    return {account: tuple(windows) for account, windows in found.items()}


def put_failing(
    connection_id: str, source: str, account: str, windows: Sequence[FailedWindow], lease: Lease | None
) -> Script[None]:
    if lease is not None:
        yield from check_lease(lease)
    key = (connection_id, source, account)
    yield from execute("DELETE FROM failing_windows WHERE connection_id = ? AND source = ? AND account = ?", *key)
    columns = (*_REQUEST, "starts", "ends", "failures", "reason", "at", "not_before")
    yield Put("failing_windows", columns, [(*key, *_values(one)) for one in windows])


def _values(one: FailedWindow) -> tuple[Any, ...]:
    starts, ends = sortable(one.window.start), sortable(one.window.end)
    return starts, ends, one.failures, one.reason, sortable(one.at), optional_text(one.not_before)
