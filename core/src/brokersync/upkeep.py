"""Grants that nobody uses: renewed before they lapse, and their user told where that can not be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from brokersync.auth import TokenKeeper
from brokersync.errors import BrokerAuthError, BrokerConfigError, BrokerError, BrokerTokenExpiredError, StoreError
from brokersync.events import LoginEnding
from brokersync.records import Connection, ConnectionState, Grant
from brokersync.shared import Shared
from brokersync.store import SealedGrant

_DAY: Final = timedelta(days=1)

G = TypeVar("G", Grant, SealedGrant)


class GrantUpkeep:
    """Looks after the grants whose end comes near. Any number of workers may do so at once.

    `bugs` are what was met that nobody foresaw, by the connections whose login it was.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.bugs: dict[str, Exception] = {}

    async def renew_idle(self, owner: str | None = None) -> tuple[BrokerError, ...]:
        """Renew what would lapse, tell of what can not be renewed; the errors of those that failed, for now.

        A failure changes nothing: the grant stays as it is, and whoever needs it says what is wrong with it.
        """
        shared, problems = self._shared, list[BrokerError]()
        for held in shared.vault.held(owner):
            problems += await self._apart(held, self._store)
        now, settings = shared.clock.now(), shared.settings.grants
        horizon = now + max(settings.renew_idle_before, settings.warn_before_login)
        for grant in await shared.store.ending_grants(owner, now, horizon):
            problems += await self._apart(grant, self._look_after)
        return tuple(problems)

    async def _apart(self, grant: G, care: Callable[[G], Awaitable[None]]) -> list[BrokerError]:
        """What is wrong with one login keeps no other from being renewed."""
        try:
            await care(grant)
        except StoreError:
            raise
        except BrokerError as error:
            return [error]
        except Exception as bug:  # noqa: BLE001  it may be any, and is the answer of those who live by this login
            self.bugs |= {one.connection_id: bug for one in await self._living_by(grant)}
            said = (
                f"Renewing a login ended with a bug of brokersync, or of the program around it: {type(bug).__name__}."
            )
            remedy = "Report it with its traceback; the login is as it was, and that is tried again."
            return [BrokerError(said, remedy=remedy, provider=grant.provider)]
        return []

    async def _store(self, held: Grant) -> None:
        """What replaces it, before another process sends it; whatever the state of those who live by it."""
        vault = self._shared.vault
        for connection in await self._living_by(held):
            grant, fields = await vault.load(connection)
            if vault.holds_newer(grant):
                await self._keeper(connection, fields).renew(grant.auth)
                return
        await vault.catch_up(held)  # nothing is left that it could replace

    async def _look_after(self, grant: SealedGrant) -> None:
        store, now, end = self._shared.store, self._shared.clock.now(), grant.grant_expires_at
        connection = await self._connection_of(grant)
        if connection is None or end is None:
            return
        if not _is_due(grant, end, now) or not await store.claim_upkeep(grant, now):
            return  # it was tried already, or another worker is at it
        told = grant.warned_of == end or not self._is_near(end)
        try:
            await self._renew(connection)
            moved = await self._end_of(grant) != end
            if not moved and not told:
                moved = await self._logged_in_again(connection, end)
        except StoreError:
            raise
        except BrokerError as error:
            if self._may_go_on_failing(grant, end, error):
                await self._warn(grant, end, connection, f"renewing it has failed so far: {error.message}")
            raise
        if not moved:
            await store.note_fixed_end(grant, end)
            if not told:
                await self._warn(grant, end, connection, "only its user can make another.")

    async def _end_of(self, grant: SealedGrant) -> datetime | None:
        after = await self._shared.store.grant(grant.owner, grant.provider, grant.environment, grant.identity)
        return None if after is None else after.grant_expires_at

    def _is_near(self, end: datetime) -> bool:
        return end - self._shared.clock.now() <= self._shared.settings.grants.warn_before_login

    def _may_go_on_failing(self, grant: SealedGrant, end: datetime, error: BrokerError) -> bool:
        """Until the login has lapsed: a first failure is an hour of an outage, but a plugin does not come by itself."""
        left = end - self._shared.clock.now()
        again = grant.tried_at is not None and left <= self._shared.settings.grants.renew_idle_before
        return again or isinstance(error, BrokerConfigError)

    async def _renew(self, connection: Connection) -> None:
        grant, fields = await self._shared.vault.load(connection)
        try:
            await self._keeper(connection, fields).renew(grant.auth)
        except (BrokerTokenExpiredError, BrokerAuthError):
            return  # no renewal moves its end; a login that is refused already is told of by who needs it

    async def _logged_in_again(self, connection: Connection, end: datetime) -> bool:
        """Whether a login with what is kept has another end than `end`: nobody has to be asked for it then.

        Only trying it tells: a password makes a new grant, and a token that its user made at the broker ends as before.
        """
        grant, fields = await self._shared.vault.load(connection)
        if not fields:
            return False
        try:
            new = await self._keeper(connection, fields, logs_in=True).renew(grant.auth, by_login=True)
        except (BrokerTokenExpiredError, BrokerAuthError):
            return False
        return new.grant_expires_at != end

    def _keeper(self, connection: Connection, fields: Mapping[str, str], *, logs_in: bool = False) -> TokenKeeper:
        shared = self._shared
        loaded = shared.registry.load(connection.provider)
        logins = partial(
            shared.login,
            loaded,
            connection.environment,
            owner=connection.owner,
            connection_id=connection.connection_id,
            fields=fields,
        )
        return shared.keeper(connection, logins, logs_in=logs_in)

    async def _warn(self, grant: SealedGrant, end: datetime, connection: Connection, why: str) -> None:
        shared = self._shared
        if not self._is_near(end):
            return
        if await shared.store.claim_warning(grant, end):
            meanwhile = " Until then everything goes on." if connection.state is ConnectionState.ACTIVE else ""
            shared.events(
                LoginEnding(
                    provider=connection.provider,
                    connection_id=connection.connection_id,
                    until=end,
                    reason=f"The login of {connection.label} ends on {end:%Y-%m-%d at %H:%M} UTC, and {why}{meanwhile}",
                )
            )

    async def _connection_of(self, grant: SealedGrant) -> Connection | None:
        """The oldest connection that lives by it, an active one before others; none where its user is asked already.

        One that is paused or waits for the operator is not synced, and its login lives on all the same.
        """
        living = await self._living_by(grant)
        states = [one.state for one in living]
        if ConnectionState.ACTIVE in states:
            return living[states.index(ConnectionState.ACTIVE)]
        return living[0] if living and ConnectionState.NEEDS_USER not in states else None

    async def _living_by(self, grant: Grant | SealedGrant) -> list[Connection]:
        login = (grant.provider, grant.environment, grant.identity)
        return [
            one
            for one in await self._shared.store.connections(grant.owner)
            if (one.provider, one.grant_environment, one.identity) == login
        ]


def _is_due(grant: SealedGrant, end: datetime, now: datetime) -> bool:
    """At once where it was never tried; once a day where that does not move the end, else at half of what is left."""
    if grant.tried_at is None:
        return True
    pause = _DAY if grant.fixed_end == end else min(_DAY, (end - grant.tried_at) / 2)
    return now - grant.tried_at >= pause
