"""Holding a lease for as long as something takes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from brokersync.errors import StoreError
from brokersync.records import Lease
from brokersync.shared import Shared

_BEATS_PER_LEASE = 3


@asynccontextmanager
async def held(shared: Shared, name: str, owner: str) -> AsyncIterator[Lease | None]:
    """The lease of that name, against all other workers; `None` when another one has it."""
    lasts, now = shared.settings.lease, shared.clock.now()
    holder = f"{shared.worker}-{secrets.token_hex(4)}"
    lease = await shared.store.take_lease(name, owner=owner, holder=holder, now=now, until=now + lasts)
    if lease.holder != holder:
        yield None
        return
    beating = asyncio.create_task(_keep(shared, lease, lasts), name=f"lease of {name}")
    try:
        yield lease
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError, StoreError):
            await beating
        with suppress(StoreError):
            await shared.store.release_lease(lease)


async def _keep(shared: Shared, lease: Lease, lasts: timedelta) -> None:
    """Say that this worker is alive, until another has taken over."""
    while True:
        # the loop's time, not the clock's: it goes on while a request waits, and no test has to wait for it
        await asyncio.sleep(lasts.total_seconds() / _BEATS_PER_LEASE)
        if await shared.store.extend_lease(lease, shared.clock.now() + lasts) is None:
            return
