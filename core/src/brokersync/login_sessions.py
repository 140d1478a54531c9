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
    BrokerNotReadyError,
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
from brokersync.session_places import place_name, places_of, turn_name, waiter_name
from brokersync.store import Store

_NOBODY: Final = ""
_WAITS: Final = "waits:"
# whoever was put off comes soon after its time, where `sync-due` is run every so many minutes
_COMES_WITHIN: Final = timedelta(minutes=30)
_REQUEST_TIMEOUT: Final = 408
_UNAVAILABLE: Final = 503


class LoginSessions:
    """The places that a broker has for the sessions of one login; each stands in the store as a lease of nobody's.

    It outlives its owner there for as long as the session lives, under a name that does not show whose it is. An owner
    who finds all taken leaves a note, and until they have come none of the others' sessions is renewed, so that one
    ends, and nobody else takes what gets free.
    """

    def __init__(self, manifest: Manifest, store: Store, clock: Clock, owner: str) -> None:
        self._manifest, self._limit = manifest, manifest.sessions
        self._store, self._clock = store, clock
        self._whose = f"{_WAITS}{sha256(owner.encode()).hexdigest()[:32]}"

    async def open(self, fields: Mapping[str, str], instead_of: Lease | None = None) -> Lease | None:
        """A place for one more; `None` where the broker does not count. That of a session that died early is its own.

        Raises `BrokerRateLimitError` until the first of those that may live still has ended.
        """
        if (limit := self._limit) is None or (login := self._login(fields)) is None:
            return None
        if instead_of is not None and (kept := await self._extended(instead_of, limit)) is not None:
            return kept
        taken = await self._take(login, limit)
        if isinstance(taken, datetime):
            await self._lease(turn_name(login), self._whose, taken + _COMES_WITHIN)
            await self._wait(login, taken + _COMES_WITHIN)
            raise self._all_taken(limit, taken)
        try:
            await self._let_others_in(login, limit)
        except BaseException:
            await self.end(taken)
            raise
        await self._wait(login, self._clock.now())
        return taken

    async def going_on(
        self, session: Lease | None, fields: Mapping[str, str], ends: datetime | None = None, *, in_time: bool = False
    ) -> Lease | None:
        """The place of a session that is about to be renewed, kept though the answer may be lost; else one it gets now.

        Raises `BrokerRateLimitError` where another owner waits for one to end, as it will at `ends`, and the token is
        good until then, since it is renewed `in_time`.
        """
        now = self._clock.now()
        if (limit := self._limit) is None or (login := self._login(fields)) is None or (ends or now) < now:
            return session
        if in_time and session is not None and ends is not None and await self._awaited(login):
            raise self._put_off(
                f"Another user of this {self._manifest.display_name} login waits for a session of it to end.", ends
            )
        if session is not None and (kept := await self._extended(session, limit, ends)) is not None:
            return kept
        taken = await self._take(login, limit)
        return taken if isinstance(taken, Lease) else None

    async def keep(self, session: Lease | None, told: datetime | None) -> None:
        """It lives on, since it was made or renewed just now, until the broker's word for its end at least."""
        if session is not None and self._limit is not None:
            with suppress(StoreError):  # the place is kept as long as without, and ends a little early
                await self._extended(session, self._limit, told)

    async def end(self, session: Lease | None) -> None:
        """The broker has not opened it, or takes it no more."""
        if session is not None:
            with suppress(StoreError):  # it ends by itself
                await self._store.release_lease(session)

    async def _let_others_in(self, login: str, limit: SessionLimit) -> None:
        """Raises where another owner waits and this was the last place; whoever waited for it has come."""
        until = await self._awaited(login)
        if until is None:
            await self._store.release_lease(await self._lease(turn_name(login), self._whose, self._clock.now()))
            return
        another = await self._take(login, limit)
        if isinstance(another, datetime):
            await self._wait(login, until)
            raise self._put_off(f"Another user of this {self._manifest.display_name} login comes first.", until)
        await self._store.release_lease(another)

    async def _wait(self, login: str, until: datetime) -> None:
        """Be counted among those who wait, until then; nothing but what people are shown depends on it."""
        with suppress(StoreError):
            await self._lease(waiter_name(login, self._whose.removeprefix(_WAITS)), self._whose, until)

    async def _extended(self, session: Lease, limit: SessionLimit, told: datetime | None = None) -> Lease | None:
        until = self._clock.now() + limit.lasts
        return await self._store.extend_lease(session, until if told is None else max(until, told))

    async def _take(self, login: str, limit: SessionLimit) -> Lease | datetime:
        """A place; or when the first of those that are taken is free."""
        holder, ends = secrets.token_hex(8), list[datetime]()
        until = self._clock.now() + limit.lasts
        for place in range(limit.most):
            lease = await self._lease(place_name(login, place), holder, until)
            if lease.holder == holder:
                return lease
            ends.append(lease.expires_at)
        return min(ends)

    async def _awaited(self, login: str) -> datetime | None:
        """Until when another owner is awaited who has found all places taken."""
        now = self._clock.now()
        note = await self._lease(turn_name(login), "", now)
        waits = note.holder.startswith(_WAITS) and note.holder != self._whose
        return note.expires_at if waits and now < note.expires_at else None

    async def _lease(self, name: str, holder: str, until: datetime) -> Lease:
        now = self._clock.now()
        return await self._store.take_lease(name, owner=_NOBODY, holder=holder, now=now, until=until)

    def _login(self, fields: Mapping[str, str]) -> str | None:
        """The name of what stands in the store for the login; it does not show whose it is."""
        return places_of(self._manifest, fields)

    def _all_taken(self, limit: SessionLimit, until: datetime) -> BrokerRateLimitError:
        return self._put_off(
            f"{self._manifest.display_name} lets a login have {limit.most} sessions at once, and as many that were "
            f"opened here may live until {until:%H:%M} UTC. One more would close one of them.",
            until,
        )

    def _put_off(self, message: str, until: datetime) -> BrokerRateLimitError:
        error = BrokerRateLimitError(
            message,
            remedy=f"Nothing was sent. Connect after {until:%H:%M} UTC; a sync is put off until then by itself.",
            retry_after=until - self._clock.now(),
            provider=self._manifest.key,
            operation="authenticate",
        )
        error.ours = True
        return error


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


def has_ended(error: BrokerError) -> bool:
    """Whether a refused renewal proves that its session is over; a broker may answer so for being slow, too."""
    return not isinstance(error, BrokerNotReadyError) and (
        error.status is None or not _may_have_come_through(error.status)
    )
