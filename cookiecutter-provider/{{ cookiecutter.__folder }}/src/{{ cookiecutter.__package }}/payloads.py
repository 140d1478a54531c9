"""The broker's own shapes, typed, in the broker's own words.

A row is read strictly where a trade depends on it. Fields that are not named here are ignored: brokers add some every
year.
"""

from __future__ import annotations

from collections.abc import Mapping
{% if cookiecutter.auth_kind == "api_key" %}
from datetime import UTC, datetime
{% else %}
from datetime import UTC, datetime, timedelta
{% endif %}
from decimal import Decimal, InvalidOperation
from typing import Any, Self, TypeAlias

import attrs
{% if cookiecutter.auth_kind == "password" %}

from brokersync.plugin import Secret
{% endif %}

Row: TypeAlias = Mapping[str, Any]


class RowError(ValueError):
    """A row that is not what the broker documents; the message is a reason to show."""


{% if cookiecutter.auth_kind == "password" %}
# FILL IN: the names in the answer to a login, and which id never changes
@attrs.frozen(kw_only=True)
class Login:
    """The answer to a login and to a renewal; one that names no refresh token leaves the old one good."""

    access_token: Secret
    refresh_token: Secret | None
    expires_in: timedelta
    user_id: str

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            access_token=Secret(_text(row, "accessToken")),
            refresh_token=None if row.get("refreshToken") is None else Secret(_text(row, "refreshToken")),
            expires_in=timedelta(seconds=float(_number(row, "expiresIn"))),
            user_id=id_in(row, "userId"),
        )


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
            name=_text(row, "name"),
            currency=_text(row, "currency"),
            opened_at=_moment(row, "openedAt"),
        )


# FILL IN: the names in the list of executions
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
            id=id_in(row, "id"),
            order_id=id_in(row, "orderId"),
            symbol=_text(row, "symbol"),
            type=_text(row, "type"),
            currency=_text(row, "currency"),
            side=_text(row, "side"),
            quantity=_number(row, "quantity"),
            price=_number(row, "price"),
            time=_moment(row, "time"),
            commission=None if row.get("commission") is None else _number(row, "commission"),
        )


def id_in(row: Row, name: str) -> str:
    """An id as text with every digit, whether the broker writes it as a number or as text."""
    value = _present(row, name)
    if type(value) is int:
        return str(value)
    return _text(row, name)


def _present(row: Row, name: str) -> Any:
    value = row.get(name)
    if value is None or value == "":
        raise RowError(f"{name} is missing")
    return value


def _text(row: Row, name: str) -> str:
    value = _present(row, name)
    if not isinstance(value, str) or not value.strip():
        raise RowError(f"{name} is no text")
    return value.strip()


def _number(row: Row, name: str) -> Decimal:
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


def _moment(row: Row, name: str) -> datetime:
    """An instant in UTC; a time without a zone is refused, for guessing one moves trades by hours."""
    try:
        moment = datetime.fromisoformat(_text(row, name))
    except ValueError:
        raise RowError(f"{name} is no time") from None
    if moment.tzinfo is None:
        raise RowError(f"{name} has no time zone")
    return moment.astimezone(UTC)
