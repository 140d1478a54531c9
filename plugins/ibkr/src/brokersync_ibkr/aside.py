"""What has to be looked up of a whole document, kept outside of memory."""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Self

from brokersync.plugin import BrokerConfigError


class Aside:
    """Texts by name in a file that has none and goes when this is closed, made with the first of them.

    One thread at a time may use it, and not always the same. Raises `BrokerConfigError` where there is no room for it.
    """

    def __init__(self) -> None:
        self._db: sqlite3.Connection | None = None

    def put(self, name: str, text: str) -> None:
        self._run("INSERT OR REPLACE INTO texts VALUES (?, ?)", name, text)

    def get(self, name: str) -> str | None:
        if self._db is None:
            return None
        row = self._run("SELECT text FROM texts WHERE name = ?", name).fetchone()
        return None if row is None else str(row[0])

    def put_first(self, name: str, text: str) -> str:
        """The text that was put first under this name."""
        if self._run("INSERT OR IGNORE INTO texts VALUES (?, ?)", name, text).rowcount:
            return text
        return self.get(name) or ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._db is not None:
            self._db.close()

    def _run(self, statement: str, *values: str) -> sqlite3.Cursor:
        try:
            return self._opened().execute(statement, values)
        except sqlite3.Error as error:
            raise BrokerConfigError(
                f"The statement needs room for temporary files, and there is none: {error}.",
                remedy="Free space where this machine keeps them, or name another place in SQLITE_TMPDIR.",
            ) from None

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            # without a name SQLite keeps two megabytes of it in memory and the rest in a temporary file
            self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = OFF")
            self._db.execute("CREATE TABLE texts (name TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID")
            self._db.execute("BEGIN")
        return self._db
