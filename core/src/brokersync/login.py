"""Logging in: a provider whose requests use the tokens they are given, not those a keeper holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from brokersync.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerRetryableError,
    BrokerTokenExpiredError,
)
from brokersync.factory import make_credentials
from brokersync.login_sessions import LoginSessions, may_be_open
from brokersync.managed import ManagedProvider
from brokersync.provider import Clock
from brokersync.records import Connection, Lease
from brokersync.registry import LoadedProvider
from brokersync.types import AuthResult, BrokerAccount, Challenge

_TESTING_TAKES_AT_MOST = timedelta(minutes=3)
_FIRST_LOOK = timedelta(seconds=2)


def as_auth_error(error: BrokerTokenExpiredError) -> BrokerAuthError:
    """What a token is that is dead as soon as it is made: nobody but the user can help, if it stays so."""
    return BrokerAuthError(
        error.message,
        certain=False,
        provider=error.provider,
        operation=error.operation,
        status=error.status,
        code=error.code,
    )


def another_login(connection: Connection, auth: AuthResult) -> BrokerAuthError:
    """What the credentials of somebody else are for a connection."""
    return BrokerAuthError(
        f"The connection {connection.connection_id} ({connection.label}) belongs to the login {connection.identity}, "
        f"and these credentials belong to {auth.identity}. Nothing was changed.",
        remedy="Give the credentials of that login, or connect the other one as a connection of its own.",
        provider=connection.provider,
        operation="authenticate",
    )


class OpenLogin:
    """Makes and renews the tokens of a login; leaving it closes its provider.

    It is `refused` once the broker has refused the credentials that it was sent, and `turned_away` while it has made no
    token after it refused to. `made_at` is when it was logged in here last, and `session` the place that the broker has
    for it, where it counts them.
    """

    def __init__(
        self, loaded: LoadedProvider, provider: ManagedProvider, clock: Clock, sessions: LoginSessions
    ) -> None:
        self._loaded, self._provider, self._clock, self._sessions = loaded, provider, clock, sessions
        self.refused = self.turned_away = False
        self.made_at: datetime | None = None
        self.session: Lease | None = None

    async def log_in(self, fields: Mapping[str, str], instead_of: Lease | None = None) -> AuthResult:
        """A new login from the kept fields, in place of a session that has died.

        Raises `BrokerAuthError` where none are kept and some are needed.
        """
        if not fields and any(field.required for field in self._loaded.manifest.login_fields):
            raise BrokerAuthError(
                "The token has ended, and nothing is kept to log in again with: only its user can.",
                remedy="Log in again: what is connected stays, with its accounts and its history.",
                provider=self._loaded.manifest.key,
                operation="authenticate",
            )
        return await self._sent(fields, instead_of)

    async def _sent(self, fields: Mapping[str, str], instead_of: Lease | None = None) -> AuthResult:
        credentials = make_credentials(self._loaded, fields)
        session = await self._sessions.open(fields, instead_of)
        try:
            auth = await self._provider.authenticate(credentials)
        except BaseException as error:
            if not may_be_open(error):
                await self._sessions.end(session)
            if isinstance(error, (BrokerAuthError, BrokerTokenExpiredError)):
                self.refused = self.turned_away = True
            raise
        self.turned_away, self.made_at, self.session = False, self._clock.now(), session
        await self._sessions.keep(session, auth.expires_at)
        return auth

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        """A new token of the same login."""
        try:
            return await self._provider.refresh_token(auth)
        except (BrokerAuthError, BrokerTokenExpiredError):
            self.turned_away = True
            raise

    async def refresh_unnamed(self, auth: AuthResult) -> AuthResult:
        """A new token of a login whose name is made up until the broker has told it."""
        return await self._provider.refresh_token(auth, named=False)

    async def begin(self, fields: Mapping[str, str], redirect_uri: str | None) -> Challenge:
        """The first step of a login at the broker's own page."""
        return await self._provider.begin_consent(make_credentials(self._loaded, fields, consent=True), redirect_uri)

    async def complete(self, challenge: Challenge, answers: Mapping[str, str]) -> AuthResult | Challenge:
        """The login that was begun, or its next step."""
        answer = await self._provider.complete_consent(challenge, answers)
        self.made_at = self._clock.now()
        return answer

    async def adopt(self, auth: AuthResult) -> AuthResult:
        """The login that tokens of another program belong to."""
        return await self._provider.adopt(auth)

    async def accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        """The accounts of a login that exists."""
        return await self._provider.get_accounts(auth)

    async def test(self, fields: Mapping[str, str]) -> tuple[AuthResult, Sequence[BrokerAccount]]:
        """Log in with what a user gave, and list the accounts; a broker that wants a moment is given it, three minutes.

        A session that is counted is kept, though its accounts can not be listed now: another would be one more. Raises
        `BrokerConfigError` for fields that are missing or do not fit.
        """
        auth: AuthResult | None = None
        deadline = self._clock.now() + _TESTING_TAKES_AT_MOST
        renewed = False
        while True:
            try:
                auth = auth or await self._sent(fields)
                return auth, await self._provider.get_accounts(auth)
            except BrokerTokenExpiredError as error:
                if renewed or auth is None or self.session is not None:
                    raise as_auth_error(error) from error
                auth, renewed = None, True
            except (BrokerNotReadyError, BrokerRateLimitError) as error:
                wait = error.retry_after or _FIRST_LOOK
                if self._clock.now() + wait > deadline:
                    return self._opened(auth, error), ()
                await self._clock.sleep(wait.total_seconds())
            except BrokerRetryableError as error:
                return self._opened(auth, error), ()

    def _opened(self, auth: AuthResult | None, error: BrokerError) -> AuthResult:
        """The login without its accounts, which the first sync lists. Raises where the broker counts no sessions."""
        if auth is None or self.session is None:
            raise error
        return auth

    async def place_of(self, fields: Mapping[str, str]) -> Lease | None:
        """The place of the session that was opened here, or of one that another program has opened."""
        return self.session or await self._sessions.going_on(None, fields)

    async def diagnose(self, auth: AuthResult) -> Sequence[str]:
        """What the user should change at the broker, by the plugin's own look at the login.

        What is not ready is waited for as in `test`: a report that is ordered may take a while to be made.
        """
        deadline = self._clock.now() + _TESTING_TAKES_AT_MOST
        while True:
            try:
                return await self._provider.diagnose(auth)
            except (BrokerNotReadyError, BrokerRateLimitError) as error:
                wait = error.retry_after or _FIRST_LOOK
                if self._clock.now() + wait > deadline:
                    raise
                await self._clock.sleep(wait.total_seconds())

    async def revoke(self, auth: AuthResult) -> bool:
        """Have the broker end this login; `False` where the plugin knows no way."""
        return await self._provider.revoke(auth)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._provider.aclose()
