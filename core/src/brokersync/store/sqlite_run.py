"""Work on one connection: scripts, transactions, and several of these in one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache
from itertools import takewhile
from time import monotonic, sleep
from typing import Any, Final, TypeVar

from brokersync.store.schema import add_column_statement, create_statements
from brokersync.store.sql import AddColumn, Create, Drop, Fetch, NewNumbers, NewPositions, Put, Script, Statement
from brokersync.store.sqlite_batches import Asked, Raised, Write
from brokersync.store.sqlite_schema import PATIENCE, SQLITE, set_patience

R = TypeVar("R")

# other processes wait for the file meanwhile, and look for it by and by only
_HAS_THE_FILE_FOR: Final = 0.01
_LEAVES_IT_FOR: Final = 0.002
# SQLite itself does not hear that nobody waits for an answer any more
_LOOKS_UP_EVERY: Final = timedelta(milliseconds=200)


def work_off(batch: Sequence[Asked]) -> Sequence[Any]:
    """Do all of it on this thread, and say what each gave or `Raised`: all of it reads, or all writes.

    Who asked for each awaits its answer, so that none of them knows of an order between them.
    """
    outcomes: list[Any] = []
    while True:
        outcomes += _some(batch[len(outcomes) :])
        if len(outcomes) == len(batch):
            return outcomes
        if isinstance(batch[0].work, Write):
            sleep(_LEAVES_IT_FOR)


def _some(batch: Sequence[Asked]) -> Sequence[Any]:
    """What the first of them give: as many as are wanted and may have the file at a time, and one at least."""
    first = batch[0]
    if not first.wanted:
        return [None]
    if not isinstance(first.work, Write):
        return [_outcome(first.work, first.db)]
    wanted = list(takewhile(lambda one: one.wanted, batch))
    scripts = [one.work.script for one in wanted if isinstance(one.work, Write)]
    together = _together(first.db, scripts, lambda: any(one.wanted for one in wanted)) if len(scripts) > 1 else []
    return together or [_outcome(in_transaction, first.db, first.work.script, lambda: first.wanted)]


def _together(
    db: sqlite3.Connection, scripts: Sequence[Callable[[], Script[Any]]], wanted: Callable[[], bool]
) -> Sequence[Any]:
    """In one transaction as many as fit into its time, each undone by itself where it fails; none if it is lost."""
    outcomes: list[Any] = []
    try:
        _begin_to_write(db, wanted)
        until = monotonic() + _HAS_THE_FILE_FOR
        while len(outcomes) < len(scripts) and (not outcomes or monotonic() < until):
            outcomes.append(_outcome(in_savepoint, db, scripts[len(outcomes)]))
            if not db.in_transaction:  # a full disk has ended it, and the next savepoint would begin another
                return []
        db.execute("COMMIT")
    except sqlite3.Error as error:
        if not db.in_transaction and not outcomes:
            return [Raised(error)]  # another process has the file; the next of them waits for it by itself
        if db.in_transaction:
            db.execute("ROLLBACK")
        return []
    return outcomes


def _outcome(work: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return work(*arguments)
    except BaseException as error:  # noqa: BLE001  whatever it is, it belongs to whoever asked
        return Raised(error)


def in_transaction(db: sqlite3.Connection, script: Callable[[], Script[R]], wanted: Callable[[], bool]) -> R:
    """What the script gives, once all that it has written is on the disk.

    Another process that writes is waited for as long as this is `wanted`, and no longer than the store's patience.
    """
    _begin_to_write(db, wanted)
    return _within(db, script, "COMMIT", "ROLLBACK")


def in_savepoint(db: sqlite3.Connection, script: Callable[[], Script[R]]) -> R:
    """What the script gives, as a part of the transaction that is under way."""
    db.execute("SAVEPOINT page")
    return _within(db, script, "RELEASE page", "ROLLBACK TO page")


def _begin_to_write(db: sqlite3.Connection, wanted: Callable[[], bool]) -> None:
    until = monotonic() + PATIENCE.total_seconds()
    set_patience(db, _LOOKS_UP_EVERY)
    try:
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or monotonic() >= until or not wanted():
                    raise
            else:
                return
    finally:
        set_patience(db, PATIENCE)


def _within(db: sqlite3.Connection, script: Callable[[], Script[R]], commit: str, undo: str) -> R:
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
