"""A field of a row, read strictly: what a trade depends on is what Tradovate documents, or the row is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]

_LONGEST_SHOWN = 80
_DIGITS = re.compile(r"[0-9]{1,19}")  # as many as 2**63 has
# without a decimal point nobody can tell a thousands separator from a decimal comma
_NUMBER = re.compile(r"[+-]?([0-9]{1,3}(,[0-9]{3})+\.[0-9]+|[0-9]+\.?[0-9]*|\.[0-9]+)(E[+-]?[0-9]+)?", re.IGNORECASE)


class RowError(ValueError):
    """A row that is not what Tradovate documents; the message is a reason to show."""


def exact_number(text: str) -> Decimal:
    """A number as the reports write it: a `$`, thousands separators, and parentheses around what is negative."""
    plain = text.strip().replace("$", "")
    if plain.startswith("(") and plain.endswith(")"):
        plain = f"-{plain[1:-1]}"
    try:
        if _NUMBER.fullmatch(plain):
            return Decimal(plain.replace(",", ""))
    except InvalidOperation:
        pass  # an exponent beyond all bounds
    raise RowError(f"{text[:_LONGEST_SHOWN]!r} is no number")


def whole_number(text: str) -> int | None:
    """An id or a count as it is written, if it is one that Tradovate may have given."""
    return int(text) if _DIGITS.fullmatch(text) else None


def text_in(row: Row, name: str) -> str:
    value = _present(row, name)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise RowError(f"{name} is no text")
    return value.strip()


def whole_in(row: Row, name: str) -> int:
    value = _present(row, name)
    number = whole_number(value) if isinstance(value, str) else value
    if type(number) is not int:
        raise RowError(f"{name} is no whole number")
    return number


def number_in(row: Row, name: str) -> Decimal:
    value = _present(row, name)
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise RowError(f"{name} is no number")
    return exact_number(value) if isinstance(value, str) else Decimal(value)


def moment_in(row: Row, name: str) -> datetime:
    text = text_in(row, name)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RowError(f"{name} is no time") from None
    if moment.tzinfo is None:
        raise RowError(f"{name} has no time zone")
    return moment.astimezone(UTC)


def day_in(row: Row, name: str) -> date:
    value = _present(row, name)
    parts = [whole_in(value, part) for part in ("year", "month", "day")] if isinstance(value, Mapping) else None
    text = "" if parts else text_in(row, name)
    try:
        return date(*parts) if parts else date.fromisoformat(text)
    except ValueError:
        raise RowError(f"{name} is no date") from None


def texts_in(row: Row, name: str) -> dict[str, str]:
    """What is told under a name by keys, none of which has to be there; an empty text tells nothing."""
    told = row.get(name)
    if not isinstance(told, Mapping):
        return {}
    return {str(key): str(text) for key, text in told.items() if text not in (None, "")}


def _present(row: Row, name: str) -> Any:
    value = row.get(name)
    if value is None or value == "":
        raise RowError(f"{name} is missing")
    return value
