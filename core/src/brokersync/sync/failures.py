"""Which windows of a connection keep failing, kept from sync to sync."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import attrs

from brokersync.errors import BrokerConfigError, BrokerError, BrokerRateLimitError, BrokerRetryableError, Fault
from brokersync.manifest import Retention, SourceSpec
from brokersync.provider import Clock
from brokersync.records import FailedWindow, Lease
from brokersync.store import Store
from brokersync.sync.halving import (
    DENIED,
    ENOUGH,
    NOT_READY,
    failed,
    forgotten,
    halved,
    in_line,
    is_denied,
    is_only_not_ready,
    met,
    put_off,
    put_off_until,
)
from brokersync.sync.plan import Ask, reach
from brokersync.sync.untold_notes import is_note
from brokersync.types import TimeWindow

FAILURES_IN_A_ROW: Final = 3
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(minutes=15)
# a broker that means longer says so again; one that wrote nonsense is not believed for a year
_LONGEST_PUT_OFF = timedelta(days=7)
_NEVER_READY = "NeverReady"
_MISCONFIGURED = BrokerConfigError.__name__
_REFUSED = "Refused"
_NOT_READ_IN_TIME = "NotReadInTime"


class FailureBook:
    """Counts the syncs in which a window failed; the planner halves those that fail again and again.

    Without `counts`, because the whole broker may be away, no failure is held against a window.
    """

    def __init__(self, *, connection_id: str, store: Store, clock: Clock, lease: Lease | None, counts: bool) -> None:
        self._connection_id, self._store, self._clock = connection_id, store, clock
        self._lease, self.counts = lease, counts
        self._counted: set[tuple[str, str, TimeWindow]] = set()
        # nobody else writes them while this sync holds the connection
        self._known: dict[str, dict[str, tuple[FailedWindow, ...]]] = {}

    def now(self) -> datetime:
        """The time by which failures are written down."""
        return self._clock.now()

    async def known(self, source: SourceSpec) -> Mapping[str, tuple[FailedWindow, ...]]:
        """The failing windows of a source, per `Ask.account`."""
        if source.name not in self._known:
            self._known[source.name] = dict(await self._store.failing(self._connection_id, source.name))
        return self._known[source.name]

    async def pause(self, ask: Ask) -> timedelta:
        """How long to leave a window alone that fails: twice as long with each sync in which it has failed."""
        known = (await self.known(ask.source)).get(ask.account, ())
        times = max((one.failures for one in known if one.window.overlap(ask.window)), default=0)
        return _pause_after(times)

    async def pause_of_account(self, ask: Ask) -> timedelta | None:
        """How long to leave an account alone that is refused: twice as long for each failure of it, and not for ever.

        `None` once that is enough, and it is asked for when the whole login is.
        """
        known = (await self.known(ask.source)).get(ask.account, ())
        pause = _FIRST_PAUSE * (1 << min(sum(one.failures for one in known), 12))
        return pause if pause < _LONGEST_PAUSE else None

    async def count(self, ask: Ask, error: BrokerError) -> bool:
        """Hold a failure against its window, once in a sync; whether it is the first for want of a right."""
        was_denied = await self._is_denied(ask)
        await self._count(ask, DENIED if error.fault is Fault.USER else type(error).__name__)
        return not was_denied and await self._is_denied(ask)

    async def _is_denied(self, ask: Ask) -> bool:
        return any(map(is_denied, (await self.known(ask.source)).get(ask.account, ())))

    async def met(self, ask: Ask, error: BrokerError) -> None:
        """Have other accounts asked before this one by the next sync, and hold nothing against the window."""
        known = (await self.known(ask.source)).get(ask.account, ())
        await self._put(ask, met(known, ask.window, reason=type(error).__name__, at=self._clock.now()))

    async def put_off(self, ask: Ask, error: BrokerRetryableError) -> None:
        """Remember a long wait that the broker asks for, since the sync comes again before for what need not wait.

        What our limiter has refused or frozen it keeps.
        """
        kept = error.freeze is not None or (isinstance(error, BrokerRateLimitError) and error.ours)
        if error.retry_after is None or error.retry_after <= _LONGEST_PAUSE or kept:
            return
        await self.met(ask, error)
        known = self._known[ask.source.name][ask.account]
        until = self._clock.now() + min(error.retry_after, _LONGEST_PUT_OFF)
        await self._put(ask, put_off(known, ask.window, until, reason=type(error).__name__))

    async def rests_until(self, ask: Ask) -> datetime | None:
        """Until when a window that has failed is left alone, where three of its account have just done so.

        Each has its own pause. A sync that our own limit cuts into parts would begin to count anew with each of them.
        """
        known, now = (await self.known(ask.source)).get(ask.account, ()), self._clock.now()
        failing = [one for one in known if one.failures and one.at <= now]
        ends = sorted(one.at + _pause_after(one.failures) for one in failing)[-FAILURES_IN_A_ROW:]
        rests = (
            len(ends) == FAILURES_IN_A_ROW and ends[0] > now and any(ask.window.overlap(one.window) for one in failing)
        )
        return ends[0] if rests else None

    async def put_off_until(self, ask: Ask) -> datetime | None:
        """Until when a window is to be left alone."""
        known = (await self.known(ask.source)).get(ask.account, ())
        return put_off_until(known, ask.window, self._clock.now())

    async def not_ready(self, ask: Ask) -> timedelta:
        """How long to leave a window alone that is not ready yet: for as long again as it has been so.

        It is no failure of the window, nor does its account lose its turn.
        """
        known, now = (await self.known(ask.source)).get(ask.account, ()), self._clock.now()
        since = max((one.at for one in known if one.window.overlap(ask.window)), default=None)
        if since is None:
            await self._put(ask, met(known, ask.window, reason=NOT_READY, at=now))
        return min(max(now - (since or now), _FIRST_PAUSE), _LONGEST_PAUSE)

    async def in_line(self, source: SourceSpec) -> list[str]:
        """The accounts that failed when they were last asked, per `Ask.account`, in the order of their turns."""
        failed = {
            name: [one for one in windows if not is_only_not_ready(one) and not is_note(one)]
            for name, windows in (await self.known(source)).items()
        }
        return in_line(failed, self._clock.now())

    async def never_ready(self, ask: Ask) -> None:
        """Hold a report against its window that was ordered and never got ready.

        One that the user's settings kept from being read may have been ready all the time.
        """
        known = (await self.known(ask.source)).get(ask.account, ())
        if not any(one.reason == _MISCONFIGURED and one.window.overlap(ask.window) for one in known):
            await self._count(ask, _NEVER_READY)

    async def not_read_in_time(self, ask: Ask) -> None:
        """Hold it against what is left of a window that its first days were dropped before it was read to its end."""
        edge = reach(ask.source, self._clock.now())
        if ask.source.retention is Retention.LIMITED and edge is not None and edge < ask.window.end:
            window = TimeWindow(max(ask.window.start, edge), ask.window.end)
            await self._count(attrs.evolve(ask, window=window), _NOT_READ_IN_TIME)

    async def in_halves(self, ask: Ask) -> bool:
        """Whether a window has failed so often that the planner would no more ask for it as a whole."""
        known = (await self.known(ask.source)).get(ask.account, ())
        failing = [one for one in known if one.failures]
        return halved([ask.window], failing, ask.source.calendar) != [ask.window]

    async def refused(self, ask: Ask) -> None:
        """Have a window asked for in halves that was refused as a whole."""
        known = (await self.known(ask.source)).get(ask.account, ())
        for _ in range(ENOUGH):
            known = failed(known, ask.window, reason=_REFUSED, at=self._clock.now())
        await self._put(ask, known)

    async def forget(self, ask: Ask) -> None:
        """Forget every failure within a window that was read, and what else its account met before."""
        known = (await self.known(ask.source)).get(ask.account, ())
        left = tuple(one for one in forgotten(known, ask.window) if one.failures or is_only_not_ready(one))
        if left != known:
            await self._put(ask, left)

    async def _count(self, ask: Ask, reason: str) -> None:
        key = (ask.source.name, ask.account, ask.window)
        if not self.counts or key in self._counted:
            return
        self._counted.add(key)
        known = (await self.known(ask.source)).get(ask.account, ())
        await self._put(ask, failed(known, ask.window, reason=reason, at=self._clock.now()))

    async def _put(self, ask: Ask, windows: tuple[FailedWindow, ...]) -> None:
        await self.put(ask.source, ask.account, windows)

    async def put(self, source: SourceSpec, name: str, windows: tuple[FailedWindow, ...]) -> None:
        """Keep these as all that is known of what is called so among the `known` of a source."""
        self._known[source.name][name] = windows
        await self._store.put_failing(self._connection_id, source.name, name, windows, lease=self._lease)


def _pause_after(failures: int) -> timedelta:
    return min(_FIRST_PAUSE * (1 << min(failures, 12)), _LONGEST_PAUSE)
