"""Frozen events and the sink that is passed in: the only telemetry seam."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeAlias

import attrs

from brokersync.records import SyncReport
from brokersync.types import TimeWindow


@attrs.frozen(kw_only=True)
class Event:
    """The root of all events; `provider` and `connection_id` are empty where there is none."""

    provider: str = ""
    connection_id: str = ""


@attrs.frozen(kw_only=True)
class PluginRefused(Event):
    """An installed plugin is left out; the others go on."""

    distribution: str
    reason: str


@attrs.frozen(kw_only=True)
class PluginDeprecated(Event):
    """A plugin was loaded that is written for a contract which a coming release does not speak any more."""

    distribution: str
    reason: str


@attrs.frozen(kw_only=True)
class PluginSeen(Event):
    """A broker's plugin is there for the first time, or another than `was`, which names its version; `state` says
    whether it may run. `files` is the hash of its files."""

    distribution: str
    version: str
    state: str
    reason: str = ""
    was: str = ""
    files: str = ""
    hosts: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class BrokerHeld(Event):
    """A broker was asked for whose plugin the operator does not let run; once for each reason."""

    distribution: str
    version: str
    reason: str


@attrs.frozen(kw_only=True)
class HostRefused(Event):
    """A plugin asked core for a host that its manifest does not declare; nothing was sent."""

    operation: str
    host: str


@attrs.frozen(kw_only=True)
class WebhookLost(Event):
    """A notice could not be delivered; `waiting` are tried again until they are."""

    reason: str
    waiting: int


@attrs.frozen(kw_only=True)
class WebhookBack(Event):
    """Notices are delivered again."""


@attrs.frozen(kw_only=True)
class SyncStarted(Event):
    owner: str


@attrs.frozen(kw_only=True)
class WindowStarted(Event):
    """A source is asked for a window; `done` of `total` windows of this sync are behind it."""

    source: str
    account_id: str | None
    window: TimeWindow
    done: int
    total: int


@attrs.frozen(kw_only=True)
class PageCommitted(Event):
    """A page is durable."""

    source: str
    fetched: int
    added: int
    modified: int
    removed: int
    unchanged: int
    quarantined: int


@attrs.frozen(kw_only=True)
class HistoryLost(Event):
    """A source has forgotten a window that no other one will give; `repair` says how it can be had all the same.

    It is told once by each connection that sees the account, and of one source by one of them.
    """

    source: str
    environment: str
    account_id: str
    window: TimeWindow
    repair: str


@attrs.frozen(kw_only=True)
class SyncFinished(Event):
    owner: str
    added: int
    modified: int
    removed: int
    duration: timedelta


@attrs.frozen(kw_only=True)
class SyncDeferred(Event):
    """The sync gave its slot back and goes on later."""

    until: datetime
    reason: str


@attrs.frozen(kw_only=True)
class SyncFailed(Event):
    error: str
    message: str


@attrs.frozen(kw_only=True)
class JobStuck(Event):
    """A worker ended a sync that showed no sign for so long, and left it to another worker."""

    silent_for: timedelta


@attrs.frozen(kw_only=True)
class SyncRecorded(Event):
    """The one record of a sync, at its very end; `outcome` is `done`, `deferred`, `failed` or `cancelled`.

    `report` holds its counters, and `reason` why it was not done.
    """

    outcome: str
    report: SyncReport
    reason: str = ""


@attrs.frozen(kw_only=True)
class RequestSent(Event):
    """One attempt at one request, answered or failed; `url` shows no secret."""

    operation: str
    url: str
    attempt: int
    status: int | None
    duration: timedelta
    error: str | None = None


@attrs.frozen(kw_only=True)
class RetryScheduled(Event):
    operation: str
    attempt: int
    wait: timedelta
    reason: str


@attrs.frozen(kw_only=True)
class LimitWaited(Event):
    """A request waits for its place under the broker's limit, before that attempt; sent before the wait."""

    operation: str
    scope: str
    attempt: int
    wait: timedelta
    reason: str


@attrs.frozen(kw_only=True)
class ScopeFrozen(Event):
    """The broker refused further requests in a scope; all of them wait until then.

    `pace` is how much of its limits the scope goes by afterwards, in percent. It is frozen `again` where none of all
    workers has got a request through since it was frozen before: a sink that tells people need not tell that.
    """

    scope: str
    until: datetime
    pace: int = 100
    reason: str
    again: bool = False


@attrs.frozen(kw_only=True)
class ScopeThawed(Event):
    """A request came through in a scope that the broker had refused; one of all workers tells it, once.

    It `lasted` from the first refusal on.
    """

    scope: str
    lasted: timedelta


@attrs.frozen(kw_only=True)
class TokenRefreshed(Event):
    """A new token is durable; `how` is `refresh` or `login`."""

    how: str


@attrs.frozen(kw_only=True)
class LoginEnding(Event):
    """A login ends, and only its user can make another; once for each end."""

    until: datetime
    reason: str


@attrs.frozen(kw_only=True)
class ConnectionNeedsUser(Event):
    """A connection has come into the state `needs_user`; `remedy` says what the user may do."""

    reason: str
    remedy: str = ""


@attrs.frozen(kw_only=True)
class ConnectionNeedsOperator(Event):
    """A connection has come into the state `needs_operator`: its plugin or the configuration is wrong."""

    reason: str
    remedy: str = ""


@attrs.frozen(kw_only=True)
class ConnectionPaused(Event):
    """The owner has paused a connection."""


@attrs.frozen(kw_only=True)
class ConnectionRecovered(Event):
    """A connection that was in another state is active again."""


@attrs.frozen(kw_only=True)
class IncidentOpened(Event):
    """An environment of a broker is away: from now on one connection probes it, the others wait without a request."""

    environment: str
    reason: str


@attrs.frozen(kw_only=True)
class IncidentClosed(Event):
    """An environment answers again after `duration` and `probes`; `kept_waiting` connections are due at once."""

    environment: str
    duration: timedelta
    probes: int
    kept_waiting: int


@attrs.frozen(kw_only=True)
class SharedLimitsLost(Event):
    """The Redis that holds the shared limits is away: this process takes `share` percent of each, until `closes_at`."""

    reason: str
    share: int
    closes_at: datetime


@attrs.frozen(kw_only=True)
class SharedLimitsBack(Event):
    """The Redis that holds the shared limits is back; what this process did meanwhile is counted there."""

    duration: timedelta


@attrs.frozen(kw_only=True)
class WakeUpsLost(Event):
    """The Redis of the queue is away: until it is back, workers look for jobs by themselves."""

    reason: str


@attrs.frozen(kw_only=True)
class WakeUpsBack(Event):
    """The Redis of the queue is back, and wakes workers again."""

    duration: timedelta


@attrs.frozen(kw_only=True)
class JobsCounted(Event):
    """How many jobs of all workers may begin, wait for their time, or are under way, as a worker sees it each minute.

    `oldest` is for how long the one has waited that might have begun first.
    """

    ready: int
    later: int
    running: int
    oldest: timedelta


EventSink: TypeAlias = Callable[[Event], None]


def no_events(_: Event) -> None:
    """The sink that hears nothing."""
