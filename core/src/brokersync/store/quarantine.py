"""The rows in a store that were not understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from brokersync.converter import instant_text
from brokersync.records import PageCommit
from brokersync.store.rows import compact, pack_raw, unpack_raw
from brokersync.store.sql import Fetch, Many, Put, Script, fetch_one
from brokersync.types import QuarantinedRow

_COLUMNS = (
    "owner", "provider", "source", "hash", "environment", "account_id", "reason", "raw", "first_seen",
)  # fmt: skip
_KEY = _COLUMNS[:4]


def put_in_quarantine(page: PageCommit) -> Script[int]:
    """Keep each row once, however often it is read; the latest reading says what is wrong with it."""
    rows = {_place(page, row.raw, row.row_id): row for row in page.quarantined}
    if not rows:
        return 0
    known = yield from _known(page)
    at = instant_text(page.at)
    new = [_values(place, row, at) for place, row in rows.items() if place[3] not in known]
    yield Put("quarantine", _COLUMNS, new, key=_KEY)
    changed = [
        (row.environment, row.account_id, row.reason, *place)
        for place, row in rows.items()
        if known.get(place[3], _said(row)) != _said(row)
    ]
    yield Many(
        "UPDATE quarantine SET environment = ?, account_id = ?, reason = ?"
        " WHERE owner = ? AND provider = ? AND source = ? AND hash = ?",
        changed,
    )
    return len(page.quarantined)


def release(page: PageCommit, understood: Iterable[Mapping[str, Any]]) -> Script[None]:
    """Take out the rows that are understood by now."""
    found = yield from fetch_one(
        "SELECT 1 FROM quarantine WHERE owner = ? AND provider = ? AND source = ? LIMIT 1",
        *(page.owner, page.provider, page.source),
    )
    if found is None:
        return
    yield Many(
        "DELETE FROM quarantine WHERE owner = ? AND provider = ? AND source = ? AND hash = ?",
        [_place(page, raw) for raw in understood],
    )


def quarantined(owner: str) -> Script[tuple[Mapping[str, Any], ...]]:
    rows = yield Fetch(
        "SELECT provider, source, account_id, reason, raw, first_seen FROM quarantine"
        " WHERE owner = ? ORDER BY first_seen, provider, source, hash",
        (owner,),
    )
    names = ("provider", "source", "account_id", "reason", "raw", "first_seen")
    return tuple(dict(zip(names, (*row[:4], unpack_raw(row[4]), row[5]), strict=True)) for row in rows)


def _known(page: PageCommit) -> Script[dict[bytes, tuple[str | None, ...]]]:
    rows = yield Fetch(
        "SELECT hash, environment, account_id, reason FROM quarantine WHERE owner = ? AND provider = ? AND source = ?",
        (page.owner, page.provider, page.source),
    )
    return {bytes(row[0]): tuple(row[1:]) for row in rows}


def _said(row: QuarantinedRow) -> tuple[str | None, ...]:
    return (row.environment, row.account_id, row.reason)


def _values(place: tuple[str, str, str, bytes], row: QuarantinedRow, at: str) -> Sequence[Any]:
    return (*place, row.environment, row.account_id, row.reason, pack_raw(row.raw), at)


def _place(page: PageCommit, raw: Mapping[str, Any], row_id: str | None = None) -> tuple[str, str, str, bytes]:
    # the broker's own row tells it from others; its id does so where nothing but an id is left of it
    told = compact(raw or [row_id])
    return (page.owner, page.provider, page.source, blake2b(told.encode(), digest_size=16).digest())
