"""One renewal of one grant, by the worker that holds its lease."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Protocol, TypeVar

import attrs

from brokersync.config import Settings
from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerRetryableError,
    BrokerTimeoutError,
    BrokerTokenExpiredError,
    StoreError,
)
from brokersync.login_sessions import LoginSessions, has_ended
from brokersync.lost_answers import LONGEST_DOUBT, MAY_BE_LOST, interrupted, refused_in_doubt
from brokersync.provider import Clock
from brokersync.records import Grant, Lease
from brokersync.retry import Patience
from brokersync.types import AuthResult
from brokersync.vault import GrantVault

R = TypeVar("R")

_ATTEMPTS: Final = 3
# what only this process holds is lost with it, so the store is asked more than once
_WAITS_FOR_THE_STORE: Final = (0.5, 2, 5)
STORING_TAKES_AT_MOST: Final = timedelta(seconds=10)


class Need(Enum):
    """Why a login is renewed: its token is of no use any more, or soon; or it has to be made anew, whatever that is."""

    NOW = "now"
    SOON = "soon"
    LOGIN = "login"


class Login(Protocol):
    """The two verbs that make tokens, as a renewal calls them, and the session that it has opened."""

    @property
    def session(self) -> Lease | None: ...

    async def refresh_token(self, auth: AuthResult) -> AuthResult: ...

    async def log_in(self, fields: Mapping[str, str], instead_of: Lease | None = None) -> AuthResult: ...


class Renewal:
    """A renewal of `grant`, from the note that it is under way to the new tokens in the store.

    That note stays when the outcome is not learned: the broker may have replaced the refresh token then, so a refusal
    of the old one is no word on the login itself, and where only the session is prolonged. `how` says afterwards what
    made the new tokens, if this worker did, `doubt` since when an outcome is not known, and `refused_since` since when
    the refresh token is refused in that doubt.
    """

    def __init__(
        self,
        grant: Grant,
        fields: Mapping[str, str],
        *,
        vault: GrantVault,
        login: Login,
        clock: Clock,
        settings: Settings,
        logs_in: bool,
        sessions: LoginSessions | None = None,
    ) -> None:
        self._grant, self._fields = grant, fields
        self._vault, self._login, self._clock = vault, login, clock
        self._settings, self._logs_in, self._sessions = settings, logs_in, sessions
        self.doubt, self._session = grant.renewing_since, grant.session
        self.refused_since = refused_in_doubt(grant)
        self.how: str | None = None
        self.sent_in_vain = False

    async def __call__(self, need: Need = Need.NOW) -> Grant:
        """The new grant, or that of another worker who was first. Raises the broker's errors."""
        if need is Need.LOGIN:
            return await self._by_login()
        if self._sessions is not None:
            self._session = await self._sessions.going_on(
                self._session, self._fields, self._grant.auth.expires_at, in_time=need is Need.SOON
            )
        if not await self._mark():
            return await self._vault.reload(self._grant)
        try:
            auth = await self._bounded(self._refreshed())
        except (BrokerTokenExpiredError, BrokerAuthError) as refusal:
            return await self._refused(refusal)
        except BrokerNotReadyError as error:
            if self._was_lost:
                return await self._refused(error)
            await self._unmark()
            await self._count(error)
            raise
        except BrokerRateLimitError:
            await self._unmark()
            raise
        if self._sessions is not None:
            await self._sessions.keep(self._session, auth.expires_at)
        doubt = self.doubt if auth.refresh_refused else None
        return await self._stored(completed(auth, self._grant.auth), "refresh", self._session, doubt)

    async def _by_login(self) -> Grant:
        """The same by a login with the kept fields, though the tokens may live: it may have an end of its own."""
        if not self._logs_in:
            raise BrokerAuthError(
                "The kept credentials were refused, and are not sent again.", provider=self._grant.provider
            )
        if not await self._mark():
            return await self._vault.reload(self._grant)
        try:
            auth = await self._bounded(self._login.log_in(self._fields))
        except (BrokerTokenExpiredError, BrokerAuthError):
            self.sent_in_vain = True
            await self._unmark()
            raise
        except (BrokerNotReadyError, BrokerRateLimitError):
            await self._unmark()
            raise
        return await self._stored(auth, "login", self._login.session)

    @property
    def _was_lost(self) -> bool:
        """Whether a renewal was sent whose answer is not known, and its refresh token was refused before, for so long
        that it was carried out and the answer lost: waiting on would only keep the user from being asked."""
        return self.refused_since is not None and self._clock.now() - self.refused_since >= LONGEST_DOUBT

    async def _count(self, refusal: BrokerNotReadyError) -> None:
        """Note since when the refresh token is refused in doubt, and let no pause outlast what is waited for that."""
        if self.doubt is None:
            return
        now = self._clock.now()
        self.refused_since = self.refused_since or now
        await self._mark()
        if refusal.retry_after is not None:
            refusal.retry_after = min(refusal.retry_after, self.refused_since + LONGEST_DOUBT - now)

    async def _refreshed(self) -> AuthResult:
        patience = Patience(attrs.evolve(self._settings.retry, attempts=_ATTEMPTS), self._clock)
        while True:
            try:
                return await self._login.refresh_token(self._grant.auth)
            except (BrokerRateLimitError, BrokerNotReadyError):
                raise  # turned away before anything was done
            except BrokerAPIError as error:
                if self._grant.auth.refresh_token is not None and error.remedy == error.remedy_by_default:
                    error.remedy = MAY_BE_LOST
                raise
            except BrokerRetryableError as error:
                self.doubt = self.doubt or self._clock.now()
                wait = patience.after(error)
                if wait is None:
                    raise
                if wait > self._settings.long_wait:
                    error.retry_after = wait
                    raise
            await self._clock.sleep(wait.total_seconds())

    async def _refused(self, refusal: BrokerError) -> Grant:
        winner = await self._winner()
        if winner is not None:
            return winner
        if self.doubt is None:
            await self._unmark()
            if isinstance(refusal, BrokerAuthError):
                raise refusal
        if not self._logs_in:
            if self.doubt is None:
                raise refusal
            raise interrupted(refusal, self.doubt) from refusal
        died_early = await self._leave_place(refusal)
        try:
            auth = await self._bounded(self._login.log_in(self._fields, died_early))
        except (BrokerTokenExpiredError, BrokerAuthError) as error:
            self.sent_in_vain = True
            winner = await self._winner()
            if winner is not None:
                return winner
            if self.doubt is None:
                raise
            raise interrupted(error, self.doubt) from error
        return await self._stored(auth, "login", self._login.session)

    async def _leave_place(self, refusal: BrokerError) -> Lease | None:
        """Give the place of the session back; or keep it for the next one, where it died before its time."""
        # without a sure answer it may live on, and under a token that nobody has
        if self._sessions is None or self._session is None or self.doubt is not None or not has_ended(refusal):
            return None
        ends = self._grant.auth.expires_at
        if ends is not None and self._clock.now() < ends:
            return self._session
        await self._sessions.end(self._session)
        return None

    async def _bounded(self, call: Awaitable[R]) -> R:
        """No call outlasts the lease, or another worker would make it, too."""
        try:
            # the loop's time: it goes on while the broker is silent, and no test has to wait for it
            async with asyncio.timeout(self._settings.grants.longest_renewal.total_seconds()):
                return await call
        except TimeoutError:
            raise BrokerTimeoutError(
                "The broker did not renew the login in time. Whether it did so afterwards is not known.",
                provider=self._grant.provider,
                operation="refresh_token",
            ) from None

    async def _winner(self) -> Grant | None:
        """The grant of another worker or of the user who was first, which makes the broker refuse what we hold."""
        current = await self._vault.reload(self._grant)
        return current if current.generation != self._grant.generation else None

    async def _mark(self) -> bool:
        return await self._vault.store.mark_renewing(self._grant, self.doubt or self._clock.now(), self.refused_since)

    async def _unmark(self) -> None:
        """The outcome is known: nothing was changed by this renewal. What an earlier one left open stays so."""
        if self.doubt is None:
            await self._vault.store.mark_renewing(self._grant, None)

    async def _stored(self, auth: AuthResult, how: str, session: Lease | None, doubt: datetime | None = None) -> Grant:
        if auth.identity != self._grant.identity:
            raise BrokerAuthError(
                "The credentials now belong to another login.",
                provider=self._grant.provider,
                remedy="Connect the new login.",
            )
        now = self._clock.now()
        since = None if doubt is None else self.refused_since or now
        new = await _patiently(
            lambda: self._vault.replace(
                self._grant, auth, self._fields, made_at=now, session=session, doubt=doubt, refused_since=since
            ),
            self._clock,
        )
        if new is None:
            return await self._vault.reload(self._grant)
        self.how = how
        return new


async def store_what_is_held(vault: GrantVault, clock: Clock) -> None:
    """At the end of a process, which alone has it. Raises `StoreError` when it has to be given up.

    No lease is waited for: who has it may be refused what this replaces, and finds it then.
    """
    try:
        async with asyncio.timeout(STORING_TAKES_AT_MOST.total_seconds()):
            await _patiently(vault.catch_up_all, clock)
    except (StoreError, TimeoutError) as error:
        raise StoreError(
            "A broker has renewed a login, and the store did not take the new token until brokersync was closed. Only "
            "this process holds it.",
            remedy="When the store is back, open this BrokerSync again and sync, which stores it. Once the process has "
            "ended, the user may have to log in again.",
        ) from error


async def _patiently(storing: Callable[[], Awaitable[R]], clock: Clock) -> R:
    for wait in _WAITS_FOR_THE_STORE:
        try:
            return await storing()
        except StoreError:
            await clock.sleep(wait)
    return await storing()


def completed(answer: AuthResult, held: AuthResult) -> AuthResult:
    """What a renewal does not mention goes on to hold: brokers tell what is new, and not always all of it."""
    return attrs.evolve(
        answer,
        access_token=answer.access_token or held.access_token,
        refresh_token=answer.refresh_token or held.refresh_token,
        grant_expires_at=answer.grant_expires_at or held.grant_expires_at,
        secrets={**held.secrets, **answer.secrets},
        state={**held.state, **answer.state},
        hosts={**held.hosts, **answer.hosts},
        sources=held.sources if answer.sources is None else answer.sources,
    )
