"""Scripts over a connection of asyncpg: their statements in the words of Postgres."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any, Final, Generic, TypeAlias, TypeVar

import attrs

from brokersync.store.postgres_schema import NUMBERS, definition
from brokersync.store.schema import column_kind
from brokersync.store.sql import Fetch, Many, NewNumbers, NewPositions, Put, Script, Statement

R = TypeVar("R")

_ARRAYS: Final = {"text": "text[]", "int": "bigint[]", "bytes": "bytea[]"}
# Postgres keeps any character but this one
_NUL, _REPLACED = "\0", "\ufffd"


Words: TypeAlias = Callable[[Statement], Sequence[tuple[str, Sequence[Any]]]]
"""A statement in asyncpg's words: calls of a connection, of which the last gives the rows."""


class ScriptThread:
    """Steps scripts on a thread of its own, so that the event loop goes on while a page is folded.

    All scripts of a store share the thread; it is made when it is needed, and again after `end`.
    """

    def __init__(self) -> None:
        self._executor = _executor()

    async def run(self, db: Any, script: Script[R], words: Words | None = None) -> R:
        """Run a script on this connection, inside the caller's transaction; its statements are put into `words`."""
        words = words or calls
        try:
            step = await self._step(words, script, None)
            while isinstance(step, _Asked):
                step = await self._step(words, script, await _rows(db, step))
            return step.result
        finally:
            script.close()

    def end(self) -> None:
        """Let go of the thread; scripts under way go on."""
        self._executor.shutdown()
        self._executor = _executor()

    async def _step(self, words: Words, script: Script[R], rows: list[Any] | None) -> _Asked | _Ended[R]:
        under_way = asyncio.get_running_loop().run_in_executor(self._executor, _step, words, script, rows)
        try:
            return await asyncio.shield(under_way)
        except asyncio.CancelledError:
            # what runs can not be closed, and takes some milliseconds
            while not under_way.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([under_way])
            under_way.exception()
            raise


@attrs.frozen
class _Asked:
    calls: Sequence[tuple[str, Sequence[Any]]]


@attrs.frozen
class _Ended(Generic[R]):
    result: R


def _step(words: Words, script: Script[R], rows: list[Any] | None) -> _Asked | _Ended[R]:
    try:
        # of a script that has not begun, `None` gives the first statement
        return _Asked(words(script.send(rows)))  # type: ignore[arg-type]  # see above
    except StopIteration as end:
        return _Ended(end.value)


async def _rows(db: Any, asked: _Asked) -> list[Any]:
    found: list[Any] = []
    for method, words in asked.calls:
        given = await getattr(db, method)(*words)
        if method == "fetch":
            found = given
    return found


def calls(statement: Statement) -> Sequence[tuple[str, Sequence[Any]]]:
    """The words for a statement that is meant."""
    if isinstance(statement, Fetch):
        return [("fetch", (adapted(statement.sql), *_clean(statement.params)))]
    if isinstance(statement, NewNumbers):
        return [("fetch", (_NEXT, statement.amount))]
    if isinstance(statement, NewPositions):
        return [("fetch", (adapted(statement.sql), statement.amount))]
    if isinstance(statement, Put):
        columns = zip(*_last_of_each(statement), strict=True)
        return [("execute", (_insert(statement), *map(_clean, columns)))] if statement.rows else []
    if isinstance(statement, Many):
        rows = [_clean(row) for row in statement.rows]
        return [("executemany", (adapted(statement.sql), rows))] if rows else []
    return [("execute", (text,)) for text in definition(statement)]


def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="brokersync-script")


_NEXT = f"SELECT nextval('{NUMBERS}') FROM generate_series(1, $1::bigint)"


def _last_of_each(put: Put) -> Iterable[Sequence[Any]]:
    """One statement may replace a row once only, so of rows with one key the last one is taken."""
    if not put.replace:
        return put.rows
    places = [put.columns.index(name) for name in put.key]
    return {tuple(row[place] for place in places): row for row in put.rows}.values()


def _clean(values: Iterable[Any]) -> list[Any]:
    return [value.replace(_NUL, _REPLACED) if isinstance(value, str) and _NUL in value else value for value in values]


@cache
def adapted(sql: str) -> str:
    """The common SQL with numbered parameters, lists as arrays, and locks."""
    text = (
        sql.replace("{for_update}", "FOR UPDATE")
        .replace("{for_share}", "FOR SHARE")
        .replace("NOT IN (??)", "<> ALL (?)")
        .replace("IN (??)", "= ANY (?)")
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
