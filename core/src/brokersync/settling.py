"""How a run of a connection ends: its state, its next time, what it says of the whole broker, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from brokersync.closing import maintenance_of
from brokersync.converter import to_json
from brokersync.doubts import FIRST_DOUBT, grown, meant, noted, refused, uncounted
from brokersync.errors import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerRateLimitError,
    BrokerRetryableError,
    Fault,
    StoreError,
)
from brokersync.events import (
    ConnectionNeedsOperator,
    ConnectionNeedsUser,
    ConnectionPaused,
    ConnectionRecovered,
    Event,
    EventSink,
    IncidentClosed,
    IncidentOpened,
)
from brokersync.incidents import BrokerHealth, Incident, after_answer, after_failure, after_refusal, in_own_words, share
from brokersync.login import OpenLogin
from brokersync.manifest import Manifest
from brokersync.records import Connection, ConnectionState, Deferred, Done, SyncReport
from brokersync.shared import Shared
from brokersync.silence import silenced
from brokersync.states import Cause, moved, waiting
from brokersync.sync.deadline import next_sync
from brokersync.sync.losses import deadline_of
from brokersync.sync.report import ReportBuilder

_ANSWERS_COUNT_EVERY = timedelta(seconds=10)
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=1)
_LOOK_AT_A_PLUGIN = timedelta(hours=1)
_AFTER_A_BUG = timedelta(hours=1)


class Settler:
    """Writes down how one run ended. `manifest`, `readable` and `login` are told to it as soon as they are known.

    A run that is `narrowed` to some sources puts no other one off.
    """

    def __init__(
        self, shared: Shared, connection: Connection, report: ReportBuilder, sink: EventSink, *, narrowed: bool
    ) -> None:
        self._shared, self._connection, self._report, self._sink = shared, connection, report, sink
        self._narrowed = narrowed
        self._began = shared.clock.now()
        self._answered_at: datetime | None = None
        self.manifest: Manifest | None = None
        self.readable: Sequence[str] | None = None
        self.login: OpenLogin | None = None

    async def answered(self) -> None:
        """The broker has answered, so that it is not away; said at each answer, it costs a look now and then."""
        one, now = self._connection, self._shared.clock.now()
        if self._answered_at is not None and now - self._answered_at < _ANSWERS_COUNT_EVERY:
            return
        self._answered_at = now
        health = await self._shared.store.broker_health(one.provider, one.environment)
        if health.clean:
            return
        before, after = await self._shared.store.change_health(
            one.provider,
            one.environment,
            now,
            lambda known, standing: after_answer(known, waiting=max(standing.due - 1, 0), now=now),
        )
        self._tell_of_incidents(before, after)

    def _tell_of_incidents(self, before: BrokerHealth, after: BrokerHealth | None) -> None:
        names = {"provider": before.provider, "environment": before.environment}
        if after is None or after.incident is None:
            return
        if before.open is None and after.open is not None:
            self._sink(IncidentOpened(**names, reason=after.open.reason))
        elif before.open is not None and after.incident.closed_at is not None:
            self._sink(
                IncidentClosed(
                    **names,
                    duration=after.incident.closed_at - before.open.opened_at,
                    probes=before.open.probes,
                    kept_waiting=after.incident.kept_waiting,
                )
            )

    @property
    def _answered(self) -> bool:
        return self._answered_at is not None

    async def finished(self, outcome: Done | Deferred) -> Done | Deferred:
        """The engine came to its end; the answer is what the caller is told."""
        if (away := self._report.away) is not None and not self._answered:
            return await self._away(away)
        next_at, deadline = await self._times()
        if isinstance(outcome, Deferred):
            # what waits for long keeps neither the rest of the connection nor what perishes waiting
            next_at = min(next_at, outcome.until)
        if (broken := self._report.broken) is not None and broken.fault is not Fault.CORE:
            await self._misconfigured(broken)
            await self._log(outcome.report, synced=False)
            return outcome
        rule = _rule(Cause.WORKED, next_at=next_at, deadline=deadline) if self._answered else waiting(next_at, deadline)
        await self._move(rule)
        await self._log(outcome.report, synced=self._answered or isinstance(outcome, Done))
        return outcome

    async def stopped(self, *, go_on: bool) -> Deferred:
        """The run was stopped; what it has read is kept."""
        next_at, deadline = await self._times()
        if go_on:
            await self._move(waiting(next_at := self._shared.clock.now(), deadline))
            return await self._later(next_at, "The worker stops; another one goes on.")
        await self._move(waiting(next_at, deadline))
        return await self._later(next_at, "The sync was cancelled.")

    async def raised(self, error: BrokerError) -> Deferred | None:
        """The run ended with an error; `None` when the caller has to be told of it as an error."""
        self._report.ended(error)
        if isinstance(error, StoreError):
            return None
        if isinstance(error, BrokerRetryableError):
            if self._report.away is not None and not self._answered:
                return await self._away(error)
            return await self._postponed(error)
        if isinstance(error, BrokerAuthError):
            return await self._refused(error)
        next_at, deadline = await self._times()
        if isinstance(error, BrokerConfigError) and error.fault is not Fault.CORE:
            await self._misconfigured(error)
        else:
            await self._move(waiting(next_at, deadline))
        await self._log(self._built(), synced=False)
        return None

    async def broke(self, bug: Exception) -> None:
        """The run ended with what nobody foresaw; it would be met again at once, and at each attempt."""
        now = self._shared.clock.now()
        said = f"The sync ended with a bug of brokersync, or of the program around it: {type(bug).__name__}."
        self._report.problem(BrokerError(said, remedy="Report it with its traceback; what was committed is kept."))
        await self._move(waiting(now + _AFTER_A_BUG, None, failed_at=now))
        await self._log(self._built(), synced=False)

    async def _away(self, error: BrokerError) -> Deferred:
        """The broker failed on its side and answered nothing: maybe for all of its connections."""
        one, now, probes = self._connection, self._shared.clock.now(), self._shared.probes
        before, after = await self._shared.store.change_health(
            one.provider,
            one.environment,
            now,
            lambda known, standing: after_failure(
                known,
                one.connection_id,
                failing_since=one.failing_since,
                connections=standing.active,
                just_read=standing.just_read,
                reason=in_own_words(error),
                now=now,
                probes=probes,
            ),
        )
        incident = after.open if after is not None else before.open
        if incident is None:
            return await self._postponed(error)
        self._tell_of_incidents(before, after)
        return await self._later(incident.probe_at + share(one.connection_id), error.message)

    async def _postponed(self, error: BrokerError) -> Deferred:
        """Tried again after a wait that grows with each run that gets no answer."""
        if isinstance(error, BrokerRateLimitError) and error.ours and error.retry_after is not None:
            # what is counted here says when it is its turn, and is nobody's failure
            until = self._shared.clock.now() + error.retry_after
            await self._move(waiting(until, None))
            return await self._later(until, error.message)
        asked = error.retry_after if isinstance(error, BrokerRetryableError) else None
        growing = grown(_FIRST_PAUSE, 2, self._connection.failures, _LONGEST_PAUSE)
        now = self._shared.clock.now()
        until = now + max(asked or timedelta(0), growing)
        await self._move(waiting(until, None, failed_at=now))
        return await self._later(until, error.message)

    async def _refused(self, error: BrokerAuthError) -> Deferred | None:
        now, settings = self._shared.clock.now(), self._shared.settings
        sent = self.login is not None and self.login.refused
        doubted = await self._move_this_login(lambda known: noted(known, error, now=now))
        certain = error.certain or (doubted is not None and meant(doubted))
        if (incident := await self._refused_for_all(error, now, certain=certain)) is not None:
            if sent:
                await self._shared.store.move_login(self._connection, uncounted)
            spread = share(self._connection.connection_id)
            return await self._later(max(now + FIRST_DOUBT, incident.probe_at + spread), error.message)
        rule = partial(refused, error=error, now=now, settings=settings)
        # by the deadline as it is now: the one of the session that has just ended is no help
        after = await self._move_this_login(lambda known: rule(known, probe_at=self._shared.login_probe_at(known)))
        if after is not None and not self._is_this_login(after):
            return await self._later(now, "The user has logged in again meanwhile.")
        if after is not None and after.state is ConnectionState.ACTIVE and after.next_at is not None:
            return await self._later(after.next_at, error.message)
        await self._log(self._built(), synced=False)
        return None

    async def _move_this_login(self, rule: Callable[[Connection], Connection]) -> Connection | None:
        return await self._move(lambda known: rule(known) if self._is_this_login(known) else known)

    def _is_this_login(self, known: Connection) -> bool:
        """What a login met is not held against one that its user made after it."""
        return known.logins == self._connection.logins

    async def _refused_for_all(self, error: BrokerAuthError, now: datetime, *, certain: bool) -> Incident | None:
        """The incident that a refusal is part of; `None` where it is this login's own."""
        one, probes = self._connection, self._shared.probes
        before, after = await self._shared.store.change_health(
            one.provider,
            one.environment,
            now,
            lambda known, standing: after_refusal(
                known, standing, certain=certain, reason=in_own_words(error), now=now, probes=probes
            ),
        )
        self._tell_of_incidents(before, after)
        return (after or before).refusing

    async def _misconfigured(self, error: BrokerConfigError) -> None:
        """What the user's own stored fields lack, only the user can give."""
        if error.fault is Fault.USER:
            rule = _rule(Cause.REFUSED, reason=error.message, remedy=error.remedy, next_at=None)
        else:
            again = self._shared.clock.now() + _LOOK_AT_A_PLUGIN
            rule = _rule(Cause.MISCONFIGURED, reason=error.message, remedy=error.remedy, next_at=again)
        await self._move(rule)

    async def _later(self, until: datetime, reason: str) -> Deferred:
        report = self._built()
        await self._log(report, synced=self._answered)
        return Deferred(until=until, reason=reason, report=report)

    async def _times(self) -> tuple[datetime, datetime | None]:
        """When to sync next as a rule, and until when at the latest."""
        one, settings, now = self._connection, self._shared.settings, self._shared.clock.now()
        deadline = await self._deadline(now)
        next_at = next_sync(
            now=now,
            synced_at=self._began,
            deadline=deadline or one.deadline,
            every=settings.sync_every,
            margin=settings.perishable_margin,
            maintenance=maintenance_of(self._shared, one.provider),
        )
        return (min(next_at, one.next_at or now) if self._narrowed else next_at), deadline

    async def _deadline(self, now: datetime) -> datetime | None:
        if self.manifest is None:
            return self._connection.deadline
        return await deadline_of(self._shared.store, self._connection, self.manifest, now=now, readable=self.readable)

    async def _move(self, rule: Callable[[Connection], Connection]) -> Connection | None:
        change = await self._shared.store.move_connection(self._connection.connection_id, rule)
        if change is None:
            return None
        if (event := transition(*change)) is not None:
            self._sink(event)
        return change[1]

    def _built(self) -> SyncReport:
        return self._report.build(self._shared.clock.now())

    async def _log(self, report: SyncReport, *, synced: bool) -> None:
        now = self._shared.clock.now()
        if (until := self._report.silent_until) is not None:
            await self._shared.store.move_login(self._connection, silenced(until, now, self._shared.settings))
        await self._shared.store.log_sync(self._connection.connection_id, to_json(report), now, synced=synced)


def transition(before: Connection, after: Connection) -> Event | None:
    """What is told when a connection has come into another state; nothing where it has not."""
    if before.state is after.state:
        return None
    names = {"provider": after.provider, "connection_id": after.connection_id}
    if after.state is ConnectionState.NEEDS_USER:
        return ConnectionNeedsUser(**names, reason=after.reason or "", remedy=after.remedy or "")
    if after.state is ConnectionState.NEEDS_OPERATOR:
        return ConnectionNeedsOperator(**names, reason=after.reason or "", remedy=after.remedy or "")
    return ConnectionPaused(**names) if after.state is ConnectionState.PAUSED else ConnectionRecovered(**names)


def _rule(cause: Cause, **facts: Any) -> Callable[[Connection], Connection]:
    return partial(moved, cause=cause, **facts)
