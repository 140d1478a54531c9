"""Every value in an object, and raw rows as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import attrs


def walked(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value in an object, with where it stands."""
    yield path, value
    if attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from walked(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from walked(one, f"{path}[{name!r}]")
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from walked(one, f"{path}[{number}]")


def as_json(value: Any) -> str:
    """What JSON has no word for. Raises `TypeError` for what no raw row may hold."""
    if isinstance(value, Decimal | datetime | date):
        return str(value)
    raise TypeError(f"a raw row holds a {type(value).__name__}, which is no JSON")
