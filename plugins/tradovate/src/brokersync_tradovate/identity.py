"""What a fill is called, also where nothing else of its row can be read: pure."""

from __future__ import annotations

from brokersync_tradovate.rows import Row, RowError, whole_in


def name_of(fill_id: int) -> str:
    """What the booking of a fill is called."""
    return f"fill:{fill_id}"


def named(row: Row) -> str | None:
    """The same of a row that may tell no id."""
    fill_id = id_in(row, "id")
    return None if fill_id is None else name_of(fill_id)


def id_in(row: Row, name: str) -> int | None:
    """An id in a row of which nothing is sure."""
    try:
        return whole_in(row, name)
    except RowError:
        return None
