"""The contract between core and a broker's plugin."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, BinaryIO, Protocol, TypeAlias, TypeVar, runtime_checkable

import attrs

from brokersync.errors import BrokerError, BrokerResponseError
from brokersync.manifest import Manifest
from brokersync.types import (
    AuthResult,
    BrokerAccount,
    BrokerCredentials,
    Challenge,
    StatementHints,
    TradePage,
    TradeRequest,
)

C = TypeVar("C", bound=BrokerCredentials)
C_contra = TypeVar("C_contra", bound=BrokerCredentials, contravariant=True)
R = TypeVar("R")


@runtime_checkable
class BrokerProvider(Protocol[C_contra]):
    """The adapter of one broker: stateless about users, never sleeps, never retries."""

    async def authenticate(self, credentials: C_contra) -> AuthResult:
        """Log in. Raises `BrokerAuthError` when the broker refuses the credentials."""

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        """A new token from what `auth` holds. Raises `BrokerTokenExpiredError` when only a new login helps."""

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        """All accounts of the login; none is a valid answer. Raises `BrokerNotReadyError` to be asked again later."""

    def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        """The pages of one request. A window that can not be read is an error or uncovered, never an empty page."""

    async def aclose(self) -> None:
        """Give back what the provider opened itself."""


@runtime_checkable
class Consent(Protocol[C_contra]):
    """Logins of several steps: OAuth, device codes, one-time codes.

    Another process may complete what one has begun, so all that it takes is in the challenge. No answer is tried twice.
    """

    async def begin(self, credentials: C_contra, redirect_uri: str | None) -> Challenge:
        """The first step. Where the manifest asks for no field before it, `credentials` are bare `BrokerCredentials`.

        What `state` of the challenge holds under the name `state` is what the broker sends back with its answer.
        """

    async def complete(self, challenge: Challenge, answers: Mapping[str, str]) -> AuthResult | Challenge:
        """The login, or the next step. Raises `BrokerAuthError`, with `code="access_denied"` where the user declined.

        `answers` came from outside, and may be anything.
        """

    async def revoke(self, auth: AuthResult) -> None:
        """Have the broker end this login, where it can be asked to."""


@runtime_checkable
class StatementReader(Protocol):
    """Files a user downloaded from the broker."""

    def recognises(self, head: bytes) -> bool:
        """Whether the first 64 KiB of a file look like one of this broker's statements."""

    def source(self, file: BinaryIO, hints: StatementHints) -> str:
        """Check the whole file and name its source in the manifest; the file's position is the caller's to reset.

        Raises a `BrokerError` for a file that can not be read to its end, before any page was given.
        """

    def read_statement(self, file: BinaryIO, hints: StatementHints) -> Iterator[TradePage]:
        """The pages of a file that `source` accepted."""


@runtime_checkable
class ReadsCache(Protocol):
    """Optional for a `StatementReader`: one that knows what the broker's providers were told before."""

    def with_cache(self, cached: Callable[[Sequence[str]], Mapping[str, Any]]) -> StatementReader:
        """A reader of one file; `cached` is `get_many` of the providers' `cache`, in whichever environment."""


@attrs.define(kw_only=True)
class RequestDraft:
    """One attempt at a request, for `prepare` to complete: sign it, place the token, resend a ticket.

    `auth` is the current login when the request names one. `bearer` says whether core sets the Authorization header
    from it, which it does before `prepare` runs. `json` is sent as `json.dumps` writes it, `form` as `urlencode` does.
    """

    method: str
    url: str = attrs.field(repr=False)
    params: dict[str, str] = attrs.field(repr=False)
    headers: dict[str, str] = attrs.field(repr=False)
    json: Any = attrs.field(default=None, repr=False)
    form: dict[str, str] | None = attrs.field(default=None, repr=False)
    auth: AuthResult | None = None

    @property
    def target(self) -> str:
        """The path and the query byte for byte as they are sent, for a signature over them."""
        from yarl import URL  # a listing need not pay for it

        return URL(self.url).extend_query(self.params).raw_path_qs


@attrs.frozen(kw_only=True)
class HttpResponse:
    """An answer, read to its end. `file` holds the whole body when it was asked for, and `body` its first 64 KiB.

    `url` shows no secret. Header names are lower case.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    url: str
    file: BinaryIO | None = None

    def text(self) -> str:
        """The body as UTF-8; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON with exact numbers. Raises `BrokerResponseError` when it is none."""
        from brokersync.converter import loads_exact  # cattrs costs 50 ms that a listing need not pay

        try:
            return loads_exact(self.body)
        except (ValueError, RecursionError):
            raise BrokerResponseError(
                f"The broker's answer (HTTP {self.status}) is not JSON.", status=self.status
            ) from None


Prepare: TypeAlias = Callable[[RequestDraft, BrokerError | None], None]
Check: TypeAlias = Callable[[HttpResponse], None]


class Http(Protocol):
    """HTTP with manners: limit, token, send, check, classify, retry."""

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
        """The checked answer to one request.

        `prepare` completes each attempt and is told the error of the one before. `check` raises the errors that come
        with status 200. `repeatable` says whether the request may be sent again after a failure; reads (GET, HEAD) are
        by default. `credential` names the login for the limiter before there is an `auth`; once it
        is made, its calls count for its identity. With `spool` the body goes
        to a temporary file. Raises a `BrokerError` and nothing else.
        """


class Guard(Protocol):
    """The same manners for brokers that do not speak HTTP."""

    async def __call__(
        self,
        operation: str,
        call: Callable[[AuthResult | None], Awaitable[R]],
        *,
        auth: AuthResult | None = None,
        account: str | None = None,
        weight: int = 1,
    ) -> R:
        """What `call` gives; at each attempt it is handed the current login in place of `auth`.

        It is made again after a failure that may pass, so it must be a call that can be.
        """


class Clock(Protocol):
    """Time, so that tests can own it."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds that only grow."""

    async def sleep(self, seconds: float) -> None: ...


class Hosts(Protocol):
    """Base URLs by role: the manifest's, the operator's or a sandbox's; none ends in a slash."""

    def __getitem__(self, role: str) -> str:
        """Raises `BrokerConfigError` for a role that the manifest does not declare."""

    def accept(self, role: str, url: str) -> str:
        """A base URL learned at run time, if it may be used for `role`; else raises `BrokerResponseError`.

        Only https to a host the manifest names or whose pattern it allows; and any host the operator set.
        """


class Cache(Protocol):
    """Durable reference data of one broker environment, such as instruments; values are JSON."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, Any]: ...

    async def put_many(self, values: Mapping[str, Any]) -> None: ...


@attrs.frozen(kw_only=True)
class ProviderContext:
    """What a provider is given, and never fetches. `settings` are the operator's fields of the manifest."""

    provider: str
    environment: str
    manifest: Manifest
    http: Http
    guard: Guard
    clock: Clock
    hosts: Hosts
    cache: Cache
    settings: Mapping[str, str] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class RawRow:
    """A row of the broker's as core keeps it: the `raw` that its booking or its place in quarantine was given.

    `row_id` is the booking's id; a row in quarantine has none, and may lack account and environment.
    """

    raw: Mapping[str, Any]
    account_id: str | None = None
    environment: str | None = None
    row_id: str | None = None


@attrs.frozen(kw_only=True)
class ProviderSpec:
    """A plugin's code for one broker: at least `create` or `statements`.

    `statements` makes a reader for a broker key. `diagnose` checks a fresh login and answers with sentences for the
    user; none means that all is well. `adopt` is handed tokens that somebody else obtained, with an `identity` of
    core's making, and answers with the broker's name of who they belong to; it renews nothing, since what it renewed
    would stand nowhere yet. It raises `BrokerTokenExpiredError` where only a renewed token can tell, and
    `BrokerAuthError` for a token that is none. `renormalise` reads kept rows of a source again, as the plugin reads
    them today: pure, in any order, and each booking and quarantined row carries the `raw` of its row as it came.
    """

    credentials: type[BrokerCredentials] | None = None
    create: Callable[[ProviderContext], BrokerProvider[Any]] | None = None
    consent: Callable[[ProviderContext], Consent[Any]] | None = None
    statements: Callable[[str], StatementReader] | None = None
    diagnose: Callable[[ProviderContext, AuthResult], Awaitable[Sequence[str]]] | None = None
    adopt: Callable[[ProviderContext, AuthResult], Awaitable[AuthResult]] | None = None
    renormalise: Callable[[str, Iterable[RawRow]], Iterable[TradePage]] | None = None

    def __attrs_post_init__(self) -> None:
        if self.create is None and self.statements is None:
            raise ValueError("a ProviderSpec needs create or statements")
        if self.create is not None and self.credentials is None:
            raise ValueError("a ProviderSpec with create needs its credentials class")
