"""Where the history of a source begins, when it refuses a window that reaches too far back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import attrs

from brokersync.errors import BrokerDataUnavailableError, BrokerError, DataUnavailableReason
from brokersync.sync.commit import PageWriter
from brokersync.sync.failures import FailureBook
from brokersync.sync.halving import middle
from brokersync.sync.losses import LossWriter
from brokersync.sync.plan import Ask
from brokersync.sync.untold import had_nothing
from brokersync.sync.window import Wait
from brokersync.types import TimeWindow

# of a source that counts in instants
_PRECISION = timedelta(minutes=1)


class BorderSearch:
    """Reads what can be had of a refused window, and writes down only what can not.

    A broker that refuses a year because its first day is too old would still give the last months of it.
    """

    def __init__(
        self,
        read: Callable[[Ask], Awaitable[Wait | None]],
        writer: PageWriter,
        failures: FailureBook,
        losses: LossWriter,
    ) -> None:
        self._read, self._writer, self._failures, self._losses = read, writer, failures, losses

    async def refused(self, ask: Ask, error: BrokerDataUnavailableError) -> Wait | None:
        """Deal with the refusal of `ask`; raises what reading a part of it raises."""
        if error.reason is DataUnavailableReason.NO_SUCH_DATA:
            await self._close(ask, error)
            return None
        low, high = ask.window.start, ask.window.end
        while (half := middle(TimeWindow(low, high), ask.source.calendar, _PRECISION)) is not None:
            newer = attrs.evolve(ask, window=TimeWindow(half, high))
            try:
                wait = await self._read(newer)
            except BrokerDataUnavailableError as refusal:
                if refusal.reason is not DataUnavailableReason.NO_SUCH_DATA:
                    low = half
                    continue
                await self._close(newer, refusal)
            except BrokerError:
                # the next sync goes on with what is left of the search
                await self._failures.refused(attrs.evolve(ask, window=TimeWindow(low, high)))
                raise
            else:
                if wait is not None:
                    return wait
            high = half
        await self._close(attrs.evolve(ask, window=TimeWindow(ask.window.start, high)), error)
        return None

    async def _close(self, ask: Ask, error: BrokerDataUnavailableError) -> None:
        if error.reason is DataUnavailableReason.NO_SUCH_DATA:  # that there was nothing is an answer
            sure = await had_nothing(ask, self._failures) if self._writer.may_be_empty(ask) else ()
            await self._writer.unavailable(ask, error, sure)
            return
        await self._losses.refused(ask.source, await self._writer.unavailable(ask, error, ask.accounts))
