"""The end of a connection, of its accounts, and of everything of an owner."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from brokersync.converter import from_json, instant_text
from brokersync.records import Connection, Disconnected
from brokersync.store.eras import end_era, shut_gate
from brokersync.store.health import drop_foreign_words
from brokersync.store.keys import hold_key
from brokersync.store.sql import Fetch, Script, execute, fetch_one

_OWN = "owner = ?"
_OF_CONNECTIONS = "connection_id IN (SELECT connection_id FROM connections WHERE owner = ?)"
_OF_ACCOUNTS = "account IN (SELECT account FROM accounts WHERE owner = ?)"

# every table of the schema stands in one of these three; the order is that of deletion
LOGINS: Final[Mapping[str, str]] = {
    "owner_keys": _OWN,
    "leases": _OWN,
    "grants": _OWN,
    "open_requests": _OF_CONNECTIONS,
    "finished_windows": _OF_CONNECTIONS,
    "failing_windows": _OF_CONNECTIONS,
    "bookmarks": _OF_CONNECTIONS,
    # a release before could leave some whose connection has gone
    "connection_accounts": f"({_OF_CONNECTIONS} OR {_OF_ACCOUNTS})",
    "jobs": _OWN,
    "sync_log": _OWN,
    # it is read again when it is needed, and which instruments were looked up would tell who traded what
    "reference_data": "provider IN (SELECT provider FROM connections WHERE owner = ?"
    " UNION SELECT provider FROM accounts WHERE owner = ?)",
    "connections": _OWN,
}
HISTORY: Final[Mapping[str, str]] = {
    "raw_rows": f"booking IN (SELECT booking FROM bookings WHERE {_OF_ACCOUNTS})",
    "booking_names": _OF_ACCOUNTS,
    "bookings": _OF_ACCOUNTS,
    "trades": _OF_ACCOUNTS,
    "changes": _OWN,
    "feed_starts": _OWN,
    "coverage": _OF_ACCOUNTS,
    "quarantine": _OWN,
    "accounts": _OWN,
}
# of an environment as a whole is known that it is away, and how many connections of whomever wait for it
NOBODYS: Final = ("store_layout", "feed_head", "environment_health", "environment_incidents")

# what a connection leaves behind when it ends, but for its accounts and its reports
OF_CONNECTION: Final = (
    "open_requests",
    "finished_windows",
    "failing_windows",
    "bookmarks",
    "connection_accounts",
    "jobs",
)


def shut_out(owner: str) -> Script[dict[str, int]]:
    """Destroy the owner's data key, and end every login and all work on it; how many rows went."""
    yield from hold_key(owner)
    yield from shut_gate(owner)
    # whoever holds one of these ends before, and whoever wants one finds it gone
    yield Fetch("SELECT name FROM leases WHERE owner = ? ORDER BY name {for_update}", (owner,))
    yield Fetch("SELECT connection_id FROM connections WHERE owner = ? ORDER BY connection_id {for_update}", (owner,))
    return (yield from _delete(LOGINS, owner))


def erase(owner: str) -> Script[dict[str, int]]:
    """Delete everything of an owner; how many rows went.

    Who has connected since the owner was shut out is so, too: half of what that made would else stay, and point at
    accounts whose numbers others are given.
    """
    # first: who changes an environment's health goes on to connections
    yield from drop_foreign_words()
    logins = yield from shut_out(owner)
    yield Fetch("SELECT account FROM accounts WHERE owner = ? ORDER BY account {for_update}", (owner,))
    return logins | (yield from _delete(HISTORY, owner))


def _delete(tables: Mapping[str, str], owner: str) -> Script[dict[str, int]]:
    gone = {}
    for table, whose in tables.items():
        params = (owner,) * whose.count("?")
        row = yield from fetch_one(f"SELECT count(*) FROM {table} WHERE {whose}", *params)
        gone[table] = int(row[0])
        yield from execute(f"DELETE FROM {table} WHERE {whose}", *params)
    return gone


def disconnect(connection: Connection, *, erase: bool, at: datetime) -> Script[Disconnected | None]:
    """End a connection; with `erase` the accounts go that no other one sees. `None` when it has gone already."""
    name, owner = connection.connection_id, connection.owner
    # first: a worker that is at it commits before this or never
    yield from _let_nothing_begin(owner)
    yield from execute("DELETE FROM leases WHERE name = ?", f"sync|{name}")
    row = yield from fetch_one(
        "SELECT data FROM connections WHERE connection_id = ? AND owner = ? {for_update}", name, owner
    )
    if row is None:
        return None
    alone = (yield from _alone(connection)) if erase else []
    for table in OF_CONNECTION:
        yield from execute(f"DELETE FROM {table} WHERE connection_id = ?", name)
    yield from execute("DELETE FROM connections WHERE connection_id = ?", name)
    yield from _drop_grant(from_json(json.loads(row[0]), Connection))
    if not erase:
        return Disconnected()
    yield from end_era(owner, connection.provider)
    yield from execute("DELETE FROM sync_log WHERE connection_id = ?", name)
    yield from _drop_strays(owner, connection.provider)
    return Disconnected(accounts=len(alone), trades=(yield from _erase_accounts(owner, alone, at)))


def _let_nothing_begin(owner: str) -> Script[None]:
    """No lease or era of the owner begins until the transaction ends: a lease not taken yet is no row to be locked."""
    yield Fetch("SELECT 1 FROM owner_keys WHERE owner = ? {for_update}", (owner,))
    yield from shut_gate(owner)


def shares_grant(connection: Connection) -> Script[bool]:
    """Whether another connection of the owner uses the same login."""
    rows = yield Fetch(
        "SELECT data FROM connections WHERE owner = ? AND provider = ? AND identity = ? AND connection_id <> ?",
        (connection.owner, connection.provider, connection.identity, connection.connection_id),
    )
    others = (from_json(json.loads(row[0]), Connection) for row in rows)
    return any(other.grant_environment == connection.grant_environment for other in others)


def _drop_grant(of: Connection) -> Script[None]:
    if not (yield from shares_grant(of)):
        yield from execute(
            "DELETE FROM grants WHERE owner = ? AND provider = ? AND environment = ? AND identity = ?",
            *(of.owner, of.provider, of.grant_environment, of.identity),
        )


def _alone(of: Connection) -> Script[list[int]]:
    """The owner's accounts that no other connection of the owner sees."""
    # a release before could leave links of connections that have gone, and to accounts of another owner
    rows = yield Fetch(
        "SELECT account FROM connection_accounts mine WHERE connection_id = ?"
        " AND account IN (SELECT account FROM accounts WHERE owner = ?) AND NOT EXISTS"
        " (SELECT 1 FROM connection_accounts other JOIN connections ON"
        " connections.connection_id = other.connection_id AND connections.owner = ?"
        " WHERE other.account = mine.account AND other.connection_id <> mine.connection_id)",
        (of.connection_id, of.owner, of.owner),
    )
    return [int(row[0]) for row in rows]


def _drop_strays(owner: str, provider: str) -> Script[None]:
    """Rows that were not understood and name no account are somebody's of the last connection only."""
    yield from execute(
        "DELETE FROM quarantine WHERE owner = ? AND provider = ? AND account_id IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM connections WHERE connections.owner = ? AND connections.provider = ?)",
        *(owner, provider, owner, provider),
    )


def _erase_accounts(owner: str, accounts: Sequence[int], at: datetime) -> Script[int]:
    """Take everything out of accounts. Their rows stay, empty, since the feed says what was removed from where."""
    if not accounts:
        return 0
    rows = yield Fetch(
        "SELECT provider, environment, account_id FROM accounts WHERE account IN (??) ORDER BY account {for_update}",
        (list(accounts),),
    )
    for provider, environment, account_id in rows:
        yield from execute(
            "DELETE FROM quarantine WHERE owner = ? AND provider = ? AND account_id = ?"
            " AND coalesce(environment, ?) = ?",
            *(owner, provider, account_id, environment, environment),
        )
    held = (list(accounts),)
    yield Fetch("DELETE FROM raw_rows WHERE booking IN (SELECT booking FROM bookings WHERE account IN (??))", held)
    for table in ("booking_names", "bookings", "coverage"):
        yield Fetch(f"DELETE FROM {table} WHERE account IN (??)", held)
    yield Fetch("UPDATE accounts SET data = NULL WHERE account IN (??)", held)
    return (yield from _remove_trades(owner, accounts, at))


def _remove_trades(owner: str, accounts: Sequence[int], at: datetime) -> Script[int]:
    row = yield from fetch_one("SELECT count(*) FROM trades WHERE account IN (??)", list(accounts))
    trades = int(row[0])
    if trades:
        head = yield from fetch_one(
            "UPDATE feed_head SET position = position + ? WHERE one = 1 RETURNING position", trades
        )
        yield Fetch(
            "INSERT INTO changes (position, owner, account, trade_id, kind, cause, revision, at, merged_into)"
            " SELECT row_number() OVER (ORDER BY account, trade_id) + CAST(? AS BIGINT), CAST(? AS TEXT), account,"
            " trade_id, 'removed', 'erased', revision, CAST(? AS TEXT), NULL FROM trades WHERE account IN (??)",
            (head[0] - trades, owner, instant_text(at), list(accounts)),
        )
        yield Fetch("DELETE FROM trades WHERE account IN (??)", (list(accounts),))
    return trades
