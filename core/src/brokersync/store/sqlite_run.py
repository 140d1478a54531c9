"""Work on one connection: scripts, transactions, and several of these in one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias, TypeVar

import attrs

from brokersync.store.schema import add_column_statement, create_statements
from brokersync.store.sql import AddColumn, Create, Drop, Fetch, NewNumbers, NewPositions, Put, Script, Statement
from brokersync.store.sqlite_batches import Outcomes, Raised
from brokersync.store.sqlite_schema import SQLITE

R = TypeVar("R")


@attrs.frozen
class Write:
    """A script that writes, which may be run again where what it has written could not be kept."""

    script: Callable[[], Script[Any]]


Work: TypeAlias = Callable[[sqlite3.Connection], Any] | Write


def work_off(works: Sequence[tuple[sqlite3.Connection, Work]]) -> Outcomes:
    """Do all of it on this thread. What is written is kept on the disk once for all, and else each by itself.

    Who asked for each awaits its answer, so that none of them knows of an order between them.
    """
    outcomes: list[Any] = [None if isinstance(work, Write) else _outcome(work, db) for db, work in works]
    places = [number for number, (_, work) in enumerate(works) if isinstance(work, Write)]
    writes = [(db, work.script) for db, work in works if isinstance(work, Write)]
    for place, outcome in zip(places, _written(writes), strict=True):
        outcomes[place] = outcome
    return outcomes


def _written(writes: Sequence[tuple[sqlite3.Connection, Callable[[], Script[Any]]]]) -> Outcomes:
    if len(writes) > 1 and (outcomes := _together(writes[0][0], [script for _, script in writes])) is not None:
        return outcomes
    return [_outcome(in_transaction, *write) for write in writes]


def _outcome(work: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return work(*arguments)
    except Exception as error:  # noqa: BLE001  whatever it is, it belongs to whoever asked
        return Raised(error)


def _together(db: sqlite3.Connection, scripts: Sequence[Callable[[], Script[Any]]]) -> Outcomes | None:
    """All in one transaction, each undone by itself where it fails; `None` where nothing could be kept."""
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        return [Raised(error)] * len(scripts)
    try:
        outcomes = []
        for script in scripts:
            outcomes.append(_outcome(in_savepoint, db, script))
            if not db.in_transaction:  # a full disk has ended it, and the next savepoint would begin another
                return None
        db.execute("COMMIT")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        return None
    return outcomes


def in_transaction(db: sqlite3.Connection, script: Callable[[], Script[R]]) -> R:
    """What the script gives, once all that it has written is on the disk."""
    return _within(db, script, "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")


def in_savepoint(db: sqlite3.Connection, script: Callable[[], Script[R]]) -> R:
    """What the script gives, as a part of the transaction that is under way."""
    return _within(db, script, "SAVEPOINT page", "RELEASE page", "ROLLBACK TO page")


def _within(db: sqlite3.Connection, script: Callable[[], Script[R]], begin: str, commit: str, undo: str) -> R:
    db.execute(begin)
    try:
        result = run_script(db, script())
        db.execute(commit)
    except BaseException:
        # a full disk ends the transaction by itself; then there is nothing to undo, and the first error counts
        if db.in_transaction:
            db.execute(undo)
        raise
    return result


def run_script(db: sqlite3.Connection, script: Script[R]) -> R:
    """Run a script on this thread, inside the caller's transaction if there is one."""
    try:
        statement = next(script)
        while True:
            statement = script.send(_execute(db, statement))
    except StopIteration as end:
        result: R = end.value
        return result
    finally:
        script.close()


def _execute(db: sqlite3.Connection, statement: Statement) -> list[Any]:
    if isinstance(statement, Fetch):
        params = [json.dumps(value) if isinstance(value, list) else value for value in statement.params]
        return db.execute(_adapted(statement.sql), params).fetchall()
    if isinstance(statement, NewNumbers):
        (first,) = db.execute(_HIGHEST).fetchone()
        return [(number,) for number in range(first, first + statement.amount)]
    if isinstance(statement, NewPositions):
        return db.execute(statement.sql, (statement.amount,)).fetchall()
    if isinstance(statement, Create | AddColumn | Drop):
        _define(db, statement)
        return []
    if isinstance(statement, Put):
        sql = _insert(statement.table, statement.columns) + statement.on_conflict
    else:
        sql = _adapted(statement.sql)
    if statement.rows:
        db.executemany(sql, statement.rows)
    return []


def _define(db: sqlite3.Connection, statement: Create | AddColumn | Drop) -> None:
    if isinstance(statement, Create):
        for text in create_statements(statement.table, SQLITE):
            db.execute(text)
    elif isinstance(statement, Drop):
        db.execute(f"DROP TABLE IF EXISTS {statement.table}")
    else:
        present = db.execute("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", (statement.table, statement.column))
        if present.fetchone() is None:
            db.execute(add_column_statement(statement.table, statement.column, SQLITE))


# the highest number may stand on a set only, when the booking that it was made for has gone
_HIGHEST = (
    "SELECT max(coalesce((SELECT max(booking) FROM bookings), 0), coalesce((SELECT max(set_id) FROM bookings), 0),"
    " coalesce((SELECT max(set_id) FROM booking_names), 0)) + 1"
)


@cache
def _adapted(sql: str) -> str:
    return (
        sql.replace("(??)", "(SELECT value FROM json_each(?))").replace("{for_update}", "").replace("{for_share}", "")
    )


@cache
def _insert(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
