"""Scripts over a connection of asyncpg: their statements in the words of Postgres."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final, TypeVar

from brokersync.store.postgres_schema import NUMBERS, definition
from brokersync.store.schema import column_kind
from brokersync.store.sql import Fetch, Many, NewNumbers, Put, Script, Statement

R = TypeVar("R")

_ARRAYS: Final = {"text": "text[]", "int": "bigint[]", "bytes": "bytea[]"}
# Postgres keeps any character but this one
_NUL, _REPLACED = "\0", "\ufffd"


async def run_script(db: Any, script: Script[R]) -> R:
    """Run a script on this connection, inside the caller's transaction."""
    try:
        statement = next(script)
        while True:
            statement = script.send(await _execute(db, statement))
    except StopIteration as end:
        result: R = end.value
        return result
    finally:
        script.close()


async def _execute(db: Any, statement: Statement) -> list[Any]:
    if isinstance(statement, Fetch):
        found: list[Any] = await db.fetch(adapted(statement.sql), *_clean(statement.params))
        return found
    if isinstance(statement, NewNumbers):
        numbers: list[Any] = await db.fetch(_NEXT, statement.amount)
        return numbers
    if isinstance(statement, Put):
        if statement.rows:
            columns = zip(*_last_of_each(statement), strict=True)
            await db.execute(_insert(statement), *[list(_clean(column)) for column in columns])
    elif isinstance(statement, Many):
        if statement.rows:
            await db.executemany(adapted(statement.sql), [list(_clean(row)) for row in statement.rows])
    else:
        for text in definition(statement):
            await db.execute(text)
    return []


_NEXT = f"SELECT nextval('{NUMBERS}') FROM generate_series(1, $1::bigint)"


def _last_of_each(put: Put) -> Iterable[Sequence[Any]]:
    """One statement may replace a row once only, so of rows with one key the last one is taken."""
    if not put.replace:
        return put.rows
    places = [put.columns.index(name) for name in put.key]
    return {tuple(row[place] for place in places): row for row in put.rows}.values()


def _clean(values: Iterable[Any]) -> Iterable[Any]:
    return [value.replace(_NUL, _REPLACED) if isinstance(value, str) and _NUL in value else value for value in values]


@cache
def adapted(sql: str) -> str:
    """The common SQL with numbered parameters, lists as arrays, and locks."""
    text = (
        sql.replace("{for_update}", "FOR UPDATE").replace("NOT IN (??)", "<> ALL (?)").replace("IN (??)", "= ANY (?)")
    )
    numbers = itertools.count(1)
    head, *rest = text.split("?")
    return head + "".join(f"${next(numbers)}{part}" for part in rest)


def _insert(put: Put) -> str:
    return _insert_of(put.table, put.columns, put.on_conflict)


@cache
def _insert_of(table: str, columns: tuple[str, ...], on_conflict: str) -> str:
    arrays = [f"${number}::{_ARRAYS[column_kind(table, name)]}" for number, name in enumerate(columns, 1)]
    # one statement with a column per array costs a third of a statement per row
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({', '.join(arrays)}){on_conflict}"
