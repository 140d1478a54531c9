"""The loop: plan, ask, fold, commit a page at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from contextlib import aclosing
from datetime import datetime, timedelta
from enum import Enum

import attrs

from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerConfigError,
    BrokerDataUnavailableError,
    BrokerMaintenanceError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerRetryableError,
    Fault,
)
from brokersync.events import EventSink, WindowStarted
from brokersync.manifest import Manifest, SourceSpec
from brokersync.provider import Clock
from brokersync.records import Connection, Deferred, Done, Lease, OpenRequest
from brokersync.store import Store
from brokersync.sync.ahead import take_back_the_future
from brokersync.sync.begun import BegunRequests
from brokersync.sync.border import BorderSearch
from brokersync.sync.commit import PageWriter, Target
from brokersync.sync.failures import FAILURES_IN_A_ROW, FailureBook
from brokersync.sync.losses import LossWriter
from brokersync.sync.plan import Ask, perishable_first
from brokersync.sync.refusals import Refusals, is_limit_of_the_account
from brokersync.sync.report import ReportBuilder
from brokersync.sync.rereads import again_from
from brokersync.sync.turns import Turns
from brokersync.sync.window import Reader, Wait, WindowReader

_BEGINS_WITHIN = timedelta(seconds=1)


@attrs.frozen(kw_only=True)
class SyncOptions:
    """What one sync may do: which sources, from when on it reads again, and the longest wait it sleeps.

    `readable` are the sources that the login may read at all; all where that is not known. A sync that `probes` asks
    whether a broker is back that was away for all: it asks for a day first, and until that is answered it asks for
    nothing else and holds no failure against a window. With a `lease` nothing is committed once another worker holds
    it. What is known of the login by now is which accounts the broker has `listed`, and whether it is `login_refused`.
    """

    long_wait: timedelta
    sources: tuple[str, ...] | None = None
    again_from: datetime | None = None
    readable: tuple[str, ...] | None = None
    probes: bool = False
    lease: Lease | None = None
    listed: Set[tuple[str, str]] | None = None
    login_refused: Callable[[], bool] = lambda: False


class _Outcome(Enum):
    """What became of one window, and so what may be asked next: all, other windows, other accounts, nothing."""

    READ = "read"
    FAILED = "failed"
    WAITS = "waits"
    REST = "rest"


class SyncEngine:
    """Brings one connection's trades into the store.

    Reads at least once and takes effect exactly once: a crash anywhere costs repetition, never a loss and never a
    double. What fails for one source, account or window does not keep the others from being read.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        manifest: Manifest,
        read: Reader,
        store: Store,
        clock: Clock,
        events: EventSink,
        report: ReportBuilder,
        options: SyncOptions,
    ) -> None:
        self._connection, self._manifest = connection, manifest
        self._store, self._clock, self._events = store, clock, events
        self._report, self._options = report, options
        again = options.again_from or again_from(self._sources(), connection, clock.now())
        self._writer = PageWriter(
            target=Target(
                owner=connection.owner,
                provider=connection.provider,
                connection_id=connection.connection_id,
                lease=options.lease,
            ),
            manifest=manifest,
            store=store,
            clock=clock,
            events=events,
            report=report,
            again_from=again,
        )
        self._failures = FailureBook(
            connection_id=connection.connection_id,
            store=store,
            clock=clock,
            lease=options.lease,
            counts=not options.probes,
        )
        self._window = WindowReader(
            connection=connection,
            read=read,
            store=store,
            writer=self._writer,
            clock=clock,
            events=events,
            long_wait=options.long_wait,
            with_bookmarks=again is None,
            in_halves=self._failures.in_halves,
        )
        self._turns = Turns(connection=connection, store=store, clock=clock, failures=self._failures, again_from=again)
        self._begun = BegunRequests(connection=connection, store=store, clock=clock, failures=self._failures)
        self._losses = LossWriter(
            connection=connection,
            manifest=manifest,
            store=store,
            clock=clock,
            writer=self._writer,
            events=events,
            report=report,
            readable=options.readable,
        )
        self._border = BorderSearch(
            lambda ask: self._window.read(ask, None), self._writer, self._failures, self._losses
        )
        self._refusals = Refusals(listed=options.listed, login_refused=options.login_refused, report=report)
        self._later: tuple[datetime, str] | None = None
        self._unanswered = 0

    async def run(self) -> Done | Deferred:
        """Read all that is due. Raises `BrokerAuthError` and `StoreError`; what else goes wrong is in the report."""
        await self._turns.forget_an_old_round()
        for source in perishable_first(self._sources()):
            await self._run_source(source)
        await self._losses.note_what_was_left()
        report = self._report.build(self._clock.now())
        if self._later is None:
            await self._store.end_round(self._connection.connection_id)
            return Done(report=report)
        return Deferred(until=self._later[0], reason=self._later[1], report=report)

    def _sources(self) -> list[SourceSpec]:
        wanted = self._options.sources
        return [one for one in self._manifest.sources if not one.files and (wanted is None or one.name in wanted)]

    async def _run_source(self, source: SourceSpec) -> None:
        waiting: set[str] = set()
        known = await self._store.known(self._connection, source.name)
        known = await take_back_the_future(
            self._store, self._connection, source, known, now=self._clock.now(), lease=self._options.lease
        )
        begun, known = await self._begun.of(source, known)
        await self._losses.note(source, known, before_reading=True)
        async with aclosing(self._turns.of(source, begun)) as turns:
            async for asks in turns:
                if not await self._work_off(asks, waiting):
                    return

    async def _work_off(self, asks: Sequence[tuple[Ask, OpenRequest | None]], waiting: set[str]) -> bool:
        """Read these windows but those of accounts that wait; `False` when the source is to be left alone."""
        failures: Counter[str] = Counter()
        for number, (ask, opened) in enumerate(asks):
            if ask.account in waiting:
                continue
            if (until := await self._failures.put_off_until(ask)) is not None:
                self._postpone(until, "The broker wants to be left alone until then.")
                continue
            if opened is None and not failures and (until := await self._failures.rests_until(ask)) is not None:
                self._postpone(until, "Several requests have just failed, and are made again then.")
                continue
            self._announce(ask, number, len(asks))
            outcome = await self._try(ask, opened)
            if outcome is _Outcome.REST:
                return False
            failures[ask.account] = failures[ask.account] + 1 if outcome is _Outcome.FAILED else 0
            if outcome is _Outcome.WAITS or failures[ask.account] == FAILURES_IN_A_ROW:
                waiting.add(ask.account)
        return True

    async def _try(self, ask: Ask, opened: OpenRequest | None) -> _Outcome:
        """Read one window; what goes wrong is reported, and says whom to ask next."""
        outcome = _Outcome.READ
        try:
            wait = await self._read(ask, opened)
            if wait is not None:
                self._postpone(wait.until, wait.reason)
                outcome = _Outcome.WAITS
        except BrokerRetryableError as error:
            outcome = await self._failed_for_now(ask, error)
            await self._failures.put_off(ask, error)
            return outcome
        except BrokerAuthError as error:
            outcome = await self._refused(ask, error)
        except BrokerConfigError as error:
            self._report.problem(error, source=ask.source.name, window=ask.window)
            await self._failures.met(ask, error)
            outcome = _Outcome.REST
        except BrokerAPIError as error:
            self._report.problem(error, source=ask.source.name, window=ask.window)
            first = await self._failures.count(ask, error)
            if error.fault is Fault.USER:
                await self._losses.denied(ask.source, ask.accounts, again=not first)
            outcome = _Outcome.FAILED
        self._unanswered = 0
        self._failures.counts = True
        return outcome

    async def _read(self, ask: Ask, opened: OpenRequest | None) -> Wait | None:
        try:
            wait = await self._window.read(ask, opened)
        except BrokerDataUnavailableError as error:
            wait = await self._border.refused(ask, error)
        if wait is None:
            await self._failures.forget(ask)
            await self._turns.answered(ask, self._writer.telling)
        return wait

    async def _failed_for_now(self, ask: Ask, error: BrokerRetryableError) -> _Outcome:
        not_ready = isinstance(error, BrokerNotReadyError)
        pause = error.retry_after or await (self._failures.not_ready(ask) if not_ready else self._failures.pause(ask))
        self._postpone(self._clock.now() + pause - self._head_start(error), error.message)
        # another window of the account would take the place of the one that was begun
        outcome = _Outcome.WAITS if self._writer.keeps_place else _Outcome.FAILED
        if not_ready:
            return outcome
        self._report.problem(error, source=ask.source.name, window=ask.window)
        if isinstance(error, BrokerRateLimitError | BrokerMaintenanceError) or not self._failures.counts:
            await self._failures.met(ask, error)
            return _Outcome.WAITS if is_limit_of_the_account(error) else _Outcome.REST
        await self._writer.stuck()
        if self._writer.moves_on:
            await self._failures.met(ask, error)
        else:
            await self._failures.count(ask, error)
        self._unanswered += 1
        return outcome if self._unanswered < FAILURES_IN_A_ROW else _Outcome.REST

    def _head_start(self, error: BrokerRetryableError) -> timedelta:
        """A sync takes a while to begin, so it comes early and waits for its instant at our limiter."""
        ours = isinstance(error, BrokerRateLimitError) and error.ours
        return min(_BEGINS_WITHIN, self._options.long_wait / 2) if ours else timedelta(0)

    async def _refused(self, ask: Ask, error: BrokerAuthError) -> _Outcome:
        """Hold a refusal against the account that it is about. Raises one that is the login's."""
        if not self._refusals.is_the_accounts_own(ask, error):
            # the next sync asks for another account first, and so learns whether it was that of this one alone
            await self._failures.met(ask, error)
            raise error
        self._report.problem(error, source=ask.source.name, window=ask.window)
        await self._writer.stuck()
        if (pause := await self._failures.pause_of_account(ask)) is not None:
            self._postpone(self._clock.now() + pause, error.message)
        self._failures.counts = True
        await self._failures.count(ask, error)
        return _Outcome.WAITS

    def _announce(self, ask: Ask, done: int, total: int) -> None:
        self._events(
            WindowStarted(
                provider=self._connection.provider,
                connection_id=self._connection.connection_id,
                source=ask.source.name,
                account_id=ask.account or None,
                window=ask.window,
                done=done,
                total=total,
            )
        )
        for account in ask.accounts:
            self._report.asked(ask.source.name, account.environment, account.account_id, ask.window)

    def _postpone(self, until: datetime, reason: str) -> None:
        if self._later is None or until < self._later[0]:
            self._later = (until, reason)
