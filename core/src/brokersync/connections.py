"""Logins of owners: tested at the broker, sealed, kept."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

import attrs

from brokersync.arguments import checked
from brokersync.doubts import asked
from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerError,
    BrokerRetryableError,
    BrokerTokenExpiredError,
)
from brokersync.events import ConnectionNeedsUser, ConnectionRecovered
from brokersync.factory import make_credentials
from brokersync.foreign_tokens import foreign_login
from brokersync.holding import in_turn
from brokersync.joining import as_known, connected_again, known_login, label_of
from brokersync.journal import Journal
from brokersync.login import OpenLogin, another_login, as_auth_error
from brokersync.manifest import Manifest
from brokersync.records import Connection
from brokersync.registry import LoadedProvider
from brokersync.secret import Secret
from brokersync.settling import transition
from brokersync.shared import Shared
from brokersync.sync.losses import deadline_of
from brokersync.takeover import (
    TakeOver,
    asks_user,
    connections_of,
    turn_of,
    unnamed_connection,
    working_again,
)
from brokersync.types import AuthResult
from brokersync.underway import until_closed
from brokersync.upkeep import GrantUpkeep


class Connections(Journal):
    """Adds connections and looks after them."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared.store)
        self._shared = shared

    async def _take_jobs_back(self, connections: Sequence[Connection]) -> None:
        """Of connections that have ended; whoever keeps something of their jobs outside the store."""

    @until_closed
    @checked
    async def connect(
        self,
        provider: str,
        *,
        owner: str,
        fields: Mapping[str, str | Secret],
        environment: str | None = None,
        label: str | None = None,
        since: datetime | None = None,
    ) -> Connection:
        """Test a login at the broker and keep it, sealed; the same login again keeps its connection and history.

        `fields` are the user's fields of the manifest. History is read from `since` on, else from the beginning. Of a
        login that is known, what is not given stays as it is, and so does a pause.
        Raises `BrokerConfigError` for fields that do not fit and `BrokerAuthError` when the broker refuses them; then
        nothing is kept.
        """
        shared = self._shared
        loaded = shared.registry.load(provider)
        environment = environment or loaded.manifest.environments[0]
        plain = plain_fields(fields)
        connection = Connection(
            connection_id=f"{loaded.manifest.key}-{secrets.token_hex(5)}",
            owner=owner,
            provider=loaded.manifest.key,
            environment=environment,
            label=label or label_of(loaded.manifest, environment),
            identity="",
            created_at=shared.clock.now(),
            since=since,
            one_login=loaded.manifest.one_login,
        )
        if (known := await known_login(shared, loaded, owner, environment, plain)) is not None:
            if known.environment == environment:
                return await connected_again(shared, known, connection, label_of(loaded.manifest, environment))
            async with shared.login(loaded, environment, owner=owner, fields=plain) as login:
                return await self._joined(known, connection, loaded, login)
        async with shared.login(loaded, environment, owner=owner) as login:
            auth, accounts = await login.test(plain)
        connection = attrs.evolve(connection, identity=auth.identity)
        before = await self._of_the_login(connection)
        connection = as_known(connection, label_of(loaded.manifest, environment), before)
        connection = await shared.vault.add(connection, auth, plain, made_at=login.made_at, session=login.session)
        await shared.store.put_accounts(connection, accounts, shared.clock.now())
        self._tell(before, await self._of_the_login(connection))
        return await self._with_deadline(connection, loaded.manifest, auth)

    async def _with_deadline(self, connection: Connection, manifest: Manifest, auth: AuthResult) -> Connection:
        """Until when it must be read: a login that dies before its first sync loses history too."""
        store = self._shared.store
        deadline = await deadline_of(store, connection, manifest, now=self._shared.clock.now(), readable=auth.sources)
        await store.change_connection(connection.connection_id, deadline=deadline)
        return attrs.evolve(connection, deadline=deadline)

    async def _of_the_login(self, connection: Connection) -> Mapping[str, Connection]:
        """The connections that this login has, by environment."""
        of_owner = await self._store.connections(connection.owner)
        login = (connection.provider, connection.identity)
        return {one.environment: one for one in of_owner if (one.provider, one.identity) == login}

    def _tell(self, before: Mapping[str, Connection], after: Mapping[str, Connection]) -> None:
        for environment in before.keys() & after.keys():
            if (event := transition(before[environment], after[environment])) is not None:
                self._shared.events(event)

    @until_closed
    @checked
    async def reauthenticate(
        self, connection_id: str, fields: Mapping[str, str | Secret], *, owner: str | None = None
    ) -> Connection:
        """Test a new login of a connection at the broker, and keep it in place of the one before.

        A field that is not given is as it was stored. Connection, accounts and history stay. Raises `BrokerAuthError`
        when the broker refuses the login or it is somebody else's; then nothing is changed.
        """
        shared = self._shared
        connection = await self.connection(connection_id, owner)
        loaded = shared.registry.load(connection.provider)
        declared = {field.name for field in loaded.manifest.user_fields}
        stored = {name: value for name, value in (await self._kept_fields(connection)).items() if name in declared}
        plain = stored | plain_fields(fields)
        async with shared.login(loaded, connection.environment, owner=connection.owner) as login:
            auth, accounts = await login.test(plain)
        if auth.identity != connection.identity:
            raise another_login(connection, auth)
        connection = attrs.evolve(connection, one_login=loaded.manifest.one_login)
        again = await shared.vault.log_in_again(connection, auth, plain, made_at=login.made_at, session=login.session)
        if again is not None:
            await shared.store.put_accounts(connection, accounts, shared.clock.now())
        for one in again or ():
            shared.events(ConnectionRecovered(provider=one.provider, connection_id=one.connection_id))
        return await self.connection(connection_id)

    @until_closed
    @checked
    async def renew_grants(self, owner: str | None = None) -> tuple[BrokerError, ...]:
        """Renew the grants that would lapse before they are used again, of an owner or of all; `run_due` does it, too.

        `LoginEnding` tells of those that only their user can renew. What failed is tried again by a later call, and
        nothing is lost by it: its errors are the answer.
        """
        return await GrantUpkeep(self._shared).renew_idle(owner)

    @until_closed
    @checked
    async def take_over(
        self,
        provider: str,
        *,
        owner: str,
        tokens: Mapping[str, str | Secret | datetime],
        fields: Mapping[str, str | Secret] | None = None,
        environment: str | None = None,
        label: str | None = None,
        since: datetime | None = None,
    ) -> Connection:
        """Keep a login that another program made, without a new one; the same login again keeps its connection.

        Tokens that were taken over before change nothing, and no others replace those that the broker takes still: what
        was renewed here since is newer. Where the connection asks its user, they show whether that is needed still, and
        replace what is stored only if they work and that does not. Log in again with `reauthenticate` there.

        `tokens` are what that program holds: `access_token`, `refresh_token`, `expires_at`, `grant_expires_at`, and
        what else the plugin documents. From here on they are renewed here, so the other program must stop. `fields`,
        where given, are kept for a later login. Raises `BrokerConfigError` for a plugin that takes no tokens over, and
        `BrokerAuthError` for tokens the broker refuses; then nothing is kept, unless it had told before whose they are,
        and repeating the call sends tokens and fields again.
        """
        shared = self._shared
        loaded = shared.registry.load(provider)
        environment = environment or loaded.manifest.environments[0]
        plain = plain_fields(fields or {})
        if plain:
            make_credentials(loaded, plain)
        foreign = foreign_login(provider, tokens)
        unnamed = attrs.evolve(
            unnamed_connection(owner, loaded.manifest, environment, foreign, shared.clock.now()),
            label=label or label_of(loaded.manifest, environment),
            since=since,
        )
        async with in_turn(shared, turn_of(unnamed), shared.settings.grants.longest_renewal + shared.settings.lease):
            return await self._take_over(loaded, unnamed, foreign, plain)

    async def _take_over(
        self, loaded: LoadedProvider, unnamed: Connection, foreign: AuthResult, fields: Mapping[str, str]
    ) -> Connection:
        shared = self._shared
        known = await connections_of(shared, unnamed, fingerprint=foreign.identity)
        async with shared.login(loaded, unnamed.environment, owner=unnamed.owner, fields=fields) as login:
            taking = TakeOver(shared, loaded, login, unnamed, known)
            if known and not asks_user(known):
                await taking.check_same(foreign)
                return await self._joined(known[0], unnamed, loaded, login)
            auth = await taking(foreign, fields)
            connection = _named(unnamed, auth.identity)
            living = await connections_of(shared, connection)
            kept = await self._kept_fields(connection)
            before = await self._of_the_login(connection)
            if living and (known or not asks_user(living)) and not await taking.replaces(living[0], kept, auth):
                working = await working_again(shared, living)
                self._tell(before, await self._of_the_login(connection))
                return await self._joined(working[0], connection, loaded, login)
            auth = await taking.proved(auth, fields)
            connection = as_known(connection, label_of(loaded.manifest, connection.environment), before)
            made_at = shared.clock.now() if taking.renewed else None
            session = taking.session or await login.place_of(fields or kept)
            connection = await shared.vault.add(
                connection, auth, fields or kept, made_at=made_at, session=session, taken_over=foreign.identity
            )
            if any(taking.doubt):
                await shared.store.mark_renewing((await shared.vault.load(connection))[0], *taking.doubt)
            await self._list_accounts(connection, loaded, login, auth)
        self._tell(before, await self._of_the_login(connection))
        return await self._with_deadline(connection, loaded.manifest, auth)

    async def _joined(
        self, known: Connection, wanted: Connection, loaded: LoadedProvider, login: OpenLogin
    ) -> Connection:
        """The connection as it is; or another one by its grant, where it is of another environment."""
        if known.environment == wanted.environment:
            return known
        shared = self._shared
        joined = await shared.store.join_connection(_named(wanted, known.identity))
        if joined is None:
            raise BrokerAuthError("The login was removed meanwhile.", provider=known.provider)
        grant, _ = await shared.vault.load(joined)
        await self._list_accounts(joined, loaded, login, grant.auth)
        return await self._with_deadline(joined, loaded.manifest, grant.auth)

    async def _kept_fields(self, connection: Connection) -> Mapping[str, str]:
        try:
            _, fields = await self._shared.vault.load(connection)
        except BrokerAuthError:
            return {}
        return fields

    async def _list_accounts(
        self, connection: Connection, loaded: LoadedProvider, login: OpenLogin, auth: AuthResult
    ) -> None:
        """With tokens that are renewed first where they soon end; what can not be listed now, the first sync lists."""
        shared = self._shared
        keeper = shared.keeper(
            connection, partial(shared.login, loaded, connection.environment, owner=connection.owner)
        )
        try:
            accounts = await login.accounts(await keeper.current(auth))
            await shared.store.put_accounts(connection, accounts, shared.clock.now())
        except (BrokerRetryableError, BrokerAPIError):
            return
        except (BrokerAuthError, BrokerTokenExpiredError) as error:
            if isinstance(error, BrokerTokenExpiredError) and await self._kept_fields(connection):
                return  # a token that is refused says nothing of the login, which the first sync makes again
            refusal = as_auth_error(error) if isinstance(error, BrokerTokenExpiredError) else error
            await shared.store.move_connection(
                connection.connection_id,
                lambda known: asked(known, refusal, probe_at=shared.login_probe_at(known)),
            )
            names = {"provider": connection.provider, "connection_id": connection.connection_id}
            shared.events(ConnectionNeedsUser(**names, reason=refusal.message, remedy=refusal.remedy))
            raise refusal from error

    @until_closed
    @checked
    async def diagnose(self, connection_id: str, owner: str | None = None) -> Sequence[str]:
        """What the user should change at the broker, in sentences; none where all is well or nobody can tell."""
        shared = self._shared
        connection = await self.connection(connection_id, owner)
        loaded = shared.registry.load(connection.provider)
        grant, fields = await shared.vault.load(connection)
        async with shared.login(loaded, connection.environment, owner=connection.owner, fields=fields) as login:
            return await login.diagnose(grant.auth)


def _named(unnamed: Connection, identity: str) -> Connection:
    return attrs.evolve(unnamed, connection_id=f"{unnamed.provider}-{secrets.token_hex(5)}", identity=identity)


def plain_fields(fields: Mapping[str, str | Secret]) -> dict[str, str]:
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in fields.items()}
