"""Logins that users make at their broker's own page: begun here, finished by whichever process gets the answer."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import attrs

from brokersync.arguments import checked
from brokersync.connections import Connections, plain_fields
from brokersync.converter import SEALED, dumps, loads_exact
from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerConfigError,
    BrokerRetryableError,
    BrokerTokenExpiredError,
    Fault,
)
from brokersync.events import ConnectionRecovered
from brokersync.hosts import is_this_machine
from brokersync.joining import as_known, label_of
from brokersync.login import OpenLogin, another_login, as_auth_error
from brokersync.records import Connection, Grant
from brokersync.registry import LoadedProvider
from brokersync.secret import Secret
from brokersync.types import AuthResult, Challenge
from brokersync.underway import until_closed

_USUAL_TIME: Final = timedelta(minutes=10)
_LONGEST_TIME: Final = timedelta(hours=1)
_KEPT: Final = "begun"
_BEGIN_AGAIN: Final = "Begin the login again: what the broker answered can be used once."


@attrs.frozen(kw_only=True)
class OpenConsent:
    """What a user still has to do for a login, and until when: go to `url`, answer `fields`, or both.

    `consent_id` names it once to `finish_consent`. Where the broker sends something back with its answer, as OAuth does
    with `state`, it is that; so keep it as you would keep a password.
    """

    consent_id: str = attrs.field(repr=False)
    provider: str
    kind: str
    message: str
    url: str | None = attrs.field(repr=False)
    fields: Mapping[str, str]
    expires_at: datetime


@attrs.frozen(kw_only=True)
class _Begun:
    """What whoever finishes a login has to know; it is kept sealed."""

    provider: str
    environment: str
    challenge: Challenge
    fields: Mapping[str, str] = attrs.field(repr=False)
    label: str | None = None
    since: datetime | None = None
    connection_id: str | None = None


class Consents(Connections):
    """Has users log in where their broker asks them itself, as with OAuth."""

    @until_closed
    @checked
    async def begin_consent(
        self,
        provider: str,
        *,
        owner: str,
        redirect_uri: str | None = None,
        fields: Mapping[str, str | Secret] | None = None,
        environment: str | None = None,
        label: str | None = None,
        since: datetime | None = None,
    ) -> OpenConsent:
        """Begin a login at the broker's own page. Send the user to its `url`, and give what comes back to
        `finish_consent`, in any process on this store.

        The broker sends the user to `redirect_uri` afterwards, else to that of the configuration; it is https, or this
        machine. `fields` are those that the manifest asks for before a consent. The rest is as with `connect`.
        """
        loaded = self._shared.registry.load(provider)
        plain = plain_fields(fields or {})
        return await self._begin(
            loaded, owner, redirect_uri, environment or loaded.manifest.environments[0], plain, label=label, since=since
        )

    @until_closed
    @checked
    async def renew_consent(
        self, connection_id: str, *, owner: str | None = None, redirect_uri: str | None = None
    ) -> OpenConsent:
        """As `begin_consent`, for the login of a connection that has ended; it must be the same one."""
        connection = await self.connection(connection_id, owner)
        loaded = self._shared.registry.load(connection.provider)
        declared = {field.name for field in loaded.manifest.consent_fields}
        plain = {name: value for name, value in (await self._kept_fields(connection)).items() if name in declared}
        return await self._begin(
            loaded, connection.owner, redirect_uri, connection.environment, plain, connection_id=connection_id
        )

    @until_closed
    @checked
    async def finish_consent(
        self, consent_id: str, answers: Mapping[str, str | Secret], *, owner: str
    ) -> Connection | OpenConsent:
        """Keep the login that the broker's answer gives, sealed; or the next step, where there is one.

        `answers` are what the broker sent the user back with, such as the query of the redirect, and what the user
        gave for `fields`. They are used once, and seen through when the caller is cancelled. Raises `BrokerAuthError`,
        with the `code` access_denied where the user declined; then nothing is kept, and only a login begun anew helps.
        """
        name, plain = _name_of(consent_id), plain_fields(answers)
        return await self._shared.underway.see_through(f"consent|{name}", lambda: self._finish(owner, name, plain))

    @checked
    async def has_consent(self, connection_id: str, *, owner: str | None = None) -> bool:
        """Whether the login of a connection was made at the broker's own page, so that only there it is made again."""
        connection = await self.connection(connection_id, owner)
        manifest = self._shared.registry.load(connection.provider).manifest
        return manifest.consents and not await self._kept_fields(connection)

    async def _begin(
        self,
        loaded: LoadedProvider,
        owner: str,
        redirect_uri: str | None,
        environment: str,
        fields: Mapping[str, str],
        *,
        label: str | None = None,
        since: datetime | None = None,
        connection_id: str | None = None,
    ) -> OpenConsent:
        redirect_uri = redirect_uri or self._shared.settings.broker(loaded.manifest.key).redirect_uri
        if redirect_uri is not None:
            _check_redirect(redirect_uri)
        async with self._shared.login(loaded, environment, owner=owner, fields=fields) as login:
            challenge = await login.begin(fields, redirect_uri)
        begun = _Begun(
            provider=loaded.manifest.key,
            environment=environment,
            challenge=challenge,
            fields=fields,
            label=label,
            since=since,
            connection_id=connection_id,
        )
        return await self._keep(owner, begun)

    async def _keep(self, owner: str, begun: _Begun) -> OpenConsent:
        challenge, now = begun.challenge, self._shared.clock.now()
        told = challenge.state.get("state")
        consent_id = secrets.token_urlsafe(32) if told is None else told.reveal()
        expires_at = min(challenge.expires_at or now + _USUAL_TIME, now + _LONGEST_TIME)
        place = _place(owner, _name_of(consent_id), now)
        auth = AuthResult(identity=place.identity, expires_at=expires_at)
        await self._shared.vault.keep(place, auth, {_KEPT: dumps(SEALED.unstructure(begun))})
        return OpenConsent(
            consent_id=consent_id,
            provider=begun.provider,
            kind=challenge.kind,
            message=challenge.message,
            url=challenge.url,
            fields=challenge.fields,
            expires_at=expires_at,
        )

    async def _finish(self, owner: str, name: str, answers: Mapping[str, str]) -> Connection | OpenConsent:
        grant, begun = await self._opened(owner, name)
        loaded = self._shared.registry.load(begun.provider)
        if not await self._shared.store.drop_grant(grant):
            raise _unknown()
        async with self._shared.login(loaded, begun.environment, owner=owner, fields=begun.fields) as login:
            try:
                answer = await login.complete(begun.challenge, answers)
            except BrokerTokenExpiredError as error:
                raise as_auth_error(error) from error
            except (BrokerRetryableError, BrokerAPIError) as error:
                if isinstance(error, BrokerRetryableError) or error.remedy == error.remedy_by_default:
                    error.remedy = _BEGIN_AGAIN
                raise
            if isinstance(answer, Challenge):
                return await self._keep(owner, attrs.evolve(begun, challenge=answer))
            if begun.connection_id is not None:
                return await self._logged_in_again(begun.connection_id, owner, begun, answer, loaded, login)
            return await self._connected(owner, begun, answer, loaded, login)

    async def _opened(self, owner: str, name: str) -> tuple[Grant, _Begun]:
        """Raises `BrokerAuthError` for one that is not there, or not there any more."""
        now = self._shared.clock.now()
        with suppress(BrokerAuthError):
            grant, kept = await self._shared.vault.load(_place(owner, name, now))
            end = grant.auth.expires_at
            if end is not None and now < end:
                return grant, SEALED.structure(loads_exact(kept[_KEPT].encode()), _Begun)
        raise _unknown()

    async def _connected(
        self, owner: str, begun: _Begun, auth: AuthResult, loaded: LoadedProvider, login: OpenLogin
    ) -> Connection:
        unnamed = label_of(loaded.manifest, begun.environment)
        connection = Connection(
            connection_id=f"{begun.provider}-{secrets.token_hex(5)}",
            owner=owner,
            provider=begun.provider,
            environment=begun.environment,
            label=begun.label or unnamed,
            identity=auth.identity,
            created_at=self._shared.clock.now(),
            since=begun.since,
            one_login=loaded.manifest.one_login,
        )
        before = await self._of_the_login(connection)
        connection = as_known(connection, unnamed, before)
        fields = begun.fields or await self._kept_fields(connection)
        connection = await self._shared.vault.add(connection, auth, fields, made_at=login.made_at)
        await self._list_accounts(connection, loaded, login, auth)
        self._tell(before, await self._of_the_login(connection))
        return await self._with_deadline(connection, loaded.manifest, auth)

    async def _logged_in_again(
        self,
        connection_id: str,
        owner: str,
        begun: _Begun,
        auth: AuthResult,
        loaded: LoadedProvider,
        login: OpenLogin,
    ) -> Connection:
        shared, connection = self._shared, await self.connection(connection_id, owner)
        if auth.identity != connection.identity:
            raise another_login(connection, auth)
        connection = attrs.evolve(connection, one_login=loaded.manifest.one_login)
        fields = {**await self._kept_fields(connection), **begun.fields}
        recovered = await shared.vault.log_in_again(connection, auth, fields, made_at=login.made_at)
        if recovered is not None:
            await self._list_accounts(connection, loaded, login, auth)
        for one in recovered or ():
            shared.events(ConnectionRecovered(provider=one.provider, connection_id=one.connection_id))
        return await self.connection(connection_id)


def _name_of(consent_id: str) -> str:
    """What it is called in the store, which shows nobody what to answer with."""
    return sha256(consent_id.encode()).hexdigest()


def _place(owner: str, name: str, now: datetime) -> Connection:
    """Where a login is kept that is nobody's at any broker yet: beside the grants, with all that keeps those safe."""
    return Connection(
        connection_id="",
        owner=owner,
        provider="",
        environment="",
        label="",
        identity=name,
        created_at=now,
        one_login=True,
    )


def _unknown() -> BrokerAuthError:
    return BrokerAuthError(
        "There is no such login under way: it was finished or took too long, or it is another owner's.",
        remedy="Begin the login again.",
        operation="finish_consent",
    )


def _check_redirect(uri: str) -> None:
    """Raises `BrokerConfigError` for an address that the answer must not be sent to."""
    parts = urlsplit(uri)
    safe = parts.scheme == "https" or is_this_machine(uri)
    if not safe or not parts.hostname or parts.fragment or "@" in parts.netloc:
        raise BrokerConfigError(
            "The redirect_uri is no address that a broker may send a login to.",
            remedy="Give an https address, or one of this machine such as http://127.0.0.1:8765/, without a fragment.",
            operation="begin_consent",
            fault=Fault.OPERATOR,
        )
