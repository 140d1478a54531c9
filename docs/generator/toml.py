"""Types of fields as who writes TOML knows them."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any, Final

import attrs

_NAMES: Final = {str: "text", int: "number", bool: "`true` or `false`", timedelta: "duration"}


def fields(kind: type) -> Iterator[tuple[attrs.Attribute[Any], Any]]:
    """The fields of a class, each with its type resolved."""
    found = attrs.resolve_types(kind)
    yield from ((field, field.type) for field in attrs.fields(found))


def type_text(kind: Any) -> str:
    """`tuple[X, ...]` is a list, a mapping a table, an enum its words, `None` nothing to write."""
    if kind in _NAMES:
        return _NAMES[kind]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return type_text(next(one for one in inner if one is not type(None)))
    if origin is tuple:
        return f"list of {_several(inner[0])}"
    if origin is not None and issubclass(origin, Mapping):
        return f"table of {_several(inner[1])}"
    if issubclass(kind, Enum):
        return ", ".join(f"`{one.value}`" for one in kind)
    return "table"


def _several(kind: Any) -> str:
    told = {str: "text", int: "numbers"}.get(kind) or type_text(kind)
    return "tables" if told == "table" else told
