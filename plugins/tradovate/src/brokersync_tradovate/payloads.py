"""Tradovate's own shapes, typed, in Tradovate's own words.

A row is read strictly where a trade depends on it, and fields that are not named here are ignored: the broker adds
fields every year. The underscored columns of the Fills report repeat the fill entity, so both are read by `Fill`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, Self, TypeAlias, TypeVar

import attrs

from brokersync.plugin import Secret

Row: TypeAlias = Mapping[str, Any]

FEE_CURRENCIES: Mapping[str, str] = {
    "commission": "commissionCurrencyId",
    "exchangeFee": "exchangeCurrencyId",
    "clearingFee": "clearingCurrencyId",
    "nfaFee": "nfaCurrencyId",
    "brokerageFee": "brokerageCurrencyId",
    "ipFee": "ipCurrencyId",
    "orderRoutingFee": "orderRoutingCurrencyId",
}

_LONGEST_SHOWN = 80
_DIGITS = re.compile(r"[0-9]{1,19}")  # as many as 2**63 has
# without a decimal point nobody can tell a thousands separator from a decimal comma
_NUMBER = re.compile(r"[+-]?([0-9]{1,3}(,[0-9]{3})+\.[0-9]+|[0-9]+\.?[0-9]*|\.[0-9]+)(E[+-]?[0-9]+)?", re.IGNORECASE)


class RowError(ValueError):
    """A row that is not what Tradovate documents; the message is a reason to show."""


class Entity(Protocol):
    """What Tradovate gives an id."""

    @property
    def id(self) -> int: ...

    @classmethod
    def of(cls, row: Row) -> Self:
        """Raises `RowError`."""


E = TypeVar("E", bound=Entity)


def by_id(kind: type[E], rows: Iterable[Row], unmapped: Counter[str]) -> dict[int, E]:
    """The rows as entities; one that is not understood is left out and counted."""
    found: dict[int, E] = {}
    for row in rows:
        try:
            one = kind.of(row)
        except RowError as error:
            unmapped[f"{kind.__name__} row: {error}"] += 1
        else:
            found[one.id] = one
    return found


@attrs.frozen(kw_only=True)
class Login:
    """The answer to a login and to a renewal."""

    access_token: Secret
    expiration_time: datetime
    user_id: int
    user_status: str
    name: str
    api_hosts: Mapping[str, str]

    @classmethod
    def of(cls, row: Row) -> Self:
        hosts = row.get("apiHosts")
        return cls(
            access_token=Secret(_text(row, "accessToken")),
            expiration_time=_moment(row, "expirationTime"),
            user_id=_whole(row, "userId"),
            user_status=str(row.get("userStatus") or "Active"),
            name=str(row.get("name") or ""),
            api_hosts={str(key): str(value) for key, value in hosts.items()} if isinstance(hosts, Mapping) else {},
        )


@attrs.frozen(kw_only=True)
class Account:
    """`userId` is left out on purpose: it names the owner, and the accounts of a prop firm all belong to the firm."""

    id: int
    name: str
    timestamp: datetime | None
    account_type: str | None
    gone: bool

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            id=_whole(row, "id"),
            name=_text(row, "name"),
            timestamp=_moment(row, "timestamp") if row.get("timestamp") else None,
            account_type=_text(row, "accountType") if row.get("accountType") else None,
            gone=row.get("active") is False or row.get("closed") is True or row.get("archived") is True,
        )


@attrs.frozen(kw_only=True)
class Fill:
    """An execution; it names its order, and neither its account nor its fees."""

    id: int
    order_id: int
    contract_id: int
    timestamp: datetime
    trade_date: date | None
    action: str
    qty: Decimal
    price: Decimal
    active: bool

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            id=_whole(row, "id"),
            order_id=_whole(row, "orderId"),
            contract_id=_whole(row, "contractId"),
            timestamp=_moment(row, "timestamp"),
            trade_date=_day(row, "tradeDate") if row.get("tradeDate") else None,
            action=_text(row, "action"),
            qty=_number(row, "qty"),
            price=_number(row, "price"),
            active=str(row.get("active", True)).lower() != "false",
        )


@attrs.frozen(kw_only=True)
class FillFee:
    """What a fill cost, by Tradovate's name of the fee: its amount and the id of its currency.

    The id is that of the fill. An amount that is absent was not reported, which is not zero.
    """

    id: int
    amounts: Mapping[str, tuple[Decimal, int | None]]

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            id=_whole(row, "id"),
            amounts={
                name: (_number(row, name), _whole(row, currency) if row.get(currency) is not None else None)
                for name, currency in FEE_CURRENCIES.items()
                if row.get(name) is not None
            },
        )


@attrs.frozen(kw_only=True)
class Order:
    id: int
    account_id: int

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(id=_whole(row, "id"), account_id=_whole(row, "accountId"))


@attrs.frozen(kw_only=True)
class Contract:
    id: int
    name: str
    contract_maturity_id: int

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            id=_whole(row, "id"),
            name=_text(row, "name"),
            contract_maturity_id=_whole(row, "contractMaturityId"),
        )


@attrs.frozen(kw_only=True)
class ContractMaturity:
    id: int
    product_id: int
    expiration_date: datetime | None

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            id=_whole(row, "id"),
            product_id=_whole(row, "productId"),
            expiration_date=_moment(row, "expirationDate") if row.get("expirationDate") else None,
        )


@attrs.frozen(kw_only=True)
class Product:
    """`value_per_point` is the money that one contract makes when the price moves by 1."""

    id: int
    name: str
    currency_id: int
    product_type: str
    value_per_point: Decimal

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            id=_whole(row, "id"),
            name=_text(row, "name"),
            currency_id=_whole(row, "currencyId"),
            product_type=_text(row, "productType"),
            value_per_point=_number(row, "valuePerPoint"),
        )


@attrs.frozen(kw_only=True)
class Currency:
    """Ids of currencies are no ISO numbers, and differ between live and demo."""

    id: int
    name: str

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(id=_whole(row, "id"), name=_text(row, "name").upper())


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


def _present(row: Row, name: str) -> Any:
    value = row.get(name)
    if value is None or value == "":
        raise RowError(f"{name} is missing")
    return value


def _text(row: Row, name: str) -> str:
    value = _present(row, name)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise RowError(f"{name} is no text")
    return value.strip()


def _whole(row: Row, name: str) -> int:
    value = _present(row, name)
    if type(value) is int:
        return value
    number = whole_number(value) if isinstance(value, str) else None
    if number is None:
        raise RowError(f"{name} is no whole number")
    return number


def _number(row: Row, name: str) -> Decimal:
    value = _present(row, name)
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise RowError(f"{name} is no number")
    return exact_number(value) if isinstance(value, str) else Decimal(value)


def _moment(row: Row, name: str) -> datetime:
    text = _text(row, name)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RowError(f"{name} is no time") from None
    if moment.tzinfo is None:
        raise RowError(f"{name} has no time zone")
    return moment.astimezone(UTC)


def _day(row: Row, name: str) -> date:
    value = _present(row, name)
    parts = [_whole(value, part) for part in ("year", "month", "day")] if isinstance(value, Mapping) else None
    text = "" if parts else _text(row, name)
    try:
        return date(*parts) if parts else date.fromisoformat(text)
    except ValueError:
        raise RowError(f"{name} is no date") from None
