"""Other keys for what is sealed already; it may be interrupted at any moment and repeated."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import attrs

from brokersync.errors import LeaseLostError, StoreError
from brokersync.masterkeys import Rotates
from brokersync.provider import Clock
from brokersync.records import Lease
from brokersync.sealing import DataKey, KeyProvider, Sealer
from brokersync.store import SealedGrant, Store

_LASTS: Final = timedelta(minutes=2)
_STORING_TAKES_AT_MOST: Final = 10.0
_NAME: Final = "rotate-key"


@attrs.frozen(kw_only=True)
class KeyRotation:
    """What a rotation did: for how many owners the data key was wrapped anew, and how many data keys are new.

    `remains` says what is left to do for the operator.
    """

    rewrapped: int = 0
    replaced: int = 0
    remains: tuple[str, ...] = ()


class Rotation:
    """One rotation of all data keys in a store. Make it, call it once."""

    def __init__(self, store: Store, keys: KeyProvider, clock: Clock, worker: str) -> None:
        self._store, self._keys, self._clock = store, keys, clock
        # of its own, since a lease is given again to who holds it
        self._holder = f"{worker}-{secrets.token_hex(4)}"
        self._wrapped: dict[str, bytes] = {}
        self._replaced = 0

    async def __call__(self, *, data_keys: bool) -> KeyRotation:
        """Wrap each data key anew, or make a new one. Raises `StoreError` while this is under way already."""
        lease = await self._hold()
        try:
            keys = await self._keys.begin() if isinstance(self._keys, Rotates) else self._keys
            await self._pass(keys, lease, data_keys=data_keys)
            remains = await self._keys.end() if isinstance(self._keys, Rotates) else ()
            # an owner may have come meanwhile, by a process that had read the old key just before
            await self._pass(keys, lease, data_keys=False)
        finally:
            await _seen_through(self._store.release_lease(lease))
        return KeyRotation(
            rewrapped=len(self._wrapped) - self._replaced, replaced=self._replaced, remains=tuple(remains)
        )

    async def _hold(self) -> Lease:
        try:
            lease = await self._take()
        except asyncio.CancelledError:
            # it may be taken nevertheless; a store that does not answer keeps nobody waiting for long
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(_STORING_TAKES_AT_MOST):
                    await _seen_through(self._give_back())
            raise
        if lease.holder != self._holder:
            raise StoreError("The key is being rotated already.", remedy="Wait until that is done.")
        return lease

    async def _give_back(self) -> None:
        """Who holds it is given it again, whenever the first time was stored."""
        lease = await self._take()
        if lease.holder == self._holder:
            await self._store.release_lease(lease)

    async def _take(self) -> Lease:
        now = self._clock.now()
        return await self._store.take_lease(_NAME, owner="", holder=self._holder, now=now, until=now + _LASTS)

    async def _pass(self, keys: KeyProvider, lease: Lease, *, data_keys: bool) -> None:
        sealer, after = Sealer(keys), ""
        while page := await self._store.wrapped_keys(after):
            for owner, wrapped in page:
                if self._wrapped.get(owner) != wrapped:
                    await self._one(sealer, owner, wrapped, data_keys=data_keys)
            if await self._store.extend_lease(lease, self._clock.now() + _LASTS) is None:
                raise LeaseLostError(_NAME)
            after = page[-1][0]

    async def _one(self, sealer: Sealer, owner: str, wrapped: bytes, *, data_keys: bool) -> None:
        new = await (sealer.new_data_key(owner) if data_keys else sealer.rewrapped(wrapped, owner))
        if data_keys:
            old_key, new_key = await sealer.data_key(wrapped, owner), await sealer.data_key(new, owner)
            done = await self._store.reseal(owner, wrapped, new, lambda grant: _resealed(grant, old_key, new_key))
        else:
            done = await self._store.replace_key(owner, wrapped, new)
        # where it was not done the owner was forgotten this moment
        if done:
            self._wrapped[owner] = new
            self._replaced += data_keys


async def _seen_through(work: Coroutine[Any, Any, None]) -> None:
    """A cancellation waits for the work to end, for as long as a store in working order may take."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=_STORING_TAKES_AT_MOST)
        task.cancel()
        raise


def _resealed(grant: SealedGrant, old: DataKey, new: DataKey) -> SealedGrant:
    """The same grant, sealed with another data key."""
    auth, credentials = f"auth|{grant.row}", f"credentials|{grant.row}"
    return attrs.evolve(
        grant,
        auth=new.seal(auth, old.unseal(auth, grant.auth)),
        credentials=new.seal(credentials, old.unseal(credentials, grant.credentials)),
    )
