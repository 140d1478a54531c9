"""What a contract is: four entities, each asked of Tradovate once and then kept in the durable cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from brokersync.plugin import AuthResult, ProviderContext
from brokersync_tradovate.client import TradovateClient
from brokersync_tradovate.normalise import is_known_product_type, plain
from brokersync_tradovate.payloads import Contract, ContractMaturity, Currency, E, Product, by_id
from brokersync_tradovate.references import Reference, joined
from brokersync_tradovate.rows import Row

Cached: TypeAlias = Callable[[Sequence[str]], Mapping[str, Any]]


class ReferenceData:
    """Instruments and currencies of one environment, for one answer.

    An id means another thing in the other environment, so the cache keeps them apart. What Tradovate does not tell is
    left out, counted in `unmapped`, and asked for again the next time.
    """

    def __init__(
        self,
        context: ProviderContext,
        client: TradovateClient,
        auth: AuthResult,
        environment: str,
        unmapped: Counter[str],
    ) -> None:
        self._cache, self._client = context.cache, client
        self._auth, self._environment, self._unmapped = auth, environment, unmapped

    async def contracts(self, symbols: Mapping[int, str | None]) -> dict[int, Reference]:
        """What is known of each contract id; `symbols` holds what the rows themselves call it."""
        contracts = await self._items(Contract, "contract", symbols)
        maturities = await self._items(
            ContractMaturity, "contractMaturity", (one.contract_maturity_id for one in contracts.values())
        )
        products = await self._items(Product, "product", (one.product_id for one in maturities.values()))
        codes = await self.currencies(one.currency_id for one in products.values())
        self._unmapped.update(
            f"productType {one.product_type}" for one in products.values() if not is_known_product_type(one)
        )
        return joined(symbols, contracts, maturities, products, codes)

    async def currencies(self, ids: Iterable[int]) -> dict[int, str]:
        """The code of each currency id. There are few of them, so they are all asked for at once."""
        wanted = sorted(set(ids))
        known = await self._cached(Currency, "currency", wanted)
        if len(known) < len(wanted):
            rows = await self._client.list_all(self._auth, self._environment, "currency")
            known |= await self._keep(Currency, "currency", rows)
        self._count_missing("currency", wanted, known)
        return {one: known[one].name for one in wanted if one in known}

    async def _items(self, kind: type[E], entity: str, ids: Iterable[int]) -> dict[int, E]:
        wanted = sorted(set(ids))
        known = await self._cached(kind, entity, wanted)
        missing = [one for one in wanted if one not in known]
        if missing:
            rows = await self._client.list_items(self._auth, self._environment, entity, missing)
            known |= await self._keep(kind, entity, rows)
        self._count_missing(entity, wanted, known)
        return known

    async def _cached(self, kind: type[E], entity: str, ids: Sequence[int]) -> dict[int, E]:
        rows = await self._cache.get_many([self._key(entity, one) for one in ids]) if ids else {}
        return by_id(kind, rows.values(), self._unmapped)

    async def _keep(self, kind: type[E], entity: str, rows: Iterable[Row]) -> dict[int, E]:
        """Only what was understood is kept, so that a malformed row is asked for again."""
        known: dict[int, E] = {}
        values: dict[str, Row] = {}
        for row in rows:
            understood = by_id(kind, (row,), self._unmapped)
            known |= understood
            values |= {self._key(entity, one): plain(row) for one in understood}
        await self._cache.put_many(values)
        return known

    def _count_missing(self, entity: str, wanted: Sequence[int], known: Mapping[int, object]) -> None:
        missing = sum(1 for one in wanted if one not in known)
        if missing:
            self._unmapped[f"{entity} not found"] += missing

    def _key(self, entity: str, number: int) -> str:
        return _key(self._environment, entity, number)


def nothing_cached(_: Sequence[str]) -> Mapping[str, Any]:
    return {}


def cached_contracts(cached: Cached, environment: str, symbols: Mapping[int, str | None]) -> dict[int, Reference]:
    """What was kept of each contract for whoever asked Tradovate before: rows of a file have nobody to ask."""

    def kept(kind: type[E], entity: str, ids: Iterable[int]) -> dict[int, E]:
        keys = [_key(environment, entity, one) for one in sorted(set(ids))]
        return by_id(kind, cached(keys).values(), Counter()) if keys else {}

    contracts = kept(Contract, "contract", symbols)
    maturities = kept(ContractMaturity, "contractMaturity", (one.contract_maturity_id for one in contracts.values()))
    products = kept(Product, "product", (one.product_id for one in maturities.values()))
    currencies = kept(Currency, "currency", (one.currency_id for one in products.values()))
    return joined(symbols, contracts, maturities, products, {one.id: one.name for one in currencies.values()})


def _key(environment: str, entity: str, number: int) -> str:
    return f"{entity}:{environment}:{number}"
