"""Tradovate's own shapes, typed, in Tradovate's own words.

A row is read strictly where a trade depends on it, and fields that are not named here are ignored: the broker adds
fields every year. The underscored columns of the Fills report repeat the fill entity, so both are read by `Fill`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol, Self, TypeVar

import attrs

from brokersync.plugin import Secret
from brokersync_tradovate.rows import Row, RowError, day_in, if_told, moment_in, number_in, text_in, texts_in, whole_in

FEE_CURRENCIES: Mapping[str, str] = {
    "commission": "commissionCurrencyId",
    "exchangeFee": "exchangeCurrencyId",
    "clearingFee": "clearingCurrencyId",
    "nfaFee": "nfaCurrencyId",
    "brokerageFee": "brokerageCurrencyId",
    "ipFee": "ipCurrencyId",
    "orderRoutingFee": "orderRoutingCurrencyId",
}


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
        return cls(
            access_token=Secret(text_in(row, "accessToken")),
            expiration_time=moment_in(row, "expirationTime"),
            user_id=whole_in(row, "userId"),
            user_status=str(row.get("userStatus") or "Active"),
            name=str(row.get("name") or ""),
            api_hosts=texts_in(row, "apiHosts"),
        )


@attrs.frozen(kw_only=True)
class Account:
    """`userId` is left out on purpose: it names the owner, and the accounts of a prop firm all belong to the firm.

    No trade depends on `timestamp` and `account_type`: without them an account is read from as far back as there is
    anything. Why one of them is not understood is `odd`.
    """

    id: int
    name: str
    timestamp: datetime | None
    account_type: str | None
    gone: bool
    odd: tuple[str, ...] = ()

    @classmethod
    def of(cls, row: Row) -> Self:
        odd: list[str] = []
        return cls(
            id=whole_in(row, "id"),
            name=text_in(row, "name"),
            timestamp=if_told(moment_in, row, "timestamp", odd),
            account_type=if_told(text_in, row, "accountType", odd),
            odd=tuple(odd),
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
            id=whole_in(row, "id"),
            order_id=whole_in(row, "orderId"),
            contract_id=whole_in(row, "contractId"),
            timestamp=moment_in(row, "timestamp"),
            trade_date=day_in(row, "tradeDate") if row.get("tradeDate") else None,
            action=text_in(row, "action"),
            qty=number_in(row, "qty"),
            price=number_in(row, "price"),
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
            id=whole_in(row, "id"),
            amounts={
                name: (number_in(row, name), whole_in(row, currency) if row.get(currency) is not None else None)
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
        return cls(id=whole_in(row, "id"), account_id=whole_in(row, "accountId"))


@attrs.frozen(kw_only=True)
class Contract:
    id: int
    name: str
    contract_maturity_id: int

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            id=whole_in(row, "id"),
            name=text_in(row, "name"),
            contract_maturity_id=whole_in(row, "contractMaturityId"),
        )


@attrs.frozen(kw_only=True)
class ContractMaturity:
    id: int
    product_id: int
    expiration_date: datetime | None

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            id=whole_in(row, "id"),
            product_id=whole_in(row, "productId"),
            expiration_date=moment_in(row, "expirationDate") if row.get("expirationDate") else None,
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
            id=whole_in(row, "id"),
            name=text_in(row, "name"),
            currency_id=whole_in(row, "currencyId"),
            product_type=text_in(row, "productType"),
            value_per_point=number_in(row, "valuePerPoint"),
        )


@attrs.frozen(kw_only=True)
class Currency:
    """Ids of currencies are no ISO numbers, and differ between live and demo."""

    id: int
    name: str

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(id=whole_in(row, "id"), name=text_in(row, "name").upper())
