"""The current login of a connection: renewed once however many want it, never lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Final

import attrs

from brokersync.config import Settings
from brokersync.doubts import counted, may_log_in
from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerTokenExpiredError,
    StoreError,
)
from brokersync.events import EventSink, TokenRefreshed
from brokersync.login_sessions import LoginSessions
from brokersync.lost_answers import ending
from brokersync.provider import Clock
from brokersync.records import Connection, Grant, Lease
from brokersync.renewal import Login, Need, Renewal
from brokersync.types import AuthResult
from brokersync.underway import Underway
from brokersync.vault import GrantVault

__all__ = ["Login", "TokenKeeper"]

_FIRST_LOOK: Final = timedelta(milliseconds=50)
_LONGEST_LOOK: Final = timedelta(seconds=2)


class TokenKeeper:
    """The current login of one connection, renewed once for all who ask at the same time.

    A new token is in the store before anybody uses it; where the store is away, it is held and stored by whoever wants
    the login next. `underway` is shared by the keepers of this process; between processes a lease in the store lets one
    of them renew, and the grant's generation decides. A renewal opens a login of its own with `logins`, since it may
    outlive its caller. Without `logs_in` a login that can not be renewed is left to whoever needs it. Credentials that
    were refused too often are not sent either, whichever connection sent them. A token that still lives is used while
    its renewal has to wait, and where the answer to that can not be read, if somebody is `told` of it. Where the broker
    counts `sessions`, the owners who share a login renew one after another, too, since it ends those renewed together.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        vault: GrantVault,
        logins: Callable[[], AbstractAsyncContextManager[Login]],
        clock: Clock,
        events: EventSink,
        underway: Underway,
        settings: Settings,
        worker: str,
        renew_before: timedelta = timedelta(0),
        logs_in: bool = True,
        sessions: LoginSessions | None = None,
        held: Grant | None = None,
        told: Callable[[BrokerError], None] | None = None,
    ) -> None:
        self._connection, self._vault, self._logins = connection, vault, logins
        self._clock, self._events, self._underway = clock, events, underway
        self._settings, self._logs_in = settings, logs_in
        self._renew_before = max(settings.grants.renew_before, renew_before)
        self._waits_until: datetime | None = None
        self._name = (
            f"grant|{connection.owner}|{connection.provider}|{connection.grant_environment}|{connection.identity}"
        )
        # of one process none but one is at it, and a lease that it could not give back is its own still
        self._holder = worker
        self._sessions = sessions
        self._held = held
        self._told, self._unread = told, False

    async def current(self, auth: AuthResult) -> AuthResult:
        """The login to use now in place of `auth`; one about to expire is renewed first."""
        if self._held is None or self._held.identity != auth.identity:
            self._held, _ = await self._vault.load(self._connection)
        if self._vault.holds_newer(self._held):
            return await self.renew(self._held.auth)
        if self._expires_soon(self._held):
            return await self._renewed_in_time(self._held)
        return self._held.auth

    async def _renewed_in_time(self, grant: Grant) -> AuthResult:
        """The login renewed; or as it is, where that has to wait and its token lives. Raises where it does not."""
        now, end = self._clock.now(), grant.auth.expires_at
        lives = end is not None and now < end
        if lives and self._waits_until is not None and now < self._waits_until:
            return grant.auth
        try:
            return await self._renew(grant.auth, Need.SOON if lives else Need.NOW)
        except (BrokerRateLimitError, BrokerNotReadyError) as error:
            if not lives or self._vault.holds_newer(grant):
                raise
            self._waits_until = now + (error.retry_after or self._settings.long_wait)
        except BrokerAPIError as error:
            if not lives or self._told is None or self._vault.holds_newer(grant):
                raise
            self._told(error)
            # once more at the next request, as after a lost answer: while its session lives, it may be prolonged
            self._waits_until = now + self._settings.long_wait if self._unread else None
            self._unread = True
        return grant.auth

    async def renew(self, stale: AuthResult, *, by_login: bool = False) -> AuthResult:
        """A login newer than `stale`, made `by_login` alone where that is asked. Raises `BrokerAuthError` when the user
        must act.

        A renewal that has begun is seen through when its caller is cancelled, and closing waits for it: the broker may
        have replaced the refresh token already, and the new one exists nowhere else yet.
        """
        return await self._renew(stale, Need.LOGIN if by_login else Need.NOW)

    async def _renew(self, stale: AuthResult, need: Need) -> AuthResult:
        self._held = await self._underway.see_through(self._name, lambda: self._newer_than(stale, need))
        return self._held.auth

    def _expires_soon(self, grant: Grant) -> bool:
        end, margin = grant.auth.expires_at, self._renew_before
        if end is None:
            return False
        if grant.made_at is not None:
            if end <= grant.made_at:
                return False  # our clock is ahead by more than it lives, and the broker will say when it is over
            # one that lives no longer than the margin would be renewed as soon as it is made, by each who uses it
            margin = min(margin, (end - grant.made_at) / 2)
        return end - self._clock.now() < margin

    async def _newer_than(self, stale: AuthResult, need: Need) -> Grant:
        grant, _ = await self._vault.load(self._connection)
        if not _same_login(grant.auth, stale):
            return grant
        if self._sessions is None:
            return await self._in_own_turn(grant, stale, need)
        # in this process other owners are at it, too
        holder = f"{self._holder}-{_short(self._name)}"
        held = await self._taken(_turn_of(self._connection), "", holder, stale)
        if isinstance(held, Grant):
            return held
        try:
            return await self._in_own_turn(grant, stale, need)
        finally:
            with suppress(StoreError):
                await self._vault.store.release_lease(held)

    async def _in_own_turn(self, grant: Grant, stale: AuthResult, need: Need) -> Grant:
        held = await self._lease(grant, stale)
        if isinstance(held, Grant):
            return held
        try:
            await self._vault.catch_up(grant)
            return await self._renewed(stale, need)
        finally:
            # with what is held here only, nobody else may send what it replaces; the lease ends by itself
            if not self._vault.holds_newer(grant):
                with suppress(StoreError):
                    await self._vault.store.release_lease(held)

    async def _renewed(self, stale: AuthResult, need: Need) -> Grant:
        # read again under the lease: another worker may have renewed it just before it was ours, or been refused
        known = await self._vault.store.connection(self._connection.connection_id)
        grant, fields = await self._vault.load(self._connection)
        if not _same_login(grant.auth, stale):
            return grant
        self._underway.check_open()
        async with self._logins() as login:
            renewal = Renewal(
                grant,
                fields,
                vault=self._vault,
                login=login,
                clock=self._clock,
                settings=self._settings,
                logs_in=self._logs_in and (known is None or may_log_in(known, now=self._clock.now())),
                sessions=self._sessions,
            )
            try:
                new = await renewal(need)
            except (BrokerTokenExpiredError, BrokerAuthError) as error:
                if renewal.sent_in_vain and known is not None:
                    now, settings = self._clock.now(), self._settings
                    rule = partial(counted, error=error, by=known, now=now, settings=settings)
                    await self._vault.store.move_login(known, rule)
                raise
            except BrokerNotReadyError:
                if not fields:
                    refused = renewal.refused_since
                    grant = attrs.evolve(grant, renewing_since=renewal.doubt, refused_since=refused)
                    await self._tell(grant, lives=False)
                raise
        if renewal.how is not None:
            names = {"provider": grant.provider, "connection_id": self._connection.connection_id}
            self._events(TokenRefreshed(**names, how=renewal.how))
        if not fields:
            await self._tell(new, lives=True)
        return new

    async def _tell(self, grant: Grant, *, lives: bool) -> None:
        """The user may log in before they have to be asked for it, where a refresh token is refused in doubt."""
        told, end = ending(self._connection, grant, lives=lives), grant.auth.grant_expires_at or grant.renewing_since
        if told is None or end is None or not self._connection.connection_id:
            return  # where nobody is connected yet, the connection that it becomes takes the doubt along
        with suppress(StoreError):  # whoever renews it next tells them
            if await self._vault.store.claim_warning(grant, end):
                self._events(told)

    async def _lease(self, grant: Grant, stale: AuthResult) -> Lease | Grant:
        return await self._taken(self._name, grant.owner, self._holder, stale)

    async def _taken(self, name: str, owner: str, holder: str, stale: AuthResult) -> Lease | Grant:
        """The right to renew; or the new login of the grant when that came while another worker had the right.

        Raises `BrokerNotReadyError` when the other one takes too long.
        """
        # a refresh and a login after it, each as long as it may take
        lasts = 2 * self._settings.grants.longest_renewal + self._settings.lease
        waited, step = timedelta(0), _FIRST_LOOK
        while True:
            now = self._clock.now()
            lease = await self._vault.store.take_lease(name, owner=owner, holder=holder, now=now, until=now + lasts)
            if lease.holder == holder:
                return lease
            if waited >= self._settings.grants.longest_wait:
                raise BrokerNotReadyError(
                    "Another worker is renewing this login and has not come to an end yet.",
                    retry_after=max(lease.expires_at - now, _FIRST_LOOK),
                    provider=self._connection.provider,
                )
            self._underway.check_open()
            await self._clock.sleep(step.total_seconds())
            waited, step = waited + step, min(2 * step, _LONGEST_LOOK)
            current, _ = await self._vault.load(self._connection)
            if not _same_login(current.auth, stale):
                return current


def _same_login(one: AuthResult, other: AuthResult) -> bool:
    return _what_counts(one) == _what_counts(other)


def _what_counts(auth: AuthResult) -> tuple[object, ...]:
    return auth.access_token, auth.expires_at, auth.secrets, auth.state


def _turn_of(connection: Connection) -> str:
    """A lease that is nobody's, so its name does not show whose login it is."""
    return f"login|{_short(f'{connection.provider}|{connection.grant_environment}|{connection.identity}')}"


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:32]
