"""HTTP with manners: limit, token, send, check, classify, retry."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, final

from brokersync.config import HttpSettings, RetrySettings
from brokersync.errors import BrokerAPIError, BrokerError, LimitScope
from brokersync.events import EventSink, HostRefused, no_events
from brokersync.hosts import HostMap
from brokersync.http_manners import Manners, Work
from brokersync.http_sessions import Sessions, check_session, open_session
from brokersync.http_wire import Tap, Wire
from brokersync.http_work import GuardedCall, HttpCall, TokenSource
from brokersync.limits import RateLimit
from brokersync.manifest import Manifest
from brokersync.provider import Check, Clock, HttpResponse, Prepare, RequestDraft
from brokersync.ratelimit import Limiter
from brokersync.retry import SAFE_METHODS, draw
from brokersync.types import AuthResult

__all__ = ["BrokerHttp", "TokenSource", "check_session", "open_session"]

R = TypeVar("R")

_HTTP = HttpSettings()
_RETRY = RetrySettings()


@final
class BrokerHttp:
    """`Http` and `guard` for one connection.

    The sessions that are given stay open.
    Without `tokens`, requests use the login they are given, and `BrokerTokenExpiredError` goes to the caller. A
    `pressing` one may use what the limits keep in reserve: somebody waits for it. `tap` is told of each answer and of
    what was sent for it, secrets and all.
    """

    def __init__(
        self,
        *,
        manifest: Manifest,
        limits: Sequence[RateLimit],
        hosts: HostMap,
        limiter: Limiter,
        clock: Clock,
        events: EventSink = no_events,
        settings: HttpSettings = _HTTP,
        retry: RetrySettings = _RETRY,
        long_wait: timedelta = timedelta(seconds=5),
        page_wait: timedelta = timedelta(seconds=5),
        tokens: TokenSource | None = None,
        connection_id: str = "",
        egress: str = "",
        pressing: bool = False,
        sessions: Sessions | None = None,
        random: Callable[[], float] = draw,
        tap: Tap | None = None,
    ) -> None:
        self._manifest, self._hosts, self._clock = manifest, hosts, clock
        self._settings, self._tokens, self._connection_id = settings, tokens, connection_id
        self._egress, self._events = egress, events
        self._wire = Wire(manifest, settings, sessions, tap)
        self._manners = Manners(
            provider=manifest.key,
            connection_id=connection_id,
            limits=limits,
            limiter=limiter,
            clock=clock,
            events=events,
            retry=retry,
            long_wait=long_wait,
            page_wait=page_wait,
            random=random,
            pressing=pressing,
        )

    async def request(
        self,
        operation: str,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        auth: AuthResult | None = None,
        bearer: bool = True,
        account: str | None = None,
        credential: str | None = None,
        weight: int = 1,
        prepare: Prepare | None = None,
        check: Check | None = None,
        spool: bool = False,
        repeatable: bool | None = None,
        total_timeout: timedelta | None = None,
    ) -> HttpResponse:
        """See `Http`.

        `check` sees every answer, whatever its status, before the status is judged: brokers explain themselves in the
        bodies of 4xx and 5xx. What it lets pass is judged by status; and where it can only say that the body is not
        what the broker documents (`BrokerResponseError`), a status that asks for another try, a new token or the user
        has the last word. With `total_timeout` the broker may be silent for as long.
        """
        call = HttpCall(
            wire=self._wire,
            manifest=self._manifest,
            hosts=self._hosts,
            clock=self._clock,
            tokens=self._tokens,
            operation=operation,
            template=RequestDraft(
                method=method.upper(),
                url=url,
                params=dict(params or {}),
                headers=dict(headers or {}),
                json=json,
                form=None if form is None else dict(form),
            ),
            auth=auth,
            bearer=bearer,
            scopes=self._scopes(operation, account, credential or (auth.identity if auth else "")),
            weight=weight,
            prepare=prepare,
            check=check,
            spool=spool,
            repeatable=method.upper() in SAFE_METHODS if repeatable is None else repeatable,
            lasts=total_timeout or self._settings.total,
            total=total_timeout,
            on_refused=partial(self._tell_refused, operation),
        )
        return await self._run(call)

    async def guard(
        self,
        operation: str,
        call: Callable[[AuthResult | None], Awaitable[R]],
        *,
        auth: AuthResult | None = None,
        account: str | None = None,
        weight: int = 1,
    ) -> R:
        """See `Guard`. For the limiter the connection stands for the credential of a call without `auth`."""
        return await self._run(
            GuardedCall(
                manifest=self._manifest,
                operation=operation,
                call=call,
                auth=auth,
                tokens=self._tokens,
                scopes=self._scopes(operation, account, auth.identity if auth else self._connection_id),
                weight=weight,
                lasts=self._settings.total,
            )
        )

    def kept(self) -> None:
        """What came until now need not be asked for again."""
        self._manners.kept()

    def begin_login(self) -> None:
        """See `CountsLogins`."""
        self._manners.begin_login()

    async def logged_in(self, auth: AuthResult) -> AuthResult:
        """See `CountsLogins`: its limits count the calls under whatever name they went."""
        await self._manners.logged_in(self._name_of(auth.identity))
        return auth

    async def aclose(self) -> None:
        """Close the sessions, unless they were given."""
        await self._wire.aclose()

    def _tell_refused(self, operation: str, host: str) -> None:
        names = {"provider": self._manifest.key, "connection_id": self._connection_id}
        self._events(HostRefused(**names, operation=operation, host=host))

    async def _run(self, work: Work[R]) -> R:
        try:
            return await self._manners.run(work)
        except BrokerError as error:
            error.provider = error.provider or self._manifest.key
            error.operation = error.operation or work.operation
            if isinstance(error, BrokerAPIError):
                error.report_to = error.report_to or self._manifest.support
            raise

    def _scopes(self, operation: str, account: str | None, credential: str) -> Mapping[LimitScope, str]:
        scopes = {LimitScope.APP: "", LimitScope.EGRESS: self._egress, LimitScope.ENDPOINT: operation}
        if credential:
            scopes[LimitScope.CREDENTIAL] = self._name_of(credential)
        if account is not None:
            scopes[LimitScope.ACCOUNT] = account
        return scopes

    def _name_of(self, credential: str) -> str:
        return hashlib.sha256(f"{self._manifest.key}\0{credential}".encode()).hexdigest()[:16]
