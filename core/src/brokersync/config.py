"""Settings from TOML: frozen values with units in the type."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs

from brokersync.converter import structure_config
from brokersync.errors import BrokerConfigError
from brokersync.governance_settings import GovernanceSettings
from brokersync.limits import RateLimit
from brokersync.maintenance import MaintenanceWindow
from brokersync.redis_url import LIKE_THIS, is_redis_url

CONFIG_VARIABLE = "BROKERSYNC_CONFIG"
STORE_VARIABLE = "BROKERSYNC_STORE"
SAFE_VARIABLE = "BROKERSYNC_SAFE"
WEBHOOK_SECRET_VARIABLE = "BROKERSYNC_WEBHOOK_SECRET"  # noqa: S105  the name of a variable, not a secret

_NONE: Mapping[str, Any] = MappingProxyType({})
_RESERVE = 2


_Also: TypeAlias = Callable[[Mapping[str, Any]], Iterable[str]]


def _nothing_else(_: Mapping[str, Any]) -> Iterable[str]:
    return ()


def _above_zero(_: object, field: attrs.Attribute[Any], value: timedelta) -> None:
    if value <= timedelta(0):
        raise ValueError(f"{field.name} must be longer than nothing")


def _at_least_one(_: object, field: attrs.Attribute[Any], value: int) -> None:
    if value < 1:
        raise ValueError(f"{field.name} must be at least 1")


def _not_negative(_: object, field: attrs.Attribute[Any], value: int) -> None:
    if value < 0:
        raise ValueError(f"{field.name} must not be below 0")


def _not_before_now(_: object, field: attrs.Attribute[Any], value: timedelta) -> None:
    if value < timedelta(0):
        raise ValueError(f"{field.name} must not be below 0")


@attrs.frozen(kw_only=True)
class HttpSettings:
    """Bounds of one request: `total` covers connecting, waiting and reading the whole body."""

    connect: timedelta = attrs.field(default=timedelta(seconds=15), validator=_above_zero)
    read: timedelta = attrs.field(default=timedelta(seconds=60), validator=_above_zero)
    total: timedelta = attrs.field(default=timedelta(minutes=5), validator=_above_zero)
    max_body_bytes: int = attrs.field(default=16 * 1024 * 1024, validator=_at_least_one)
    max_spooled_bytes: int = attrs.field(default=512 * 1024 * 1024, validator=_at_least_one)


@attrs.frozen(kw_only=True)
class RetrySettings:
    """Bounds of the attempts at one request: in count and in time, whichever comes first."""

    attempts: int = attrs.field(default=5, validator=_at_least_one)
    within: timedelta = timedelta(minutes=3)
    first_wait: timedelta = timedelta(seconds=1)
    longest_wait: timedelta = attrs.field(default=timedelta(seconds=60), validator=_above_zero)


@attrs.frozen(kw_only=True)
class GrantSettings:
    """How logins are kept alive. A token is renewed `renew_before` its end, or half of its life if that is less.

    A renewal takes `longest_renewal` at most; one of another worker is waited for up to `longest_wait`. A grant that
    nobody uses is renewed `renew_idle_before` its end, and the user is told `warn_before_login` of an end that
    neither a renewal nor a login with what is kept of it moves.
    """

    renew_before: timedelta = attrs.field(default=timedelta(minutes=2), validator=_above_zero)
    longest_renewal: timedelta = attrs.field(default=timedelta(seconds=30), validator=_above_zero)
    longest_wait: timedelta = timedelta(seconds=15)
    renew_idle_before: timedelta = timedelta(days=3)
    warn_before_login: timedelta = timedelta(days=7)


@attrs.frozen(kw_only=True)
class KeepSettings:
    """How long is kept: what brokers sent (`raw`), the reports of syncs (`logs`), the feed of changes (`feed`)."""

    raw: timedelta = attrs.field(default=timedelta(days=90), validator=_above_zero)
    logs: timedelta = attrs.field(default=timedelta(days=90), validator=_above_zero)
    feed: timedelta = attrs.field(default=timedelta(days=400), validator=_above_zero)


def _percent(_: object, field: attrs.Attribute[Any], value: int) -> None:
    if not 1 <= value <= 100:
        raise ValueError(f"{field.name} is in percent, from 1 to 100")


def _redis_url(_: object, field: attrs.Attribute[Any], value: str | None) -> None:
    """The value is not shown: it may hold a password."""
    if value is not None and not is_redis_url(value):
        raise ValueError(f"{field.name} is not the URL of a Redis; write it like {LIKE_THIS}")


@attrs.frozen(kw_only=True)
class FleetSettings:
    """What processes on one or more machines share. `redis` is the URL of a Redis or Valkey that holds the limits.

    While it is away each process takes `share` percent of each limit, `alone` at most, and then makes no call.
    `egress` names the address that the broker sees this process come from, where there are several.
    """

    redis: str | None = attrs.field(default=None, repr=False, validator=_redis_url)  # a URL may hold a password
    share: int = attrs.field(default=10, validator=_percent)
    alone: timedelta = timedelta(minutes=10)
    egress: str = ""


class QueueEngine(Enum):
    """Who tells workers of jobs: they look into the store by themselves, or docket wakes them through a Redis."""

    EMBEDDED = "embedded"
    DOCKET = "docket"


def _is_a_key(_: object, field: attrs.Attribute[Any], value: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", value):
        raise ValueError(f"{field.name} consists of letters, digits, dots, hyphens and underscores, not {value!r}")


def _leaves_a_place(instance: Any, field: attrs.Attribute[Any], value: int | None) -> None:
    if value is None:
        return
    _not_negative(instance, field, value)
    # there is none while a configuration is read in which it is wrong itself
    places = getattr(instance, "concurrency", value + 1)
    if value >= places:
        raise ValueError(
            f"{field.name}, which is {value}, must be below concurrency, which is {places}: what is merely due needs a"
            " place, too"
        )


@attrs.frozen(kw_only=True)
class QueueSettings:
    """How jobs are kept and run. A worker runs `concurrency` at a time, of them `reserve` for who waits for a sync.

    Without a `reserve` it is two, or what leaves one place to the rest.
    One that was not heard of for `hold` has lost its jobs, and a job that shows no sign for `stuck_after` is ended and
    left to another worker. A worker that is to stop waits `stop_within` for its jobs. What is due is looked for every
    `plan_every`, and begun within `spread`, unless it was never synced or would be lost; jobs of other processes are
    looked for every `look_every`. With the `engine` docket workers are woken for them by keys in `fleet.redis` that
    begin with `name`.
    """

    engine: QueueEngine = QueueEngine.EMBEDDED
    name: str = attrs.field(default="brokersync-queue", validator=_is_a_key)
    concurrency: int = attrs.field(default=16, validator=_at_least_one)
    reserve: int | None = attrs.field(default=None, validator=_leaves_a_place)
    hold: timedelta = attrs.field(default=timedelta(seconds=60), validator=_above_zero)
    stuck_after: timedelta = attrs.field(default=timedelta(minutes=15), validator=_above_zero)
    stop_within: timedelta = attrs.field(default=timedelta(seconds=30), validator=_not_before_now)
    plan_every: timedelta = attrs.field(default=timedelta(seconds=15), validator=_above_zero)
    spread: timedelta = attrs.field(default=timedelta(minutes=10), validator=_not_before_now)
    look_every: timedelta = attrs.field(default=timedelta(seconds=1), validator=_above_zero)

    def reserved(self, places: int) -> int:
        """How many of so many places a worker keeps for what somebody waits for; it leaves one to the rest."""
        return min(_RESERVE if self.reserve is None else self.reserve, places - 1)


@attrs.frozen(kw_only=True)
class BrokerSettings:
    """What the operator says of one broker: a pinned distribution, other hosts, limits or maintenance, the operator's
    fields, and where the broker sends users back to who logged in at its own page."""

    distribution: str | None = None
    hosts: Mapping[str, str] = _NONE
    limits: tuple[RateLimit, ...] | None = None
    maintenance: tuple[MaintenanceWindow, ...] | None = None
    settings: Mapping[str, str] = attrs.field(default=_NONE, repr=False)
    redirect_uri: str | None = None


def _no_shorter_than_the_first(instance: Any, field: attrs.Attribute[Any], value: timedelta) -> None:
    _above_zero(instance, field, value)
    # there is none while a configuration is read in which it is wrong itself
    first = getattr(instance, "first_probe", value)
    if value < first:
        raise ValueError(f"{field.name}, which is {value}, must not be shorter than first_probe, which is {first}")


# what is wrong itself is not there while a configuration is read, and neither is it in the tables within


def _serves_the_queue(instance: Any, _: attrs.Attribute[Any], value: FleetSettings) -> None:
    engine = getattr(getattr(instance, "queue", None), "engine", None)
    if engine is QueueEngine.DOCKET and getattr(value, "redis", "") is None:
        raise ValueError("the queue's engine docket needs a Redis; name its URL as fleet.redis")


def _fits_the_waits(instance: Any, _: attrs.Attribute[Any], value: QueueSettings) -> None:
    longest = max(getattr(instance, name, timedelta(0)) for name in ("long_wait", "page_wait"))
    stuck_after = getattr(value, "stuck_after", None)
    if stuck_after is not None and stuck_after <= longest:
        raise ValueError(
            f"stuck_after, which is {stuck_after}, must be longer than the longest wait that is slept, which is"
            f" {longest} (long_wait, page_wait)"
        )


@attrs.frozen(kw_only=True)
class Settings:
    """All of brokersync's configuration. A wait up to `long_wait` is slept; a longer one defers the sync.

    In the middle of a page, whose calls would have to be made again, it is slept up to `page_wait`.

    A connection is synced every `sync_every`, and once more `perishable_margin` before a source forgets something.
    A worker that has not been heard of for `lease` is taken to be dead, and another may go on with its work.
    The user is asked to log in again after `refusals` fresh tokens that were refused in a row. A broker that is away is
    probed after `first_probe`, then ever more rarely, up to `longest_probe`. Other processes' changes are looked for
    every `feed_poll` by those who follow the feed.
    """

    store: str | None = attrs.field(default=None, repr=False)  # a URL may hold a password
    long_wait: timedelta = timedelta(seconds=5)
    page_wait: timedelta = timedelta(minutes=1)
    sync_every: timedelta = attrs.field(default=timedelta(hours=6), validator=_above_zero)
    perishable_margin: timedelta = attrs.field(default=timedelta(minutes=30), validator=_above_zero)
    lease: timedelta = attrs.field(default=timedelta(seconds=15), validator=_above_zero)
    refusals: int = attrs.field(default=3, validator=_at_least_one)
    first_probe: timedelta = attrs.field(default=timedelta(minutes=1), validator=_above_zero)
    longest_probe: timedelta = attrs.field(default=timedelta(minutes=15), validator=_no_shorter_than_the_first)
    feed_poll: timedelta = attrs.field(default=timedelta(seconds=1), validator=_above_zero)
    http: HttpSettings = HttpSettings()
    retry: RetrySettings = RetrySettings()
    grants: GrantSettings = GrantSettings()
    keep: KeepSettings = KeepSettings()
    fleet: FleetSettings = attrs.field(default=FleetSettings(), validator=_serves_the_queue)
    queue: QueueSettings = attrs.field(default=QueueSettings(), validator=_fits_the_waits)
    governance: GovernanceSettings = attrs.field(default=GovernanceSettings())
    brokers: Mapping[str, BrokerSettings] = _NONE

    def broker(self, key: str) -> BrokerSettings:
        """The operator's word on one broker, or the defaults."""
        return self.brokers.get(key) or BrokerSettings()


def load_settings(
    path: Path | None = None, environ: Mapping[str, str] | None = None, also: _Also = _nothing_else
) -> Settings:
    """Settings from `path`, else from the file `BROKERSYNC_CONFIG` names, else the defaults.

    `also` finds further mistakes in the file's data. Raises `BrokerConfigError` that names the file and every mistake.
    """
    environ = os.environ if environ is None else environ
    named = path or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    settings = Settings() if named is None else parse_settings(_read(named), str(named), also)
    return attrs.evolve(settings, governance=_with_environment(settings.governance, environ))


def _with_environment(told: GovernanceSettings, environ: Mapping[str, str]) -> GovernanceSettings:
    """A secret need not stand in a file, and safe mode is for when no file may be touched."""
    return attrs.evolve(
        told,
        safe=told.safe or environ.get(SAFE_VARIABLE, "") not in ("", "0"),
        webhook_secret=environ.get(WEBHOOK_SECRET_VARIABLE) or told.webhook_secret,
    )


def parse_settings(text: str, where: str = "configuration", also: _Also = _nothing_else) -> Settings:
    """Settings from TOML text; see `load_settings`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BrokerConfigError(f"{where} is not TOML: {error}.", remedy="Correct the line and try again.") from None
    return structure_config(data, Settings, where, also)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BrokerConfigError(
            f"The configuration {path} can not be read: {error}.",
            remedy=f"Check the path that --config or {CONFIG_VARIABLE} names.",
        ) from None
