"""A field of a row, read strictly: what a trade depends on is what Tradovate documents, or the row is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias, TypeVar

Row: TypeAlias = Mapping[str, Any]
_T = TypeVar("_T")

_LONGEST_SHOWN = 80
_MOST_DIGITS = 60  # before or after the point; "1E+999999999" fills the memory when it is written out
_LARGEST_ID = 2**63
# what lies outside is written for "no date", or a mistake, and nobody can count a day on from the last of all
YEARS = range(2000, 2100)
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
        number = Decimal(plain.replace(",", "")) if _NUMBER.fullmatch(plain) else None
    except InvalidOperation:
        number = None  # an exponent beyond all bounds
    if number is None or is_too_long(number):
        raise RowError(f"{text[:_LONGEST_SHOWN]!r} is no number")
    return number


def is_too_long(number: Decimal) -> bool:
    """Whether a number is no amount of anything, and not to be written out digit by digit."""
    return abs(number.adjusted()) > _MOST_DIGITS or len(number.as_tuple().digits) > 2 * _MOST_DIGITS


def whole_number(text: str) -> int | None:
    """An id or a count as it is written, if it is one that Tradovate may have given."""
    return int(text) if _DIGITS.fullmatch(text) else None


def text_in(row: Row, name: str) -> str:
    value = _present(row, name)
    if not isinstance(value, str) or not value.strip() or "\0" in value or not _is_unicode(value):
        raise RowError(f"{name} is no text")
    return value.strip()


def whole_in(row: Row, name: str) -> int:
    value = _present(row, name)
    number = whole_number(value) if isinstance(value, str) else value
    if type(number) is not int or abs(number) > _LARGEST_ID:
        raise RowError(f"{name} is no whole number")
    return number


def number_in(row: Row, name: str) -> Decimal:
    value = _present(row, name)
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise RowError(f"{name} is no number")
    number = exact_number(value) if isinstance(value, str) else Decimal(value)
    if is_too_long(number):
        raise RowError(f"{name} is longer than any number that is meant")
    return number


def moment_in(row: Row, name: str) -> datetime:
    text = text_in(row, name)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):  # with its offset it may lie before the first year or after the last
        raise RowError(f"{name} is no time") from None
    if moment.tzinfo is None:
        raise RowError(f"{name} has no time zone")
    if moment.year not in YEARS:
        raise RowError(f"{name} is the year {moment.year}, in which nothing can have happened")
    return moment


def day_in(row: Row, name: str) -> date:
    value = _present(row, name)
    parts = [whole_in(value, part) for part in ("year", "month", "day")] if isinstance(value, Mapping) else None
    text = "" if parts else text_in(row, name)
    try:
        day = date(*parts) if parts else date.fromisoformat(text)
    except (ValueError, OverflowError):
        raise RowError(f"{name} is no date") from None
    if day.year not in YEARS:
        raise RowError(f"{name} is the year {day.year}, in which nothing can have happened")
    return day


def if_told(read: Callable[[Row, str], _T], row: Row, name: str, odd: list[str]) -> _T | None:
    """What a field tells, or `None` where it is not there or not understood, which is then `odd`."""
    if row.get(name) in (None, ""):
        return None
    try:
        return read(row, name)
    except RowError as error:
        odd.append(str(error))
        return None


def texts_in(row: Row, name: str) -> dict[str, str]:
    """What is told under a name by keys, none of which has to be there; an empty text tells nothing."""
    told = row.get(name)
    if not isinstance(told, Mapping):
        return {}
    return {str(key): str(text) for key, text in told.items() if text not in (None, "")}


def _is_unicode(text: str) -> bool:
    """Half of a pair of surrogates is no character, and nothing can write it down."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _present(row: Row, name: str) -> Any:
    value = row.get(name)
    if value is None or value == "":
        raise RowError(f"{name} is missing")
    return value
