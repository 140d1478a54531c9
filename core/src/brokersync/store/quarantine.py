"""The rows in a store that were not understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from brokersync.converter import instant_text
from brokersync.records import PageCommit
from brokersync.store.rows import compact, optional_text, pack_raw, unpack_raw
from brokersync.store.sql import Fetch, Many, Put, Script, fetch_one

_COLUMNS = (
    "owner", "provider", "source", "hash", "environment", "account_id", "reason", "as_of", "raw", "first_seen",
)  # fmt: skip
_KEY = _COLUMNS[:4]


def put_in_quarantine(page: PageCommit) -> Script[int]:
    """Keep each row once, however often it is read; the latest reading says what is wrong with it."""
    rows = {_place(page, row.raw, row.row_id): row for row in page.quarantined}
    if not rows:
        return 0
    known = yield from _known(page)
    at, made = instant_text(page.at), optional_text(page.as_of)
    told = {place: (row.environment, row.account_id, row.reason, made) for place, row in rows.items()}
    new = [(*place, *told[place], pack_raw(row.raw), at) for place, row in rows.items() if place[3] not in known]
    yield Put("quarantine", _COLUMNS, new, key=_KEY)
    # when it was made last says how its content stands to others, once it is understood
    now = {place: (*told[place][:3], _later(made, known[place[3]][3])) for place in told if place[3] in known}
    yield Many(
        "UPDATE quarantine SET environment = ?, account_id = ?, reason = ?, as_of = ?"
        " WHERE owner = ? AND provider = ? AND source = ? AND hash = ?",
        [(*said, *place) for place, said in now.items() if known[place[3]] != said],
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
        "SELECT hash, environment, account_id, reason, as_of FROM quarantine"
        " WHERE owner = ? AND provider = ? AND source = ?",
        (page.owner, page.provider, page.source),
    )
    return {bytes(row[0]): tuple(row[1:]) for row in rows}


def _later(one: str | None, other: str | None) -> str | None:
    return max(one or "", other or "") or None


def _place(page: PageCommit, raw: Mapping[str, Any], row_id: str | None = None) -> tuple[str, str, str, bytes]:
    # the broker's own row tells it from others; its id does so where nothing but an id is left of it
    told = compact(raw or [row_id])
    return (page.owner, page.provider, page.source, blake2b(told.encode(), digest_size=16).digest())
