"""Statements and scripts: what the store does, in SQL that SQLite and Postgres share.

A script is a generator that yields statements and is sent back their rows. It never knows which database runs it, and
it is run again from its start when a database asks for that, so it keeps no state outside of itself.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, ClassVar, TypeAlias, TypeVar

import attrs

R = TypeVar("R")

Row: TypeAlias = Sequence[Any]


@attrs.frozen
class Fetch:
    """One statement and all rows it gives.

    Parameters are `?`, and `(??)` stands for a list of values, given as one list. `{for_update}` locks the rows that
    are read until the transaction ends, where a database has more than one writer; `{for_share}` keeps them as they
    are for so long.
    """

    sql: str
    params: Sequence[Any] = ()


@attrs.frozen
class Many:
    """One statement for each row of parameters; it gives no rows."""

    sql: str
    rows: Sequence[Sequence[Any]]


@attrs.frozen
class Put:
    """Rows into a table. One whose `key` is there already stays as it is, or is replaced with `replace`."""

    table: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    key: tuple[str, ...] = ()
    replace: bool = False

    @property
    def on_conflict(self) -> str:
        """The clause behind the values."""
        if not self.key:
            return ""
        others = [name for name in self.columns if name not in self.key]
        if not self.replace or not others:
            return f" ON CONFLICT ({', '.join(self.key)}) DO NOTHING"
        taken = ", ".join(f"{name} = excluded.{name}" for name in others)
        return f" ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {taken}"


@attrs.frozen
class NewNumbers:
    """So many numbers that no booking and no set of bookings has had, growing; one row for each."""

    amount: int


@attrs.frozen
class NewPositions:
    """So many positions of the feed, of which the last is given; from here on its other writers wait for the end."""

    amount: int
    sql: ClassVar[str] = "UPDATE feed_head SET position = position + ? WHERE one = 1 RETURNING position"


@attrs.frozen
class Create:
    """A table of the schema with its indexes, unless it is there."""

    table: str


@attrs.frozen
class AddColumn:
    """A column of the schema to a table that an older release made without it, unless it is there."""

    table: str
    column: str


@attrs.frozen
class Drop:
    """A table that an older release made and this one has no use for, if it is there."""

    table: str


Statement: TypeAlias = Fetch | Many | Put | NewNumbers | NewPositions | Create | AddColumn | Drop
Script: TypeAlias = Generator[Statement, list[Any], R]


def fetch_one(sql: str, *params: Any) -> Script[Any]:
    """The only row of a statement, or `None`."""
    rows = yield Fetch(sql, params)
    return rows[0] if rows else None


def execute(sql: str, *params: Any) -> Script[None]:
    """A statement whose rows nobody needs."""
    yield Fetch(sql, params)
