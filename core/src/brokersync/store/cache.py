"""A provider's reference data in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from brokersync.store.protocol import Store


class StoreCache:
    """Durable reference data of one broker environment, shared by all owners: instruments are nobody's secret."""

    def __init__(self, store: Store, provider: str, environment: str) -> None:
        self._store, self._provider, self._environment = store, provider, environment

    async def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        return await self._store.cache_get(self._provider, self._environment, keys)

    async def put_many(self, values: Mapping[str, Any]) -> None:
        await self._store.cache_put(self._provider, self._environment, values)
