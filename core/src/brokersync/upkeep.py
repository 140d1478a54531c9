"""Grants that nobody uses: renewed before they lapse, and their user told where that can not be."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from brokersync.errors import BrokerAuthError, BrokerError, BrokerTokenExpiredError, StoreError
from brokersync.events import LoginEnding
from brokersync.records import Connection, ConnectionState
from brokersync.shared import Shared
from brokersync.store import SealedGrant

_DAY: Final = timedelta(days=1)


class GrantUpkeep:
    """Looks after the grants whose end comes near. Any number of workers may do so at once."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def renew_idle(self, owner: str | None = None) -> tuple[BrokerError, ...]:
        """Renew what would lapse, tell of what can not be renewed; the errors of those that failed, for now.

        A failure changes nothing: the grant stays as it is, and whoever needs it says what is wrong with it.
        """
        shared, problems = self._shared, list[BrokerError]()
        now, settings = shared.clock.now(), shared.settings.grants
        horizon = now + max(settings.renew_idle_before, settings.warn_before_login)
        for grant in await shared.store.ending_grants(owner, now, horizon):
            try:
                await self._look_after(grant)
            except StoreError:
                raise
            except BrokerError as error:
                problems.append(error)
        return tuple(problems)

    async def _look_after(self, grant: SealedGrant) -> None:
        store, now, end = self._shared.store, self._shared.clock.now(), grant.grant_expires_at
        connection = await self._connection_of(grant)
        if connection is None or end is None:
            return
        if _is_due(grant, end, now):
            if not await store.claim_upkeep(grant, now):
                return  # another worker is at it
            try:
                await self._renew(connection)
            except StoreError:
                raise
            except BrokerError as error:
                # one failure is an hour of an outage; the next ones may go on until the login has lapsed
                if grant.tried_at is not None and end - now <= self._shared.settings.grants.renew_idle_before:
                    await self._warn(grant, end, connection, f"renewing it has failed so far: {error.message}")
                raise
            await store.note_fixed_end(grant, end)
        after = await store.grant(grant.owner, grant.provider, grant.environment, grant.identity)
        if after is not None and after.grant_expires_at == after.fixed_end == end:
            await self._warn(after, end, connection, "only its user can make another.")

    async def _renew(self, connection: Connection) -> None:
        shared = self._shared
        grant, _ = await shared.vault.load(connection)
        loaded = shared.registry.load(connection.provider)
        async with shared.login(loaded, connection.environment, connection_id=connection.connection_id) as login:
            try:
                await shared.keeper(connection, login, logs_in=False).renew(grant.auth)
            except (BrokerTokenExpiredError, BrokerAuthError):
                return  # no renewal moves its end; a login that is refused already is told of by who needs it

    async def _warn(self, grant: SealedGrant, end: datetime, connection: Connection, why: str) -> None:
        shared = self._shared
        if end - shared.clock.now() > shared.settings.grants.warn_before_login:
            return
        if await shared.store.claim_warning(grant, end):
            shared.events(
                LoginEnding(
                    provider=connection.provider,
                    connection_id=connection.connection_id,
                    until=end,
                    reason=f"The login of {connection.label} ends on {end:%Y-%m-%d at %H:%M} UTC, and {why} "
                    "Until then everything goes on.",
                )
            )

    async def _connection_of(self, grant: SealedGrant) -> Connection | None:
        """The oldest connection that lives by it; none where its user is asked already or has paused it."""
        for one in await self._shared.store.connections(grant.owner):
            login = (one.provider, one.grant_environment, one.identity)
            same = login == (grant.provider, grant.environment, grant.identity)
            if same and one.state is ConnectionState.ACTIVE:
                return one
        return None


def _is_due(grant: SealedGrant, end: datetime, now: datetime) -> bool:
    """At once where it was never tried; once a day where that does not move the end, else at half of what is left."""
    if grant.tried_at is None:
        return True
    pause = _DAY if grant.fixed_end == end else min(_DAY, (end - grant.tried_at) / 2)
    return now - grant.tried_at >= pause
