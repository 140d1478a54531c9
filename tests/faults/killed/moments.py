"""The moments of a process at which it may end: around each statement to its database and each step of a file."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Callable
from typing import Any

import asyncpg

_IN_A_STATEMENT = 2000  # SQLite's own steps; rewriting the whole file takes some ten thousands


class Moments:
    """Counts them, and kills the process at number `at`."""

    def __init__(self, at: int) -> None:
        self.number, self._at = 0, at

    def pass_one(self) -> None:
        self.number += 1
        if self.number == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        for name in ("fsync", "replace", "link"):
            setattr(os, name, self._before_and_after(getattr(os, name)))
        for name in ("execute", "executemany", "fetch", "fetchval", "fetchrow"):
            setattr(asyncpg.Connection, name, self._before_and_under_way(getattr(asyncpg.Connection, name)))
        self._watch_sqlite()

    def _before_and_after(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*words: Any, **named: Any) -> Any:
            self.pass_one()
            done = step(*words, **named)
            self.pass_one()
            return done

        return stepped

    def _before_and_under_way(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def asked(*words: Any, **named: Any) -> Any:
            self.pass_one()
            asking = asyncio.ensure_future(method(*words, **named))
            await asyncio.sleep(0)  # it is sent by now, and what became of it nobody will hear
            self.pass_one()
            return await asking

        return asked

    def _watch_sqlite(self) -> None:
        connect, moments = sqlite3.connect, self

        class Watched(sqlite3.Connection):
            def execute(self, *words: Any) -> sqlite3.Cursor:
                moments.pass_one()
                return super().execute(*words)

            def executemany(self, *words: Any) -> sqlite3.Cursor:
                moments.pass_one()
                return super().executemany(*words)

        def watched(*words: Any, **named: Any) -> sqlite3.Connection:
            db: sqlite3.Connection = connect(*words, factory=Watched, **named)
            db.set_progress_handler(moments.pass_one, _IN_A_STATEMENT)
            return db

        sqlite3.connect = watched  # type: ignore[assignment]  # as the store calls it
