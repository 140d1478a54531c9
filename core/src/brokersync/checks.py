"""What the fields of the contract's values must be, beside their types."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs

from brokersync.decimals import check_length
from brokersync.typed import LONGEST_ID, short


def finite(_: object, field: attrs.Attribute[Any], value: Decimal) -> None:
    if not value.is_finite():
        raise ValueError(f"{field.name} must be a finite Decimal, not {value}")
    check_length(value, field.name)


def positive(instance: object, field: attrs.Attribute[Any], value: Decimal) -> None:
    finite(instance, field, value)
    if value <= 0:
        raise ValueError(f"{field.name} must be positive, not {value}; the side says the direction")


def in_utc(_: object, field: attrs.Attribute[Any], value: datetime) -> None:
    if value.tzinfo is not UTC and value.utcoffset() != timedelta(0):
        raise ValueError(f"{field.name} must be an aware datetime in UTC, not {value!r}")


def some_text(_: object, field: attrs.Attribute[Any], value: str) -> None:
    if not value:
        raise ValueError(f"{field.name} must not be empty")
    if "\x00" in value:  # no database keeps it in text, and no broker means it
        raise ValueError(f"{field.name} must hold no NUL character, not {value!r}")


def some_id(instance: object, field: attrs.Attribute[Any], value: str) -> None:
    if not value or "\x00" in value or len(value) > LONGEST_ID:  # asked often for each row, hardly ever with reason
        some_text(instance, field, value)
        short(instance, field, value)
