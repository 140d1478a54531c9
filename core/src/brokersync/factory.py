"""From a broker's key to a working provider: the one place where mechanism meets contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from brokersync.concealing import KnownSecrets, secrets_in, secrets_of
from brokersync.config import Settings, load_settings
from brokersync.errors import BrokerConfigError, Fault
from brokersync.events import EventSink, no_events
from brokersync.fields import read_fields
from brokersync.http_sessions import Sessions
from brokersync.managed import ManagedProvider
from brokersync.manifest import Manifest
from brokersync.provider import Cache, Clock, Guard, Hosts, Http, ProviderContext
from brokersync.registry import LoadedProvider, ProviderRegistry
from brokersync.secret import Secret
from brokersync.types import AuthResult, BrokerCredentials

if TYPE_CHECKING:
    from brokersync.http import TokenSource
    from brokersync.http_wire import Tap
    from brokersync.ratelimit import Limiter

__all__ = [
    "GuardedHttp",
    "ManagedProvider",
    "get_broker_provider",
    "make_context",
    "make_credentials",
    "open_provider",
]


_NO_FIELDS: Mapping[str, str] = MappingProxyType({})


class GuardedHttp(Http, Protocol):
    """Requests, and the same manners for calls that are no HTTP."""

    @property
    def guard(self) -> Guard: ...


def get_broker_provider(
    broker_type: str,
    *,
    environment: str | None = None,
    registry: ProviderRegistry | None = None,
    settings: Settings | None = None,
    context: ProviderContext | None = None,
    clock: Clock | None = None,
) -> ManagedProvider:
    """The provider of one broker, ready to use; of all plugins only this broker's is imported.

    Without `environment` it is the manifest's first. Without `settings` they are what `load_settings()` finds. Without
    `context` the provider gets one that keeps limits and reference data in this process, by this machine's clock unless
    a test brings its own, and `aclose()` ends it.
    Raises a `BrokerConfigError` that says which broker is missing, refused or misconfigured, and what to do.
    """
    settings = load_settings() if settings is None else settings
    loaded = (registry or ProviderRegistry.installed(settings)).load(broker_type)
    if context is not None:
        _check_environment(loaded.manifest, context.environment)
        return ManagedProvider(loaded, context)
    return open_provider(
        loaded,
        environment=environment or loaded.manifest.environments[0],
        settings=settings,
        cache=_MemoryCache(),
        clock=clock,
    )


def open_provider(
    loaded: LoadedProvider,
    *,
    environment: str,
    settings: Settings,
    cache: Cache,
    clock: Clock | None = None,
    limiter: Limiter | None = None,
    events: EventSink = no_events,
    tokens: TokenSource | None = None,
    sessions: Sessions | None = None,
    connection_id: str = "",
    fields: Mapping[str, str] = _NO_FIELDS,
    held: AuthResult | None = None,
    pressing: bool = False,
    tap: Tap | None = None,
) -> ManagedProvider:
    """A loaded broker's provider over HTTP of its own, which `aclose()` ends; `sessions` that are given stay open.

    Without `limiter` the broker's limits are kept by this provider alone; without `tokens` requests use the token of
    the login they are given. No error shows a secret of `fields` and `held`, which are of the login where it is known.
    `pressing` says that somebody waits for what it does. `tap` is told of each answer and of what was sent for it,
    secrets and all.
    Raises `BrokerConfigError`.
    """
    from brokersync.clock import SystemClock  # the HTTP stack costs 150 ms that nobody pays before a provider opens
    from brokersync.hosts import HostMap
    from brokersync.http import BrokerHttp
    from brokersync.ratelimit import LocalLimiter
    from brokersync.ratelimit.meters import JITTER

    manifest = loaded.manifest
    known = KnownSecrets()
    known.learn((*secrets_in(manifest.user_fields, fields), *secrets_of(held)))
    own = settings.broker(manifest.key)
    clock = clock or SystemClock()
    hosts = HostMap(manifest, own.hosts)
    http = BrokerHttp(
        manifest=manifest,
        limits=manifest.limits if own.limits is None else own.limits,
        hosts=hosts,
        limiter=limiter or LocalLimiter(clock, jitter=JITTER),
        clock=clock,
        events=events,
        settings=settings.http,
        retry=settings.retry,
        long_wait=settings.long_wait,
        page_wait=settings.page_wait,
        tokens=None if tokens is None else _Learning(tokens, known),
        sessions=sessions,
        connection_id=connection_id,
        egress=settings.fleet.egress,
        pressing=pressing,
        tap=tap,
    )
    context = make_context(
        manifest, environment=environment, settings=settings, http=http, clock=clock, hosts=hosts, cache=cache
    )
    return ManagedProvider(loaded, context, on_close=http.aclose, on_kept=http.kept, logins=http, known=known)


def make_context(
    manifest: Manifest,
    *,
    environment: str,
    settings: Settings,
    http: GuardedHttp,
    clock: Clock,
    hosts: Hosts,
    cache: Cache,
) -> ProviderContext:
    """What a provider is given.

    Raises `BrokerConfigError` for an environment the manifest does not declare, and for operator fields that are
    missing, unknown or mistaken.
    """
    _check_environment(manifest, environment)
    return ProviderContext(
        provider=manifest.key,
        environment=environment,
        manifest=manifest,
        http=http,
        guard=http.guard,
        clock=clock,
        hosts=hosts,
        cache=cache,
        settings=read_fields(
            manifest.operator_fields,
            settings.broker(manifest.key).settings,
            provider=manifest.key,
            fault=Fault.OPERATOR,
            path=f"brokers[{manifest.key}].settings.",
        ),
    )


def make_credentials(
    loaded: LoadedProvider, fields: Mapping[str, str | Secret], *, consent: bool = False
) -> BrokerCredentials:
    """The plugin's credentials out of what a user gave, to log in with or before a `consent`.

    Raises one `BrokerConfigError` that names every mistaken field and shows no value.
    """
    manifest, kind = loaded.manifest, loaded.spec.credentials
    declared = manifest.consent_fields if consent else manifest.login_fields
    values = read_fields(declared, fields, provider=manifest.key, fault=Fault.USER)
    if kind is None or (consent and not declared):
        return BrokerCredentials()
    secret = {field.name for field in manifest.user_fields if field.secret}
    try:
        return kind(**{name: Secret(value) if name in secret else value for name, value in values.items()})
    except (ValueError, TypeError) as error:
        raise BrokerConfigError(
            f"The plugin for {manifest.key!r} does not accept these credentials ({type(error).__name__}).",
            remedy="Check each field against its description.",
            provider=manifest.key,
            fault=Fault.USER,
        ) from None  # the plugin's own text may hold a value


@attrs.frozen
class _Learning:
    """A source of tokens that makes each of them known as a secret: a request may use those its caller never saw."""

    _tokens: TokenSource
    _known: KnownSecrets

    async def current(self, auth: AuthResult) -> AuthResult:
        return self._learned(await self._tokens.current(auth))

    async def renew(self, stale: AuthResult) -> AuthResult:
        return self._learned(await self._tokens.renew(stale))

    def _learned(self, auth: AuthResult) -> AuthResult:
        self._known.learn(secrets_of(auth))
        return auth


class _MemoryCache:
    """Reference data for as long as the provider lives."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    async def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        return {key: self._values[key] for key in keys if key in self._values}

    async def put_many(self, values: Mapping[str, Any]) -> None:
        self._values.update(values)


def _check_environment(manifest: Manifest, environment: str) -> None:
    if environment not in manifest.environments:
        raise BrokerConfigError(
            f"The broker {manifest.key!r} has no environment {environment!r}.",
            remedy=f"Its environments are: {', '.join(manifest.environments)}.",
            provider=manifest.key,
        )
