"""The broker's own shapes, typed, in the broker's own words.

A row is read strictly where a trade depends on it. Fields that are not named here are ignored: brokers add some every
year.
"""

from __future__ import annotations

from collections.abc import Mapping
{% if cookiecutter.auth_kind in ("password", "oauth2") %}
from datetime import UTC, datetime, timedelta
{% else %}
from datetime import UTC, datetime
{% endif %}
from decimal import Decimal, InvalidOperation
from typing import Any, Self, TypeAlias

import attrs

Row: TypeAlias = Mapping[str, Any]


class RowError(ValueError):
    """A row that is not what the broker documents; the message is a reason to show."""


# FILL IN: the names in what the broker tells of a user, and which id of theirs never changes
@attrs.frozen(kw_only=True)
class User:
{% if cookiecutter.auth_kind == "password" %}
    """Whom a login belongs to."""

    id: str

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(id=id_in(row, "id"))
{% else %}
    """Whom a login belongs to, and what it may do."""

    id: str
    rights: frozenset[str]

    @classmethod
    def of(cls, row: Row) -> Self:
        rights = row.get("rights")
        known = rights if isinstance(rights, list) else ()
        return cls(id=id_in(row, "id"), rights=frozenset(one for one in known if isinstance(one, str)))
{% endif %}


# FILL IN: the names in the list of accounts
@attrs.frozen(kw_only=True)
class Account:
    """An account; its id is the one that stays, not the name that a user may change."""

    id: str
    name: str
    currency: str
    opened_at: datetime

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            id=id_in(row, "id"),
            name=text_in(row, "name"),
            currency=text_in(row, "currency"),
            opened_at=moment_in(row, "openedAt"),
        )


# FILL IN: the names of an execution's id and type, which are read of a row that is not understood, too
EXECUTION_ID, EXECUTION_TYPE = "id", "type"


# FILL IN: the other names in the list of executions
@attrs.frozen(kw_only=True)
class Execution:
    """One fill of an order. A commission that is absent is not told yet, which is not zero."""

    id: str
    order_id: str
    symbol: str
    type: str
    currency: str
    side: str
    quantity: Decimal
    price: Decimal
    time: datetime
    commission: Decimal | None

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            id=id_in(row, EXECUTION_ID),
            order_id=id_in(row, "orderId"),
            symbol=text_in(row, "symbol"),
            type=text_in(row, EXECUTION_TYPE),
            currency=text_in(row, "currency"),
            side=text_in(row, "side"),
            quantity=number_in(row, "quantity"),
            price=number_in(row, "price"),
            time=moment_in(row, "time"),
            commission=None if row.get("commission") is None else number_in(row, "commission"),
        )


def id_in(row: Row, name: str) -> str:
    """An id as text with every digit, whether the broker writes it as a number or as text."""
    value = _present(row, name)
    if type(value) is int:
        return str(value)
    return text_in(row, name)


def _present(row: Row, name: str) -> Any:
    value = row.get(name)
    if value is None or value == "":
        raise RowError(f"{name} is missing")
    return value


def text_in(row: Row, name: str) -> str:
    """A text that holds something, without the blanks around it."""
    value = _present(row, name)
    if not isinstance(value, str) or not value.strip():
        raise RowError(f"{name} is no text")
    return value.strip()


def number_in(row: Row, name: str) -> Decimal:
    """Exact: core reads the fractions of JSON as `Decimal`, and a float is refused."""
    value = _present(row, name)
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise RowError(f"{name} is no number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise RowError(f"{name} is no number") from None
    if not number.is_finite():
        raise RowError(f"{name} is no number")
    return number


{% if cookiecutter.auth_kind in ("password", "oauth2") %}
def seconds_in(row: Row, name: str) -> timedelta:
    """A span that is told in seconds."""
    try:
        return timedelta(seconds=float(number_in(row, name)))
    except OverflowError:
        raise RowError(f"{name} is no number of seconds") from None


{% endif %}
# FILL IN: how the broker writes a time, and in which zone
def moment_in(row: Row, name: str) -> datetime:
    """An instant in UTC; a time without a zone is refused, for guessing one moves trades by hours."""
    try:
        moment = datetime.fromisoformat(text_in(row, name))
    except ValueError:
        raise RowError(f"{name} is no time") from None
    if moment.tzinfo is None:
        raise RowError(f"{name} has no time zone")
    return moment.astimezone(UTC)
