"""The accounts in the SQLite store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

import attrs

from brokersync.converter import from_json
from brokersync.store.rows import compact
from brokersync.types import BrokerAccount


def put_accounts(
    db: sqlite3.Connection, owner: str, provider: str, connection_id: str | None, accounts: Iterable[BrokerAccount]
) -> None:
    """Keep what the broker says of its accounts, and which connection sees them."""
    for account in accounts:
        number = account_number(db, owner, provider, account.environment, account.account_id)
        (known,) = db.execute("SELECT data FROM accounts WHERE account = ?", (number,)).fetchone()
        data = compact(account if known is None else _merged(from_json(json.loads(known), BrokerAccount), account))
        db.execute("UPDATE accounts SET data = ? WHERE account = ? AND data IS NOT ?", (data, number, data))
        if connection_id is not None:
            db.execute("INSERT OR IGNORE INTO connection_accounts VALUES (?, ?)", (connection_id, number))


def _merged(known: BrokerAccount, new: BrokerAccount) -> BrokerAccount:
    """What one source leaves out does not take back what another one told."""
    told = {name: value for name, value in attrs.asdict(new, recurse=False).items() if value is not None}
    return attrs.evolve(known, **(told | {"state": {**known.state, **new.state}}))


def account_number(db: sqlite3.Connection, owner: str, provider: str, environment: str, account_id: str) -> int:
    """The store's number of an account, given on first sight."""
    key = (owner, provider, environment, account_id)
    row = db.execute(
        "SELECT account FROM accounts WHERE owner = ? AND provider = ? AND environment = ? AND account_id = ?", key
    ).fetchone()
    if row:
        return int(row[0])
    made = db.execute("INSERT INTO accounts (owner, provider, environment, account_id) VALUES (?, ?, ?, ?)", key)
    return int(made.lastrowid or 0)
