"""The sessions that a login has at its broker, counted over all who use it: one too many is never opened."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from brokersync.errors import (
    BrokerAuthError,
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
_WAITS: Final = "waits"
# whoever was put off comes soon after its time, where `sync-due` is run every so many minutes
_COMES_WITHIN: Final = timedelta(minutes=30)
_REQUEST_TIMEOUT: Final = 408
_UNAVAILABLE: Final = 503


class LoginSessions:
    """The places that a broker has for the sessions of one login; each stands in the store as a lease of nobody's.

    It outlives its owner there for as long as the session lives, under a name that does not show whose it is. A login
    that finds all taken waits, and until it has come none of the sessions is renewed, so that one of them ends.
    """

    def __init__(self, manifest: Manifest, store: Store, clock: Clock) -> None:
        self._manifest, self._limit = manifest, manifest.sessions
        self._store, self._clock = store, clock

    async def open(self, fields: Mapping[str, str]) -> Lease | None:
        """A place for one more; `None` where the broker does not count.

        Raises `BrokerRateLimitError` until the first of those that may live still has ended.
        """
        if (limit := self._limit) is None or (login := self._login(fields)) is None:
            return None
        taken = await self._take(login, limit)
        waits = f"{login}|waits"
        if isinstance(taken, Lease):
            flag = await self._lease(waits, _WAITS, self._clock.now())
            await self._store.release_lease(flag)
            return taken
        await self._lease(waits, _WAITS, taken + _COMES_WITHIN)
        raise self._put_off(
            f"{self._manifest.display_name} lets a login have {limit.most} sessions at once, and as many that were "
            f"opened here may live until {taken:%H:%M} UTC. One more would close one of them.",
            taken,
        )

    async def going_on(
        self, session: Lease | None, fields: Mapping[str, str], ends: datetime | None = None
    ) -> Lease | None:
        """The place of a session that is about to be renewed, kept though the answer may be lost; else one it gets now.

        Raises `BrokerRateLimitError` where another login waits for one to end, as it will at `ends`.
        """
        now = self._clock.now()
        if (limit := self._limit) is None or (login := self._login(fields)) is None or (ends or now) < now:
            return session
        if session is not None and ends is not None and await self._awaited(login):
            raise self._put_off(
                f"Another user of this {self._manifest.display_name} login waits for a session of it to end.", ends
            )
        if session is not None and (kept := await self._store.extend_lease(session, now + limit.lasts)) is not None:
            return kept
        taken = await self._take(login, limit)
        return taken if isinstance(taken, Lease) else None

    async def keep(self, session: Lease | None, told: datetime | None) -> None:
        """It lives on, since it was made or renewed just now, until the broker's word for its end at least."""
        if session is None or self._limit is None:
            return
        until = self._clock.now() + self._limit.lasts
        with suppress(StoreError):  # the place is kept as long as without, and ends a little early
            await self._store.extend_lease(session, until if told is None else max(until, told))

    async def end(self, session: Lease | None) -> None:
        """The broker has not opened it."""
        if session is not None:
            with suppress(StoreError):  # it ends by itself
                await self._store.release_lease(session)

    async def make_way(self, session: Lease | None, fields: Mapping[str, str]) -> None:
        """The broker takes the session no more, and another is to be opened for it.

        Raises `BrokerRateLimitError` where another login waits, which comes first. Who has had no place has waited too.
        """
        login = self._login(fields)
        if session is None or login is None or await self._store.extend_lease(session, self._clock.now()) is None:
            return
        await self._store.release_lease(session)
        if (until := await self._awaited(login)) is not None:
            raise self._put_off(
                f"The session has ended, and another user of this {self._manifest.display_name} login comes first.",
                until,
            )

    async def _take(self, login: str, limit: SessionLimit) -> Lease | datetime:
        """A place; or when the first of those that are taken is free."""
        holder, ends = secrets.token_hex(8), list[datetime]()
        until = self._clock.now() + limit.lasts
        for place in range(limit.most):
            lease = await self._lease(f"{login}|{place}", holder, until)
            if lease.holder == holder:
                return lease
            ends.append(lease.expires_at)
        return min(ends)

    async def _awaited(self, login: str) -> datetime | None:
        """Until when another login is awaited that has found all places taken."""
        now = self._clock.now()
        flag = await self._lease(f"{login}|waits", "", now)
        return flag.expires_at if flag.holder == _WAITS and now < flag.expires_at else None

    async def _lease(self, name: str, holder: str, until: datetime) -> Lease:
        now = self._clock.now()
        return await self._store.take_lease(name, owner=_NOBODY, holder=holder, now=now, until=until)

    def _login(self, fields: Mapping[str, str]) -> str | None:
        """The name of what stands in the store for the login; it does not show whose it is."""
        if self._limit is None or not (name := fields.get(self._limit.named_by, "").strip().lower()):
            return None
        whose = sha256(f"{self._manifest.key}\0{name}".encode()).hexdigest()
        return f"session|{whose[:32]}"

    def _put_off(self, message: str, until: datetime) -> BrokerRateLimitError:
        return BrokerRateLimitError(
            message,
            remedy=f"Nothing was sent. Connect after {until:%H:%M} UTC; a sync is put off until then by itself.",
            retry_after=until - self._clock.now(),
            provider=self._manifest.key,
            operation="authenticate",
        )


def may_be_open(error: BaseException) -> bool:
    """Whether the broker may have opened a session although its answer gave none."""
    if isinstance(error, BrokerAuthError):
        return error.opened
    if not isinstance(error, BrokerError) or isinstance(error, (BrokerPluginError, BrokerResponseError)):
        return True
    if isinstance(error, (BrokerTimeoutError, BrokerUnavailableError)):
        return error.sent and _may_have_come_through(error.status)
    return False


def _may_have_come_through(status: int | None) -> bool:
    return status is None or status == _REQUEST_TIMEOUT or (status >= 500 and status != _UNAVAILABLE)
