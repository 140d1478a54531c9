"""What a fill is called, also where nothing else of its row can be read: pure."""

from __future__ import annotations

from brokersync_tradovate.rows import Row, whole_number


def name_of(fill_id: int) -> str:
    """What the booking of a fill is called."""
    return f"fill:{fill_id}"


def named(row: Row) -> str | None:
    """The same of a row that may tell no id."""
    fill_id = id_in(row, "id")
    return None if fill_id is None else name_of(fill_id)


def id_in(row: Row, name: str) -> int | None:
    """An id in a row of which nothing is sure."""
    value = row.get(name)
    if isinstance(value, str):
        return whole_number(value)
    return value if type(value) is int else None
