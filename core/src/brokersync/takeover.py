"""Tokens that another program obtained: whose they are, and nothing of them lost on the way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from hashlib import sha256

import attrs

from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerError,
    BrokerTokenExpiredError,
)
from brokersync.login import OpenLogin, as_auth_error
from brokersync.manifest import Manifest
from brokersync.records import Connection, ConnectionState, Lease
from brokersync.registry import LoadedProvider
from brokersync.shared import Shared
from brokersync.states import Cause, moved
from brokersync.types import AuthResult

_ATTEMPTS = 2  # what an earlier attempt renewed may have died since


class TakeOver:
    """Finds out whose tokens these are; `of` is a connection under the name that `foreign_login` made up.

    An access token that is dead has to be renewed first, and the broker may then replace the refresh token. So the
    tokens are sealed under the made-up name before they are renewed and after it, as those of any other login. What was
    renewed stays there until `Store.add_connection` puts the real login in its place, and another attempt goes on
    from it. `renewed` says afterwards whether the broker has just made the tokens, `doubt` since when the answer to a
    renewal is lost that they may have been replaced by, and since when they are refused, and `session` in which place
    where that took a login.

    Those that were taken over before, for the connections that are `known`, are spent, and not renewed: the broker may
    have given others for them since, and may end the whole login when it sees them again.
    """

    def __init__(
        self,
        shared: Shared,
        loaded: LoadedProvider,
        login: OpenLogin,
        of: Connection,
        known: Sequence[Connection],
    ) -> None:
        self._shared, self._loaded, self._login, self._of = shared, loaded, login, of
        self._identity, self._known, self._spent = of.identity, known, bool(known)
        self.renewed = False
        self.doubt: tuple[datetime | None, datetime | None] = (None, None)
        self.session: Lease | None = None

    async def __call__(self, auth: AuthResult, fields: Mapping[str, str]) -> AuthResult:
        """The login under its real name. Raises `BrokerAuthError` when only the user can help; then nothing is kept."""
        try:
            return self._same(await self._login.adopt(auth))
        except BrokerTokenExpiredError as error:
            if self._spent or (auth.refresh_token is None and not fields):
                raise _refused(error) from error
        self.renewed = True
        for _ in range(_ATTEMPTS):
            auth = await self._renewed(auth, fields)
            if self._identity != self._of.identity:
                return attrs.evolve(auth, identity=self._identity)
            try:
                return await self._login.adopt(auth)
            except BrokerTokenExpiredError as error:
                dead = error
        raise _refused(dead)

    async def check_same(self, auth: AuthResult) -> None:
        """Raises `BrokerAuthError` where the access token is of another login than the refresh token that is known."""
        if auth.access_token is None or auth.refresh_token is None:
            return
        try:
            told = await self._login.adopt(auth)
        except (BrokerTokenExpiredError, BrokerAuthError, BrokerAPIError):
            return  # whose a dead one was nobody tells any more
        self._same(told)

    def _same(self, told: AuthResult) -> AuthResult:
        if self._known and told.identity != self._known[0].identity:
            raise self._of_two(
                told.identity,
                self._known[0].identity,
                f"The refresh token was taken over before, for the connection {self._known[0].connection_id}. Take the "
                "access token over by itself, or with the refresh token that it came with.",
            )
        return told

    def _of_two(self, access: str, refresh: str, remedy: str) -> BrokerAuthError:
        return BrokerAuthError(
            f"These tokens belong to two logins: the access token to {access}, and the refresh token to {refresh}. "
            "Nothing was connected.",
            remedy=remedy,
            provider=self._of.provider,
            operation="take_over",
        )

    async def proved(self, auth: AuthResult, fields: Mapping[str, str]) -> AuthResult:
        """The login by its refresh token, where that is to be used before all else: it may be another user's.

        Raises `BrokerAuthError` where it is. What it was replaced by then stays under the made-up name of the refresh
        token, so that this can be taken over by itself.
        """
        if self.renewed or self._spent or auth.refresh_token is None or not self._ends_soon(auth):
            return auth
        renewed = await self._renewed(attrs.evolve(auth, identity=self._of.identity), fields)
        told = await self._login.adopt(renewed)
        if told.identity != auth.identity:
            raise self._of_two(
                auth.identity,
                told.identity,
                "Take each over by itself: the refresh token, which is good still, and the access token.",
            )
        self.renewed = True
        return attrs.evolve(told, expires_at=renewed.expires_at)  # which the broker has just told

    def _ends_soon(self, auth: AuthResult) -> bool:
        margin = max(self._shared.settings.grants.renew_before, self._loaded.manifest.renew_before)
        return auth.expires_at is not None and auth.expires_at - self._shared.clock.now() < margin

    async def replaces(self, known: Connection, fields: Mapping[str, str], auth: AuthResult) -> bool:
        """Whether the tokens are better than those in the store, which a renewal here may have made since.

        They are where the broker has just made them, or takes those in the store no more; but above all those are
        better that can be renewed. Spent ones are only where those in the store can not be renewed either.
        """
        stored, _ = await self._shared.vault.load(known)
        if self._spent:
            return not await self._works(known, stored.auth)
        renewable = stored.auth.refresh_token is not None
        if self.renewed or (auth.refresh_token is not None and not renewable and not fields):
            return True
        if renewable and auth.refresh_token is None:
            return False
        try:
            await self._login.accounts(stored.auth)
        except (BrokerTokenExpiredError, BrokerAuthError):
            return True
        except BrokerAPIError:
            return False
        return False

    async def _works(self, known: Connection, auth: AuthResult) -> bool:
        """Whether the broker takes what is stored, renewed where it has ended; credentials are not sent for this."""
        logins = partial(self._shared.login, self._loaded, known.environment, owner=known.owner)
        keeper = self._shared.keeper(known, logins, logs_in=False)
        try:
            auth = await keeper.current(auth)
            try:
                await self._login.accounts(auth)
            except BrokerTokenExpiredError:
                await self._login.accounts(await keeper.renew(auth))
        except (BrokerTokenExpiredError, BrokerAuthError):
            return False
        return True

    async def _renewed(self, auth: AuthResult, fields: Mapping[str, str]) -> AuthResult:
        return await self._shared.underway.see_through(self._of.identity, lambda: self._renewing(auth, fields))

    async def _renewing(self, auth: AuthResult, fields: Mapping[str, str]) -> AuthResult:
        shared, of = self._shared, self._of
        grant = await shared.vault.keep(of, auth, fields)
        try:
            auth = await shared.keeper(of, self._opened, counts=False).renew(auth)
            renewed, _ = await shared.vault.load(of)
            self.doubt = renewed.renewing_since, renewed.refused_since
            return auth
        finally:
            # as they came they are the caller's to keep; what was renewed exists nowhere else
            if not shared.vault.holds_newer(grant):
                await shared.store.drop_grant(grant)

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[_Unnamed, None]:
        async with self._shared.login(self._loaded, self._of.environment, owner=self._of.owner) as login:
            yield _Unnamed(login, self._unnamed)
            self.session = login.session or self.session

    def _unnamed(self, auth: AuthResult) -> AuthResult:
        self._identity = auth.identity
        return attrs.evolve(auth, identity=self._of.identity)


def _refused(error: BrokerTokenExpiredError) -> BrokerAuthError:
    """What dead tokens are that nothing can renew; the plugin may know what the user can do."""
    refused = as_auth_error(error)
    refused.remedy = error.remedy or refused.remedy
    return refused


class _Unnamed:
    """A login for a keeper, whose answers go under the made-up name still."""

    def __init__(self, login: OpenLogin, unnamed: Callable[[AuthResult], AuthResult]) -> None:
        self._login, self._as_unnamed = login, unnamed

    @property
    def session(self) -> Lease | None:
        return self._login.session

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        return self._as_unnamed(await self._login.refresh_unnamed(auth))

    async def log_in(self, fields: Mapping[str, str], instead_of: Lease | None = None) -> AuthResult:
        return self._as_unnamed(await self._login.log_in(fields, instead_of))


async def connections_of(shared: Shared, login: Connection, *, fingerprint: str | None = None) -> list[Connection]:
    """Those that live by the grant of this login; or, with a `fingerprint`, by one that was taken over with it.

    The one in the login's own environment comes first.
    """
    found = list[Connection]()
    for one in await shared.store.connections(login.owner):
        if (one.provider, one.grant_environment) != (login.provider, login.grant_environment):
            continue
        if fingerprint is None and one.identity == login.identity:
            found.append(one)
        elif fingerprint is not None:
            with suppress(BrokerError):  # it has no login, or none that opens
                if fingerprint in (await shared.vault.load(one))[0].taken_over:
                    found.append(one)
    return sorted(found, key=lambda one: one.environment != login.environment)


def asks_user(connections: Sequence[Connection]) -> bool:
    """Whether the login that they live by was refused, so that any newer one is as good."""
    return any(one.state is ConnectionState.NEEDS_USER for one in connections)


async def working_again(shared: Shared, living: Sequence[Connection]) -> list[Connection]:
    """Those that live by a login that has just worked; none of them asks its user any more, and who did is due."""
    found = list[Connection]()
    for one in living:
        change = await shared.store.move_connection(one.connection_id, _worked)
        found.append(one if change is None else change[1])
    return found


def _worked(known: Connection) -> Connection:
    return known if known.state is not ConnectionState.NEEDS_USER else moved(known, Cause.WORKED, next_at=None)


def turn_of(login: Connection) -> str:
    """What those take turns at who take over tokens of this owner at this broker."""
    return f"take over|{sha256(f'{login.owner}|{login.provider}'.encode()).hexdigest()[:32]}"


def unnamed_connection(owner: str, manifest: Manifest, environment: str, auth: AuthResult, now: datetime) -> Connection:
    """What the tokens belong to until their real name is known; it is not kept."""
    return Connection(
        connection_id="",
        owner=owner,
        provider=manifest.key,
        environment=environment,
        label="",
        identity=auth.identity,
        created_at=now,
        one_login=manifest.one_login,
    )
