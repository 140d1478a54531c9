"""Grants: sealed in the store, renewed once however many want it, never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

import attrs

from brokersync.errors import BrokerAuthError, BrokerTokenExpiredError
from brokersync.events import EventSink, TokenRefreshed
from brokersync.provider import Clock
from brokersync.records import Connection, Grant
from brokersync.types import AuthResult
from brokersync.vault import GrantVault

_RENEW_BEFORE = timedelta(minutes=2)


class Login(Protocol):
    """The two verbs that make tokens, as a keeper calls them."""

    async def refresh_token(self, auth: AuthResult) -> AuthResult: ...

    async def log_in(self, fields: Mapping[str, str]) -> AuthResult: ...


class TokenKeeper:
    """The current login of one connection, renewed once for all who ask at the same time.

    A new token is in the store before anybody uses it. `lock` is shared by the keepers of one grant in this process;
    between processes the grant's generation decides, and the loser takes what the winner stored.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        vault: GrantVault,
        login: Login,
        clock: Clock,
        events: EventSink,
        lock: asyncio.Lock,
    ) -> None:
        self._connection, self._vault, self._login = connection, vault, login
        self._clock, self._events, self._lock = clock, events, lock
        self._auth: AuthResult | None = None

    async def current(self, auth: AuthResult) -> AuthResult:
        """The login to use now in place of `auth`; one about to expire is renewed first."""
        if self._auth is None or self._auth.identity != auth.identity:
            grant, _ = await self._vault.load(self._connection)
            self._auth = grant.auth
        if self._expires_soon(self._auth):
            return await self.renew(self._auth)
        return self._auth

    async def renew(self, stale: AuthResult) -> AuthResult:
        """A login newer than `stale`. Raises `BrokerAuthError` when the user must act.

        A renewal that has begun is brought to its end even when its caller is cancelled: the broker may have replaced
        the refresh token already, and the new one exists nowhere else yet.
        """
        async with self._lock:
            renewal = asyncio.ensure_future(self._newer_than(stale))
            try:
                self._auth = await asyncio.shield(renewal)
            except asyncio.CancelledError:
                await asyncio.wait([renewal])
                raise
            return self._auth

    def _expires_soon(self, auth: AuthResult) -> bool:
        return auth.expires_at is not None and auth.expires_at - self._clock.now() < _RENEW_BEFORE

    async def _newer_than(self, stale: AuthResult) -> AuthResult:
        grant, fields = await self._vault.load(self._connection)
        if _sends_the_same(grant.auth, stale):
            grant = await self._renewed(grant, fields)
        return grant.auth

    async def _renewed(self, grant: Grant, fields: Mapping[str, str]) -> Grant:
        try:
            auth = await self._login.refresh_token(grant.auth)
        except BrokerTokenExpiredError:
            return await self._winner(grant) or await self._logged_in(grant, fields)
        except BrokerAuthError:
            winner = await self._winner(grant)
            if winner is None:
                raise
            return winner
        if auth.refresh_token is None:
            auth = attrs.evolve(auth, refresh_token=grant.auth.refresh_token)
        return await self._stored(grant, auth, fields, "refresh")

    async def _winner(self, grant: Grant) -> Grant | None:
        """The grant of another worker that renewed first, which makes the broker refuse what `grant` holds."""
        current, _ = await self._vault.load(self._connection)
        return current if current.generation != grant.generation else None

    async def _logged_in(self, grant: Grant, fields: Mapping[str, str]) -> Grant:
        return await self._stored(grant, await self._login.log_in(fields), fields, "login")

    async def _stored(self, grant: Grant, auth: AuthResult, fields: Mapping[str, str], how: str) -> Grant:
        if auth.identity != grant.identity:
            raise BrokerAuthError(
                "The credentials now belong to another login.", provider=grant.provider, remedy="Connect the new login."
            )
        if not await self._vault.replace(grant, auth, fields):
            winner, _ = await self._vault.load(self._connection)
            return winner
        self._events(TokenRefreshed(provider=grant.provider, connection_id=self._connection.connection_id, how=how))
        return attrs.evolve(grant, auth=auth, generation=grant.generation + 1)


def _sends_the_same(one: AuthResult, other: AuthResult) -> bool:
    return (one.access_token, one.secrets, one.state) == (other.access_token, other.secrets, other.state)
