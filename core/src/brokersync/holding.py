"""Holding a lease for as long as something takes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta

from brokersync.errors import BrokerNotReadyError, StoreError
from brokersync.records import Era, Lease
from brokersync.shared import Shared

_BEATS_PER_LEASE = 3
_TRIES_PER_BEAT = 5
_LOOK_EVERY = 0.05


class Held:
    """A lease while it is held; `working` is where the work is done that depends on it."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self._lapsed: StoreError | None = None
        self._limit: asyncio.Timeout | None = None

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Ends what is done within when the lease lapses, with the `StoreError` that kept it from being extended."""
        try:
            async with asyncio.timeout(None) as self._limit:
                if self._lapsed is not None:
                    raise self._lapsed
                yield
        except TimeoutError:
            if self._lapsed is None or self._limit is None or not self._limit.expired():
                raise
            raise self._lapsed from None
        finally:
            self._limit = None

    def lapse(self, error: StoreError) -> None:
        """Nobody knows any more whether the work is this worker's; what is committed says so, by its fence."""
        self._lapsed = error
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())


@asynccontextmanager
async def held(shared: Shared, name: str, owner: str) -> AsyncIterator[Held | None]:
    """The lease of that name, against all other workers; `None` when another one has it."""
    lasts, now = shared.settings.lease, shared.clock.now()
    holder = f"{shared.worker}-{secrets.token_hex(4)}"
    lease = await shared.store.take_lease(name, owner=owner, holder=holder, now=now, until=now + lasts)
    if lease.holder != holder:
        yield None
        return
    made = Held(lease)
    beating = asyncio.create_task(_keep(shared, made), name=f"lease of {name}")
    try:
        yield made
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
        with suppress(StoreError):
            await shared.store.release_lease(made.lease)


async def begin_in_era(shared: Shared, owner: str, provider: str, *, known: bool = False) -> Era:
    """See `Store.begin_in_era`: for what is written without a lease, by however many at once."""
    return await shared.store.begin_in_era(owner, provider, secrets.token_hex(8), shared.clock.now(), known=known)


@asynccontextmanager
async def in_turn(shared: Shared, name: str, wait: timedelta) -> AsyncIterator[None]:
    """Among all workers one after another; raises `BrokerNotReadyError` when others are at it for longer than `wait`.

    The lease is nobody's, since its owner may have nothing here yet; so its name must not show whose it is.
    """
    loop = asyncio.get_running_loop()
    async with shared.locks[name], AsyncExitStack() as stack:
        # the loop's time: it goes on while another worker is at it, and no test has to wait for it
        until = loop.time() + wait.total_seconds()
        while await stack.enter_async_context(held(shared, name, "")) is None:
            if loop.time() >= until:
                raise BrokerNotReadyError("Another worker is at the same, and has not come to an end yet.")
            await stack.aclose()
            await asyncio.sleep(_LOOK_EVERY)
        yield


async def _keep(shared: Shared, made: Held) -> None:
    """Say that this worker is alive; a store that can not be told until the lease has ended, ends the work."""
    beat = shared.settings.lease.total_seconds() / _BEATS_PER_LEASE
    wait = beat
    while True:
        # the loop's time, not the clock's: it goes on while a request waits, and no test has to wait for it
        await asyncio.sleep(wait)
        try:
            extended = await shared.store.extend_lease(made.lease, shared.clock.now() + shared.settings.lease)
        except StoreError as error:
            if shared.clock.now() >= made.lease.expires_at:
                made.lapse(error)
                return
            wait = beat / _TRIES_PER_BEAT
            continue
        if extended is None:
            return
        made.lease, wait = extended, beat
