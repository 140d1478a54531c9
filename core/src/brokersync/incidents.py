"""An environment of a broker that is away: one incident, however many connections there are to it. Pure."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

import attrs

from brokersync.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerMaintenanceError,
    BrokerRateLimitError,
    BrokerTimeoutError,
    BrokerUnavailableError,
)

_NONE: Mapping[str, int] = MappingProxyType({})
LATELY = timedelta(hours=2)
JUST_NOW = timedelta(minutes=1)
HANDFUL = 5
_LAST = 2

_FAILURES = 3
_CONNECTIONS = 3
_MEANS_IT_AFTER = timedelta(days=1)
_JITTER = 0.2
_MARK = 12
_SPREAD = timedelta(minutes=1)

_MANY_REFUSED: Final = "Many logins are refused at once: "
_FAILS: Final = "the broker fails"
_WORDS: Final = (
    (BrokerTimeoutError, "no answer in time"),
    (BrokerMaintenanceError, "closed for maintenance"),
    (BrokerRateLimitError, "too many requests"),
    (BrokerUnavailableError, "not reachable or failing"),
    (BrokerAuthError, "the login is refused"),
)
_OWN_WORDS: Final = re.compile(
    f"({_MANY_REFUSED})?(HTTP [45][0-9]{{2}}|{_FAILS}|{'|'.join(words for _, words in _WORDS)})"
)

_random: Callable[[], float] = secrets.SystemRandom().random


def in_own_words(error: BrokerError) -> str:
    """What an error is, without the text of a plugin or a broker: that may name who met it."""
    if error.status is not None and 400 <= error.status < 600:
        return f"HTTP {error.status}"
    return next((words for kind, words in _WORDS if isinstance(error, kind)), _FAILS)


def _only_own_words(reason: str) -> str:
    return reason if _OWN_WORDS.fullmatch(reason) else _FAILS


@attrs.frozen(kw_only=True)
class Incident:
    """A time in which a broker's environment failed for all connections; it is open while `closed_at` is `None`.

    One connection probes the broker at `probe_at`. `kept_waiting` counts the connections that were due when it closed.
    `refused_since` is set while the broker answers, but with a refusal of every login. All owners are told its
    `reason`, so it holds core's own words and no others.
    """

    provider: str
    environment: str
    opened_at: datetime
    reason: str = attrs.field(converter=_only_own_words)
    probe_at: datetime
    probes: int = 0
    closed_at: datetime | None = None
    kept_waiting: int = 0
    refused_since: datetime | None = None

    @property
    def what(self) -> str:
        """What the broker does, for a sentence."""
        return "does not answer" if self.refused_since is None else "refuses everybody"


@attrs.frozen(kw_only=True)
class Standing:
    """How the connections to an environment stand: how many are active, how many of these are due.

    At least so many as `just_read` were read a moment ago; it counts a handful and no more.
    Of `refused` ones the login was refused for the first time lately, and since the first of those `read` ones were
    synced.
    """

    active: int = 0
    due: int = 0
    just_read: int = 0
    refused: int = 0
    read: int = 0


@attrs.frozen(kw_only=True)
class BrokerHealth:
    """What is known of an environment as a whole: which connections failed since its last answer, the last incident.

    Those that failed `alone` were failing before, while others were answered: that is their own trouble. The last
    answer after a failure was `answered_at`. One that `means_it` has refused every login for so long that each refusal
    counts, until it answers one.
    """

    provider: str
    environment: str
    failed: Mapping[str, int] = _NONE
    alone: tuple[str, ...] = ()
    answered_at: datetime | None = None
    incident: Incident | None = None
    means_it: bool = False

    @property
    def open(self) -> Incident | None:
        """The incident that is not over."""
        return self.incident if self.incident is not None and self.incident.closed_at is None else None

    @property
    def refusing(self) -> Incident | None:
        """The incident that is not over, where refusals are part of it."""
        return self.open if self.open is not None and self.open.refused_since is not None else None

    @property
    def clean(self) -> bool:
        """Whether another answer says nothing new."""
        return not self.failed and not self.alone and self.open is None and not self.means_it


@attrs.frozen
class Probes:
    """How long to wait before each probe: twice as long each time, up to `longest`, and a little less by chance."""

    first: timedelta
    longest: timedelta
    random: Callable[[], float] = _random

    def wait(self, probes: int) -> timedelta:
        """The wait after so many probes."""
        longest: timedelta = min(self.longest, self.first * (1 << min(probes, 32)))
        jittered: timedelta = longest * (1 - _JITTER * self.random())
        return jittered


def after_failure(
    health: BrokerHealth,
    connection_id: str,
    *,
    failing_since: datetime | None = None,
    connections: int,
    just_read: int = 0,
    reason: str,
    now: datetime,
    probes: Probes,
) -> BrokerHealth:
    """A sync has ended without one answer, as all of its connection since `failing_since`.

    `connections` in all are active, and others were `just_read`: they answer for the broker as those do that fail.
    """
    if health.open is not None:
        probe_at = max(health.open.probe_at, now + probes.wait(health.open.probes))
        return attrs.evolve(health, incident=attrs.evolve(health.open, probe_at=probe_at, refused_since=None))
    name = _mark(connection_id)
    if failing_since is not None and health.answered_at is not None and failing_since <= health.answered_at:
        return attrs.evolve(health, alone=tuple(sorted({*health.alone, name})))
    failed = {**health.failed, name: health.failed.get(name, 0) + 1}
    enough = max(min(_CONNECTIONS, connections - len(health.alone)), min(just_read, HANDFUL) + 1)
    if sum(failed.values()) < _FAILURES or len(failed) < enough:
        return attrs.evolve(health, failed=failed)
    return _opened(health, reason, now, probes)


def after_refusal(
    health: BrokerHealth, standing: Standing, *, certain: bool = False, reason: str, now: datetime, probes: Probes
) -> BrokerHealth:
    """A login was refused, which `standing` knows of; where `refusing` afterwards, it is no fault of that login.

    Refusals of many logins, most of those tried, are one incident. A broker that goes on refusing for a day means it.
    What one is refused for `certain` while the broker does not answer others says nothing of these. That of the last
    connection ends the outage.
    """
    many = standing.refused >= HANDFUL and standing.refused > standing.read
    if (known := health.open) is not None:
        if certain and not many and known.refused_since is None:
            # after the last one nobody would be left to see the broker back
            last = standing.active < _LAST
            return after_answer(health, waiting=max(standing.due - 1, 0), now=now) if last else health
        since = known.refused_since or now
        if now - since < _MEANS_IT_AFTER:
            return attrs.evolve(health, incident=attrs.evolve(known, refused_since=since))
        closed = attrs.evolve(known, closed_at=now, kept_waiting=max(standing.due - 1, 0), refused_since=since)
        return attrs.evolve(health, incident=closed, means_it=True)
    if health.means_it or not many:
        return health
    return _opened(health, f"{_MANY_REFUSED}{reason}", now, probes, refused_since=now)


def after_answer(health: BrokerHealth, *, waiting: int, now: datetime) -> BrokerHealth:
    """The broker has answered; `waiting` connections were due."""
    if health.clean:
        return health
    incident = health.open and attrs.evolve(health.open, closed_at=now, kept_waiting=waiting)
    return attrs.evolve(
        health, failed=_NONE, alone=(), answered_at=now, incident=incident or health.incident, means_it=False
    )


def in_vain_since(before: BrokerHealth, after: BrokerHealth) -> datetime | None:
    """Since when logins were doubted for nothing, where an answer has just proved that; else `None`."""
    was, answers = before.open is not None or before.means_it, after.open is None and not after.means_it
    return before.incident.opened_at - LATELY if was and answers and before.incident is not None else None


def _opened(
    health: BrokerHealth, reason: str, now: datetime, probes: Probes, *, refused_since: datetime | None = None
) -> BrokerHealth:
    incident = Incident(
        provider=health.provider,
        environment=health.environment,
        opened_at=now,
        reason=reason,
        probe_at=now + probes.wait(0),
        refused_since=refused_since,
    )
    return attrs.evolve(health, failed=_NONE, alone=(), incident=incident)


def with_probe(health: BrokerHealth, *, now: datetime, probes: Probes) -> BrokerHealth | None:
    """The next probe taken by whoever asks; `None` while it is not its time."""
    if health.open is None or now < health.open.probe_at:
        return None
    count = health.open.probes + 1
    return attrs.evolve(health, incident=attrs.evolve(health.open, probes=count, probe_at=now + probes.wait(count)))


def share(connection_id: str, of: timedelta = _SPREAD) -> timedelta:
    """A connection's own part of a time over which connections are spread: the minute after an incident."""
    part: float = int(_mark(connection_id), 16) / 16**_MARK
    return of * part


def _mark(connection_id: str) -> str:
    """What tells connections apart and outlives none of them."""
    return hashlib.sha256(connection_id.encode()).hexdigest()[:_MARK]
