"""Values, docstrings and tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from inspect import cleandoc
from typing import Any, Final

import attrs

MADE_BY: Final = "<!-- Written by `python -m docs.generator` from the code; change it there. -->\n"

_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms"))
_REQUIRED: Final = "required"


def told(thing: object) -> str:
    """The docstring, each paragraph on a line of its own; what the class does not say itself is nothing."""
    own = vars(thing).get("__doc__") if isinstance(thing, type) else thing.__doc__
    # attrs and dataclasses give a signature where nobody wrote a docstring
    return "\n\n".join(" ".join(part.split()) for part in cleandoc(own or "").split("\n\n"))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar within a cell is escaped."""
    lines = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *lines)) + "\n"


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def duration(value: timedelta) -> str:
    """As the configuration writes it."""
    milliseconds = round(value.total_seconds() * 1000)
    if milliseconds == 0:
        return "0s"
    size, unit = next((size, unit) for size, unit in _UNITS if milliseconds % size == 0)
    # an hour and a half are 90 minutes, and 36 hours no day and a half
    return f"{milliseconds // size}{unit}"


def default(field: attrs.Attribute[Any], required: str = _REQUIRED) -> str:
    """What stands there where nothing is given; empty where that is nothing."""
    value = field.default
    if value is attrs.NOTHING:
        return required
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]  # attrs types Factory as a function
        return "empty"
    return plain(value)


def plain(value: Any) -> str:
    """A default as a reader would write it."""
    if value is None or value == () or (isinstance(value, Mapping) and not value) or value == "":
        return ""
    if isinstance(value, timedelta):
        return code(duration(value))
    if isinstance(value, Enum):
        return code(str(value.value))
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(str(value)) if isinstance(value, int | str) else ""


def slug(title: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
