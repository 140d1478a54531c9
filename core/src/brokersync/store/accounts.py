"""The accounts in a store: their numbers, what is known of them, and which connection sees them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from brokersync.converter import from_json, to_json
from brokersync.records import AccountKey
from brokersync.store.rows import compact, sortable
from brokersync.store.sql import Fetch, Many, Put, Script, fetch_one
from brokersync.types import BrokerAccount

Names = tuple[str, str]
"""An account within an owner's broker: environment and account id."""

_STATE: Final = "state"
# beside an account's facts: when the broker said each of them
_MADE: Final = "made"


def numbers_of(owner: str, provider: str, names: Iterable[Names]) -> Script[dict[Names, int]]:
    """The store's numbers of accounts, given on first sight; their rows are locked until the transaction ends."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    found = yield from _known(owner, provider, wanted)
    missing = [name for name in wanted if name not in found]
    if missing:
        columns = ("owner", "provider", "environment", "account_id")
        yield Put("accounts", columns, [(owner, provider, *name) for name in missing], key=columns)
        found = yield from _known(owner, provider, wanted)
    return found


def _known(owner: str, provider: str, names: Iterable[Names]) -> Script[dict[Names, int]]:
    wanted = set(names)
    rows = yield Fetch(
        "SELECT environment, account_id, account FROM accounts"
        " WHERE owner = ? AND provider = ? AND account_id IN (??) ORDER BY account {for_update}",
        (owner, provider, sorted({account_id for _, account_id in wanted})),
    )
    return {(row[0], row[1]): row[2] for row in rows if (row[0], row[1]) in wanted}


def own_accounts(owner: str) -> Script[None]:
    """Lock all accounts of an owner, whichever the broker, in the order in which others lock some of them."""
    yield Fetch("SELECT account FROM accounts WHERE owner = ? ORDER BY account {for_update}", (owner,))


def put_accounts(
    owner: str, provider: str, connection_id: str | None, accounts: Iterable[BrokerAccount], at: datetime
) -> Script[None]:
    """Keep what the broker says of its accounts now, and which connection sees them."""
    if connection_id is not None:
        row = yield from fetch_one("SELECT 1 FROM connections WHERE connection_id = ? {for_update}", connection_id)
        if row is None:
            return  # it has ended, and must leave nothing behind
    told = {(account.environment, account.account_id): account for account in accounts}
    numbers = yield from numbers_of(owner, provider, told)
    yield from describe(numbers, told, sortable(at))
    if connection_id is not None:
        yield from link(connection_id, numbers.values())


def describe(numbers: Mapping[Names, int], told: Mapping[Names, BrokerAccount], made: str | None) -> Script[None]:
    """Keep what the broker said of accounts that have their numbers; `made` is when, where that is told."""
    if not told:
        return
    rows = yield Fetch("SELECT account, data FROM accounts WHERE account IN (??)", ([numbers[name] for name in told],))
    known = {row[0]: row[1] for row in rows}
    changed = []
    for name, account in told.items():
        before = json.loads(known[numbers[name]] or "{}")
        after = _merged(before, to_json(account), made or "")
        if before != after:  # that the same was said again later counts too: what is read next may be older than that
            changed.append((compact(after), numbers[name]))
    yield Many("UPDATE accounts SET data = ? WHERE account = ?", changed)


def link(connection_id: str, numbers: Iterable[int]) -> Script[None]:
    """Note that a connection sees these accounts."""
    rows = yield Fetch("SELECT account FROM connection_accounts WHERE connection_id = ?", (connection_id,))
    new = sorted(set(numbers) - {row[0] for row in rows})
    columns = ("connection_id", "account")
    yield Put("connection_accounts", columns, [(connection_id, number) for number in new], key=columns)


def _merged(before: dict[str, Any], new: dict[str, Any], made: str) -> dict[str, Any]:
    """Of each fact what was said last, whichever was read last; what is left out takes back nothing.

    What has no time stands against nothing that has one.
    """
    stamps = before.get(_MADE, {})

    def said(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        last = {name: value for name, value in facts.items() if made >= stamps.get(prefix + name, "")}
        return {name: value for name, value in last.items() if value is not None}

    facts, state = said({name: new[name] for name in new if name != _STATE}), said(new[_STATE], f"{_STATE}.")
    dated = dict.fromkeys([*facts, *(f"{_STATE}.{name}" for name in state)], made)
    return {**new, **before, **facts, _STATE: before.get(_STATE, {}) | state, _MADE: stamps | dated}


def accounts(connection_id: str) -> Script[tuple[BrokerAccount, ...]]:
    rows = yield Fetch(
        "SELECT accounts.data, accounts.environment, account_id FROM accounts"
        " JOIN connection_accounts ON connection_accounts.account = accounts.account"
        # a release before could leave a link to an account of another owner
        " JOIN connections ON connections.connection_id = connection_accounts.connection_id"
        " AND connections.owner = accounts.owner"
        " WHERE connections.connection_id = ? ORDER BY accounts.environment, account_id",
        (connection_id,),
    )
    return tuple(_account(*row) for row in rows)


def account_names(owner: str) -> Script[dict[AccountKey, str | None]]:
    rows = yield Fetch(
        "SELECT provider, environment, account_id, data FROM accounts WHERE owner = ?"
        " ORDER BY provider, environment, account_id",
        (owner,),
    )
    return {
        AccountKey(owner=owner, provider=row[0], environment=row[1], account_id=row[2]): (
            json.loads(row[3]).get("name") if row[3] else None
        )
        for row in rows
    }


_READ_BY_ANOTHER: Final = "SELECT account FROM connection_accounts WHERE connection_id <> ?"


def known_accounts(owner: str, provider: str, not_read_but_by: str | None) -> Script[tuple[BrokerAccount, ...]]:
    where, values = "owner = ? AND provider = ?", [owner, provider]
    if not_read_but_by is not None:
        where += f" AND account NOT IN ({_READ_BY_ANOTHER})"
        values.append(not_read_but_by)
    rows = yield Fetch(
        f"SELECT data, environment, account_id FROM accounts WHERE {where} ORDER BY environment, account_id", values
    )
    return tuple(_account(*row) for row in rows)


def _account(data: str | None, environment: str, account_id: str) -> BrokerAccount:
    if not data:
        return BrokerAccount(account_id=account_id, environment=environment)
    return from_json(json.loads(data), BrokerAccount)


def account_number(owner: str, provider: str, environment: str, account_id: str) -> Script[int | None]:
    """The number of an account, or `None` for one that was never seen."""
    row = yield from fetch_one(
        "SELECT account FROM accounts WHERE owner = ? AND provider = ? AND environment = ? AND account_id = ?",
        *(owner, provider, environment, account_id),
    )
    return None if row is None else int(row[0])
