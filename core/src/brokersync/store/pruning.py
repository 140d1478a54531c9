"""What is old enough to go, in transactions that are short."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from brokersync.converter import from_json
from brokersync.store.grants import UNFINISHED
from brokersync.store.health import drop_foreign_words
from brokersync.store.rows import sortable
from brokersync.store.sql import Fetch, Put, Script, execute

Prune = Callable[[datetime, int], Script[int]]
"""Deletes at most so many rows from before a moment, and says how many."""

_LEASES_STAY: Final = timedelta(days=1)


def prune_raw(before: datetime, limit: int) -> Script[int]:
    rows = yield Fetch(
        "DELETE FROM raw_rows WHERE booking IN (SELECT booking FROM raw_rows WHERE at < ? ORDER BY at LIMIT ?)"
        " RETURNING booking",
        (sortable(before), limit),
    )
    return len(rows)


def prune_log(before: datetime, limit: int) -> Script[int]:
    """The newest entry of a connection stays, which tells how it stands."""
    rows = yield Fetch(
        "DELETE FROM sync_log WHERE entry IN (SELECT entry FROM sync_log old WHERE at < ? AND"
        " (EXISTS (SELECT 1 FROM sync_log new WHERE new.connection_id = old.connection_id AND new.entry > old.entry)"
        " OR NOT EXISTS (SELECT 1 FROM connections WHERE connections.connection_id = old.connection_id))"
        " ORDER BY at LIMIT ?) RETURNING entry",
        (sortable(before), limit),
    )
    return len(rows)


def prune_feed(before: datetime, limit: int) -> Script[int]:
    """From the oldest on, up to the first that is young; each owner's feed begins behind what went of it."""
    # one at a time, so that where a feed begins never goes back
    yield Fetch("SELECT position FROM feed_head WHERE one = 1 {for_update}")
    rows = yield Fetch("SELECT position, owner, at FROM changes ORDER BY position LIMIT ?", (limit,))
    old = list(takewhile(lambda row: from_json(row[2], datetime) < before, rows))
    if old:
        begins = {owner: position for position, owner, _ in old}
        yield Put("feed_starts", ("owner", "kept_from"), list(begins.items()), key=("owner",), replace=True)
        yield from execute("DELETE FROM changes WHERE position <= ?", old[-1][0])
    return len(old)


def prune_rest(now: datetime) -> Script[None]:
    """What nobody needs any more: old leases, accounts that were erased and are in no feed, a broker's words.

    So go logins that were begun and not finished in time.

    And what releases before have left: jobs of connections that ended, and links between connections and accounts of
    which one is gone, or that are of two owners.
    """
    yield from drop_foreign_words()
    yield from execute("DELETE FROM leases WHERE expires_at < ?", sortable(now - _LEASES_STAY))
    yield from execute(f"DELETE FROM grants WHERE {UNFINISHED} AND expires_at < ?", sortable(now))
    yield from execute(
        "DELETE FROM connection_accounts WHERE NOT EXISTS"
        " (SELECT 1 FROM connections JOIN accounts ON accounts.owner = connections.owner"
        " WHERE connections.connection_id = connection_accounts.connection_id"
        " AND accounts.account = connection_accounts.account)"
    )
    yield from execute(
        "DELETE FROM jobs WHERE NOT EXISTS"
        " (SELECT 1 FROM connections WHERE connections.connection_id = jobs.connection_id)"
    )
    unused = " AND ".join(
        f"NOT EXISTS (SELECT 1 FROM {table} WHERE {table}.account = accounts.account)"
        for table in ("connection_accounts", "bookings", "coverage")
    )
    yield from execute(
        f"DELETE FROM accounts WHERE data IS NULL AND {unused} AND NOT EXISTS"
        " (SELECT 1 FROM changes WHERE changes.owner = accounts.owner AND changes.account = accounts.account)"
    )
