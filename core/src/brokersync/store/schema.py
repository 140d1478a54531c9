"""The tables of a store, in words that SQLite and Postgres share."""

from __future__ import annotations

from typing import Final

import attrs

SCHEMA_VERSION: Final = 6
# a release that knows this layout, or a later one, may go on working beside the newest
COMPATIBLE_FROM: Final = 3


@attrs.frozen
class Table:
    """A table: `columns` maps names to `text`, `int` or `bytes`, ending in `?` where the value may be missing.

    `key` is the primary key; a key of one `serial` column is numbered by the database. Rows of a `clustered` table
    are kept in the order of its key.
    """

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...] = ()
    indexes: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    clustered: bool = False


_LOGIN = {"owner": "text", "provider": "text", "environment": "text", "identity": "text"}
_REQUEST = {"connection_id": "text", "source": "text", "account": "text"}

TABLES: Final = (
    Table("store_layout", {"one": "int", "version": "int", "compatible_from": "int"}, ("one",)),
    Table("owner_keys", {"owner": "text", "wrapped": "bytes"}, ("owner",)),
    Table(
        "connections",
        {
            "connection_id": "text", **_LOGIN, "data": "text",
            "state": "text?", "created_at": "text?", "next_at": "text?", "deadline": "text?",
            "last_synced_at": "text?", "doubted_since": "text?",
        },
        ("connection_id",),
        unique=(tuple(_LOGIN),),
        indexes={
            "connections_due": ("state", "next_at"),
            "connections_by_broker": ("provider", "state", "next_at"),
            "connections_in_doubt": ("provider", "environment", "doubted_since"),
        },
    ),
    Table(
        "grants",
        {
            **_LOGIN, "generation": "int", "auth": "bytes", "credentials": "bytes",
            "renewing_since": "text?", "expires_at": "text?", "grant_expires_at": "text?",
            "tried_at": "text?", "fixed_end": "text?", "warned_of": "text?", "refused_since": "text?",
        },
        tuple(_LOGIN),
    ),
    Table(
        "accounts",
        {
            "account": "serial", "owner": "text", "provider": "text", "environment": "text", "account_id": "text",
            "data": "text?",
        },
        ("account",),
        unique=(("owner", "provider", "environment", "account_id"),),
    ),
    Table(
        "connection_accounts", {"connection_id": "text", "account": "int"}, ("connection_id", "account"), clustered=True
    ),
    Table(
        "bookings",
        {
            "booking": "int", "account": "int", "source": "text", "booking_id": "text", "set_id": "int",
            "version": "int", "is_cancel": "int", "hash": "bytes", "content": "text", "origin": "text?",
            "as_of": "text?", "told": "bytes?",
        },
        ("booking",),
        unique=(("account", "source", "booking_id"),),
        indexes={"bookings_by_set": ("set_id",)},
    ),
    Table(
        "raw_rows",
        {"booking": "int", "data": "bytes", "at": "text?"},
        ("booking",),
        indexes={"raw_rows_by_age": ("at",)},
    ),
    Table(
        "booking_names",
        {"account": "int", "name": "text", "set_id": "int"},
        ("account", "name"),
        indexes={"booking_names_by_set": ("set_id",)},
        clustered=True,
    ),
    Table(
        "trades",
        {
            "owner": "text", "account": "int", "trade_id": "text", "set_id": "int", "revision": "int",
            "status": "text", "executed_at": "text", "symbol": "text", "content": "text",
        },
        ("account", "trade_id"),
        indexes={"trades_by_set": ("set_id",), "trades_by_time": ("owner", "executed_at", "account", "trade_id")},
        clustered=True,
    ),
    Table(
        "changes",
        {
            "position": "int", "owner": "text", "account": "int", "trade_id": "text", "kind": "text", "cause": "text",
            "revision": "int", "at": "text", "merged_into": "text?",
        },
        ("position",),
        indexes={"changes_by_owner": ("owner", "position")},
    ),
    Table("feed_head", {"one": "int", "position": "int"}, ("one",)),
    Table("feed_starts", {"owner": "text", "kept_from": "int"}, ("owner",)),
    Table(
        "coverage",
        {"account": "int", "source": "text", "starts": "text", "ends": "text", "state": "text"},
        ("account", "source", "starts"),
        clustered=True,
    ),
    Table("open_requests", {**_REQUEST, "data": "text"}, tuple(_REQUEST), clustered=True),
    Table(
        "finished_windows",
        {**_REQUEST, "starts": "text", "ends": "text", "at": "text", "again_from": "text?"},
        (*_REQUEST, "starts"),
        clustered=True,
    ),
    Table(
        "failing_windows",
        {**_REQUEST, "starts": "text", "ends": "text", "failures": "int", "reason": "text", "at": "text",
         "not_before": "text?"},
        (*_REQUEST, "starts"),
        clustered=True,
    ),
    Table("bookmarks", {**_REQUEST, "bookmark": "text"}, tuple(_REQUEST), clustered=True),
    Table(
        "quarantine",
        {
            "owner": "text", "provider": "text", "source": "text", "hash": "bytes", "environment": "text?",
            "account_id": "text?", "reason": "text", "raw": "bytes", "first_seen": "text", "as_of": "text?",
        },
        ("owner", "provider", "source", "hash"),
    ),
    Table(
        "sync_log",
        {"entry": "serial", "connection_id": "text", "at": "text", "report": "text", "owner": "text?"},
        ("entry",),
        indexes={"sync_log_by_connection": ("connection_id", "entry"), "sync_log_by_age": ("at",)},
    ),
    Table(
        "reference_data",
        {"provider": "text", "environment": "text", "name": "text", "data": "text"},
        ("provider", "environment", "name"),
        clustered=True,
    ),
    Table(
        "environment_health",
        {"provider": "text", "environment": "text", "data": "text"},
        ("provider", "environment"),
    ),
    Table(
        "environment_incidents",
        {"provider": "text", "environment": "text", "opened_at": "text", "data": "text"},
        ("provider", "environment", "opened_at"),
    ),
    Table(
        "leases",
        {"name": "text", "owner": "text", "holder": "text", "fence": "int", "expires_at": "text"},
        ("name",),
    ),
    Table(
        "jobs",
        {
            "connection_id": "text", "owner": "text", "provider": "text", "environment": "text", "at": "text",
            "deadline": "text?", "asked": "int", "holder": "text", "held_until": "text?",
        },
        ("connection_id",),
        indexes={"jobs_by_time": ("at",), "jobs_by_owner": ("owner",), "jobs_by_holder": ("holder",)},
    ),
)  # fmt: skip

_BY_NAME: Final = {table.name: table for table in TABLES}


@attrs.frozen
class Dialect:
    """How a database writes what the schema says."""

    kinds: dict[str, str]
    clustered: str = ""


def create_statements(name: str, dialect: Dialect) -> list[str]:
    """The table and its indexes."""
    one = _BY_NAME[name]
    columns = [_column(one, column, dialect) for column in one.columns]
    alone = one.key[0] if len(one.key) == 1 else None
    if alone is None:
        columns.append(f"PRIMARY KEY ({', '.join(one.key)})")
    columns += [f"UNIQUE ({', '.join(names)})" for names in one.unique]
    end = dialect.clustered if one.clustered else ""
    made = [f"CREATE TABLE IF NOT EXISTS {name} (\n    {(',' + chr(10) + '    ').join(columns)}\n){end}"]
    made += [
        f"CREATE INDEX IF NOT EXISTS {index} ON {name} ({', '.join(columns)})" for index, columns in one.indexes.items()
    ]
    return made


def add_column_statement(name: str, column: str, dialect: Dialect) -> str:
    """A column that a table of an older layout lacks; it can be missing in the rows that are there."""
    return f"ALTER TABLE {name} ADD COLUMN {column} {dialect.kinds[_BY_NAME[name].columns[column].rstrip('?')]}"


def _column(one: Table, column: str, dialect: Dialect) -> str:
    kind = one.columns[column]
    text = f"{column} {dialect.kinds[kind.rstrip('?')]}"
    if one.key == (column,):
        return f"{text} PRIMARY KEY"
    return text if kind.endswith("?") else f"{text} NOT NULL"


def column_kind(table: str, column: str) -> str:
    """`text`, `int` or `bytes`."""
    return {"serial": "int"}.get(kind := _BY_NAME[table].columns[column].rstrip("?"), kind)
