"""The sessions that a login has at its broker, counted over all who use it: one too many is never opened."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from typing import Final

from brokersync.errors import (
    BrokerError,
    BrokerPluginError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    StoreError,
)
from brokersync.limits import SessionLimit
from brokersync.manifest import Manifest
from brokersync.provider import Clock
from brokersync.records import Lease
from brokersync.store import Store

_NOBODY: Final = ""
# what stands before the broker answers so without having asked it whether the login came through
_GATEWAY: Final = (502, 504)


class LoginSessions:
    """The places that a broker has for the sessions of one login; each stands in the store as a lease of nobody's.

    It outlives its owner there for as long as the session lives, under a name that does not show whose it is.
    """

    def __init__(self, manifest: Manifest, store: Store, clock: Clock) -> None:
        self._manifest, self._limit = manifest, manifest.sessions
        self._store, self._clock = store, clock

    async def open(self, fields: Mapping[str, str]) -> Lease | None:
        """A place for one more; `None` where the broker does not count.

        Raises `BrokerRateLimitError` until the first of those that may live still has ended.
        """
        limit = self._limit
        if limit is None or not (name := fields.get(limit.named_by, "").strip().lower()):
            return None
        now, holder, ends = self._clock.now(), secrets.token_hex(8), list[datetime]()
        for place in range(limit.most):
            lease = await self._store.take_lease(
                self._name(name, place), owner=_NOBODY, holder=holder, now=now, until=now + limit.lasts
            )
            if lease.holder == holder:
                return lease
            ends.append(lease.expires_at)
        raise self._all_taken(limit, min(ends))

    async def keep(self, session: Lease | None, told: datetime | None) -> None:
        """It lives on, since it was made or renewed just now, until the broker's word for its end at least."""
        if session is None or self._limit is None:
            return
        until = self._clock.now() + self._limit.lasts
        with suppress(StoreError):  # the place is kept as long as without, and ends a little early
            await self._store.extend_lease(session, until if told is None else max(until, told))

    async def end(self, session: Lease | None) -> None:
        """The broker does not take it any more, or has not opened it."""
        if session is not None:
            with suppress(StoreError):  # it ends by itself
                await self._store.release_lease(session)

    def _name(self, login: str, place: int) -> str:
        whose = sha256(f"{self._manifest.key}\0{login}".encode()).hexdigest()[:32]
        return f"session|{whose}|{place}"

    def _all_taken(self, limit: SessionLimit, ends: datetime) -> BrokerRateLimitError:
        broker = self._manifest.display_name
        error = BrokerRateLimitError(
            f"{broker} lets a login have {limit.most} sessions at once, and as many were opened here that may live "
            f"until {ends:%H:%M} UTC or longer. One more would close one of them.",
            remedy=f"Nothing was sent. Try again after {ends:%H:%M} UTC; what a worker syncs is tried again by itself.",
            retry_after=ends - self._clock.now(),
            provider=self._manifest.key,
            operation="authenticate",
        )
        error.ours = True
        return error


def may_be_open(error: BaseException) -> bool:
    """Whether the broker may have opened a session although no answer of it came to a good end."""
    if not isinstance(error, BrokerError) or isinstance(error, (BrokerPluginError, BrokerResponseError)):
        return True
    if isinstance(error, (BrokerTimeoutError, BrokerUnavailableError)):
        return error.sent and (error.status is None or error.status in _GATEWAY)
    return False
