"""The REST entities of the simulated broker, and the operations that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta

import attrs

from brokersync_tradovate.sandbox_market import PRODUCTS, Contract, contracts_between
from brokersync_tradovate.sandbox_views import (
    View,
    cash_balance_rows,
    execution_report_rows,
    fill_fee_rows,
    fill_rows,
    order_rows,
    pair_rows,
    position_rows,
)
from brokersync_tradovate.sandbox_wire import MALFORMED, NOT_FOUND, RefusedError, Row, stamp

_LARGEST_BATCH = 10
_SCATTER = 2_654_435_761


@attrs.frozen
class _Entity:
    rows: Callable[[View], Iterator[Row]]
    master: str | None = None
    listed: bool = True


def entity_answer(view: View, entity: str, operation: str, query: Mapping[str, str]) -> Row | list[Row]:
    """Raises `RefusedError`: 404 for what is not there, for batches of more than ten ids and unknown operations."""
    known, run = _ENTITIES.get(entity), _OPERATIONS.get(operation)
    if known is None or run is None:
        raise RefusedError(NOT_FOUND)
    # The order of lists is not to be relied on, hence none is given.
    rows = sorted(known.rows(view), key=lambda row: _number(row["id"]) * _SCATTER % 2**32)
    return run(known, rows, query)


def _list(entity: _Entity, rows: list[Row], query: Mapping[str, str]) -> list[Row]:
    if not entity.listed:
        raise RefusedError(NOT_FOUND)
    return rows


def _item(entity: _Entity, rows: list[Row], query: Mapping[str, str]) -> Row:
    return _items(entity, rows, {"ids": query.get("id", "")})[0]


def _items(entity: _Entity, rows: list[Row], query: Mapping[str, str]) -> list[Row]:
    return _chosen(rows, "id", query.get("ids", "")) or _absent()


def _find(entity: _Entity, rows: list[Row], query: Mapping[str, str]) -> Row:
    found = [row for row in rows if row.get("name") == query.get("name")]
    return found[0] if found else _absent()[0]


def _deps(entity: _Entity, rows: list[Row], query: Mapping[str, str]) -> list[Row]:
    return _ldeps(entity, rows, {"masterids": query.get("masterid", "")})


def _ldeps(entity: _Entity, rows: list[Row], query: Mapping[str, str]) -> list[Row]:
    if entity.master is None:
        raise RefusedError(NOT_FOUND)
    return _chosen(rows, entity.master, query.get("masterids", ""))


def _chosen(rows: list[Row], column: str, ids: str) -> list[Row]:
    try:
        wanted = [int(number) for number in ids.split(",")]
    except ValueError:
        raise RefusedError(MALFORMED) from None
    if len(wanted) > _LARGEST_BATCH:
        raise RefusedError(NOT_FOUND)
    return [row for row in rows if row.get(column) in wanted]


def _absent() -> list[Row]:
    raise RefusedError(NOT_FOUND)


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def _users(view: View) -> Iterator[Row]:
    user = view.user
    yield {
        "id": user.id,
        "name": user.name,
        "email": f"{user.name}@example.com",
        "status": "Active",
        "organizationId": 77 if user.organisation else 1,
        "professional": False,
    }


def _accounts(view: View) -> Iterator[Row]:
    for account in view.accounts():
        yield {
            "id": account.id,
            "name": account.name,
            "userId": account.owner_id,
            "accountType": "Customer",
            "active": account.active,
            "closed": account.closed,
            "archived": account.archived,
            "clearingHouseId": 2,
            "riskCategoryId": 13,
            "autoLiqProfileId": account.id,
            "marginAccountType": "Speculator",
            "legalStatus": "Individual",
            "timestamp": stamp(account.created),
            "readonly": False,
        }


def _contracts(view: View) -> Iterator[Row]:
    for contract in _tradable(view):
        yield {
            "id": view.catalogue.contract_id(contract),
            "name": contract.name,
            "contractMaturityId": view.catalogue.maturity_id(contract),
        }


def _maturities(view: View) -> Iterator[Row]:
    future = PRODUCTS[3]
    for contract in _tradable(view):
        if contract.variant:
            continue
        row: Row = {
            "id": view.catalogue.maturity_id(contract),
            "productId": view.catalogue.product_id(contract.product),
            "expirationMonth": contract.year * 100 + contract.month,
            "expirationDate": stamp(datetime.combine(contract.expires, time(14, 30), UTC)),
            "isFront": False,
        }
        if contract.product.product_type == "Options":
            row["underlyingId"] = view.catalogue.contract_id(Contract(future, contract.quarter))
        yield row


def _tradable(view: View) -> Iterator[Contract]:
    years = timedelta(days=730)
    return contracts_between(view.book.first, view.now.date() + years)


def _products(view: View) -> Iterator[Row]:
    for product in PRODUCTS:
        yield {
            "id": view.catalogue.product_id(product),
            "name": product.name,
            "currencyId": view.catalogue.currencies[product.currency],
            "productType": product.product_type,
            "description": product.description,
            "exchangeId": 10 if product.currency == "EUR" else 1,
            "contractGroupId": 5,
            "status": "Verified",
            "isSecured": False,
            "valuePerPoint": product.value_per_point,
            "priceFormatType": "Fractional" if product.fractional else "Decimal",
            "priceFormat": product.price_format,
            "tickSize": product.tick,
        }


def _currencies(view: View) -> Iterator[Row]:
    for code, number in view.catalogue.currencies.items():
        yield {"id": number, "name": code, "symbol": {"USD": "$", "EUR": "\u20ac"}.get(code, code)}


_ENTITIES: Mapping[str, _Entity] = {
    "user": _Entity(_users),
    "account": _Entity(_accounts, "userId"),
    "fill": _Entity(fill_rows, "orderId"),
    "fillfee": _Entity(fill_fee_rows, "id"),
    "order": _Entity(order_rows, "accountId"),
    "fillpair": _Entity(pair_rows, "positionId"),
    "position": _Entity(position_rows, "accountId"),
    "executionreport": _Entity(execution_report_rows, "commandId"),
    "contract": _Entity(_contracts, "contractMaturityId", listed=False),
    "contractmaturity": _Entity(_maturities, "productId", listed=False),
    "product": _Entity(_products, "exchangeId"),
    "currency": _Entity(_currencies),
    "cashbalance": _Entity(cash_balance_rows, "accountId"),
}
_OPERATIONS: Mapping[str, Callable[[_Entity, list[Row], Mapping[str, str]], Row | list[Row]]] = {
    "list": _list,
    "item": _item,
    "items": _items,
    "find": _find,
    "deps": _deps,
    "ldeps": _ldeps,
}
