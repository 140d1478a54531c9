"""One call to a broker as a row of attempts: an HTTP request, or a call that is no HTTP."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

import attrs

from brokersync.concealing import secrets_of
from brokersync.errors import (
    BrokerAPIError,
    BrokerError,
    BrokerPluginError,
    BrokerResponseError,
    LimitScope,
)
from brokersync.hosts import HostMap, host_of
from brokersync.http_classify import FOREIGN, Failed, asked_wait, foreign_error, status_error
from brokersync.http_left import left_in
from brokersync.http_wire import Wire
from brokersync.manifest import Manifest
from brokersync.provider import Check, Clock, HttpResponse, Prepare, RequestDraft
from brokersync.ratelimit import Left, Pass
from brokersync.redaction import redact_url
from brokersync.types import AuthResult

R = TypeVar("R")


class TokenSource(Protocol):
    """Where the current login of a request comes from."""

    async def current(self, auth: AuthResult) -> AuthResult:
        """The login to use now in place of `auth`."""

    async def renew(self, stale: AuthResult) -> AuthResult:
        """A login newer than `stale`, which the broker refused."""


@attrs.define(kw_only=True)
class HttpCall:
    """One request; `template` is what each attempt starts from, and `auth` the login as it is known by now."""

    wire: Wire
    manifest: Manifest
    hosts: HostMap
    clock: Clock
    tokens: TokenSource | None
    operation: str
    template: RequestDraft = attrs.field(repr=False)
    auth: AuthResult | None
    bearer: bool
    scopes: Mapping[LimitScope, str]
    weight: int
    prepare: Prepare | None
    check: Check | None
    spool: bool
    repeatable: bool
    lasts: timedelta
    total: timedelta | None
    on_refused: Callable[[str], None]
    url: str = ""
    status: int | None = None
    left: Sequence[Left] = ()
    _tries: int = 0
    _draft: RequestDraft = attrs.field(init=False, repr=False)

    async def log_in(self) -> None:
        """See `Work`."""
        if self.auth is not None and self.tokens is not None:
            self.auth = await self.tokens.current(self.auth)

    async def ready(self, previous: BrokerError | None) -> None:
        """See `Work`: the token is asked for anew, since another worker may have renewed it meanwhile."""
        self.status, self.left = None, ()
        await self.log_in()
        draft = self._new_draft()
        if self.prepare is not None:
            self.prepare(draft, previous)
        if not self.hosts.permits(draft.url):
            self.on_refused(host_of(draft.url))
            raise BrokerPluginError(
                f"The plugin for {self.manifest.display_name} asked for {host_of(draft.url) or 'an address'}, "
                "which is none of the broker's hosts.",
                remedy="Report it to the plugin's authors.",
                report_to=self.manifest.support,
            )
        self.url = redact_url(draft.url, [secret.reveal() for secret in secrets_of(draft.auth)], params=draft.params)
        self._draft = draft

    async def send(self, passed: Pass) -> HttpResponse:
        """See `Work`."""
        self._tries += 1
        response = await self.wire.send(
            self._draft,
            operation=self.operation,
            shown_url=self.url,
            spool=self.spool,
            repeatable=self.repeatable,
            # where one kept connection was dead the others may be
            keeps=self.repeatable and self._tries == 1,
            total=self.total,
            on_sent=passed.sent,
        )
        self.status, self.left = response.status, left_in(response.headers, self.clock.now())
        accepted = False
        try:
            error = self._verdict(response)
            accepted = error is None
        finally:
            if response.file is not None and not accepted:
                response.file.close()
        if error is not None:
            raise Failed(error, asked=asked_wait(response.headers, self.clock.now()))
        if response.file is not None:
            response.file.seek(0)
        return response

    async def renew(self) -> bool:
        """See `Work`."""
        if self.auth is None or self.tokens is None:
            return False
        self.auth = await self.tokens.renew(self.auth)
        return True

    def _new_draft(self) -> RequestDraft:
        template, auth = self.template, self.auth
        headers = dict(template.headers)
        own = any(name.lower() == "authorization" for name in headers)
        if self.bearer and not own and auth is not None and auth.access_token:
            headers["Authorization"] = f"Bearer {auth.access_token.reveal()}"
        return RequestDraft(
            method=template.method,
            url=template.url,
            params=dict(template.params),
            headers=headers,
            json=copy.deepcopy(template.json),
            form=None if template.form is None else dict(template.form),
            auth=auth,
        )

    def _verdict(self, response: HttpResponse) -> BrokerError | None:
        by_status = status_error(
            response.status,
            response.headers,
            broker=self.manifest.display_name,
            operation=self.operation,
            logged_in=self.auth is not None,
            now=self.clock.now(),
        )
        if self.check is None:
            return by_status
        try:
            self.check(response)
        except BrokerResponseError as error:
            unreadable = by_status is not None and not isinstance(by_status, BrokerAPIError)
            return by_status if unreadable else error
        except BrokerError as error:
            return error
        return by_status


@attrs.define(kw_only=True)
class GuardedCall(Generic[R]):
    """A call that is no HTTP; it is made again after a failure that may pass."""

    manifest: Manifest
    operation: str
    call: Callable[[AuthResult | None], Awaitable[R]]
    auth: AuthResult | None
    tokens: TokenSource | None
    scopes: Mapping[LimitScope, str]
    weight: int
    lasts: timedelta
    repeatable: bool = True
    url: str = ""
    status: int | None = None
    left: Sequence[Left] = ()

    async def log_in(self) -> None:
        """See `Work`."""
        if self.auth is not None and self.tokens is not None:
            self.auth = await self.tokens.current(self.auth)

    async def ready(self, previous: BrokerError | None) -> None:
        """See `Work`: the token is asked for anew, since another worker may have renewed it meanwhile."""
        await self.log_in()

    async def send(self, passed: Pass) -> R:
        """See `Work`; when it leaves nobody else knows."""
        await passed.sent()
        try:
            async with asyncio.timeout(self.lasts.total_seconds()):
                return await self.call(self.auth)
        except BrokerError as error:
            failed = Failed(error)
        except FOREIGN as error:
            failed = foreign_error(error, broker=self.manifest.display_name, operation=self.operation)
        raise failed

    async def renew(self) -> bool:
        """See `Work`."""
        if self.auth is None or self.tokens is None:
            return False
        self.auth = await self.tokens.renew(self.auth)
        return True
