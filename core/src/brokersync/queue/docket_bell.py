"""The bell of a fleet: wake-ups that docket keeps in a Redis, and what happens while that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from brokersync.config import QueueSettings
from brokersync.errors import BrokerConfigError, StoreError
from brokersync.events import EventSink, WakeUpsBack, WakeUpsLost
from brokersync.provider import Clock
from brokersync.queue.bell import Sleeper
from brokersync.ratelimit.keys import digest
from brokersync.ratelimit.outages import AWAY

if TYPE_CHECKING:
    from brokersync.queue.docketing import Wakes

_PACKAGE: Final = "docket"
_LOST: Final = (*AWAY, TimeoutError)
_ANSWERS_WITHIN: Final = 2.0
_LOOKS_AGAIN_AFTER: Final = 5.0


class DocketBell:
    """See `Bell`. In the Redis stand a digest of each connection's id and a time, and nothing else."""

    def __init__(self, url: str, queue: QueueSettings, clock: Clock, events: EventSink) -> None:
        if find_spec(_PACKAGE) is None:
            raise BrokerConfigError(
                "The queue's engine docket (queue.engine) needs the package pydocket.",
                remedy="Install it with: pip install 'brokersync[docket]'",
            )
        self._url, self._queue, self._clock, self._events = url, queue, clock, events
        self._wakes: Wakes | None = None
        self._opening = asyncio.Lock()
        self._lost_at: datetime | None = None
        self._ask_again_at = 0.0
        self._changed: Callable[[], None] = _nothing
        self._listening: list[asyncio.Task[None]] = []

    @property
    def rings(self) -> bool:
        """See `Bell`."""
        return self._lost_at is None

    async def ring(self, times: Mapping[str, datetime]) -> None:
        """See `Bell`."""
        if times:
            await self._ring({digest(name): at for name, at in times.items()})

    async def hush(self, connection_id: str) -> None:
        """See `Bell`."""
        await self._tell(lambda wakes: wakes.withdraw(digest(connection_id)))

    @asynccontextmanager
    async def listening(self, sleeper: Sleeper, name: str) -> AsyncIterator[None]:
        """See `Bell`."""
        wakes = await self._open()
        await self._check(wakes)
        self._changed = sleeper.look
        self._listening = [
            asyncio.create_task(self._deliver(wakes, sleeper, name), name=f"wake-ups of {name}"),
            asyncio.create_task(self._watch(), name=f"bell of {name}"),
        ]
        try:
            yield
        finally:
            await self._listen_no_more()

    async def aclose(self) -> None:
        """See `Bell`."""
        # docket's worker would connect anew beneath us, and leave that connection open
        await self._listen_no_more()
        wakes, self._wakes = self._wakes, None
        if wakes is not None:
            with suppress(*_LOST):
                async with asyncio.timeout(_ANSWERS_WITHIN):
                    await wakes.close()

    async def _listen_no_more(self) -> None:
        self._changed = _nothing
        await asyncio.gather(*map(_ended, self._listening))

    async def _ring(self, times: Mapping[str, datetime]) -> None:
        ahead = datetime.now(UTC) - self._clock.now()  # docket goes by the time of the machine
        await self._tell(lambda wakes: wakes.put({key: at + ahead for key, at in times.items()}))

    async def _tell(self, say: Callable[[Wakes], Awaitable[None]]) -> None:
        """What does not get through is not said again: workers look by themselves meanwhile, and once it is back."""
        loop = asyncio.get_running_loop()
        if self._lost_at is not None and loop.time() < self._ask_again_at:
            return
        wakes = await self._open()
        self._ask_again_at = loop.time() + _LOOKS_AGAIN_AFTER
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN):
                await say(wakes)
        except _LOST as error:
            self._lost(error)
        else:
            self._back()

    async def _open(self) -> Wakes:
        async with self._opening:
            if self._wakes is None:
                # it takes more than a second to import, in which the loop goes on
                module: Any = await asyncio.to_thread(import_module, "brokersync.queue.docketing")
                queue = self._queue
                wakes: Wakes = module.Wakes(self._url, queue.name, look_every=queue.look_every, hold=queue.hold)
                await wakes.open()
                self._wakes = wakes
            return self._wakes

    async def _check(self, wakes: Wakes) -> None:
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN):
                await wakes.answers()
        except _LOST as error:
            raise StoreError(
                f"The Redis of the queue's engine docket does not answer ({type(error).__name__}).",
                remedy="Start it, correct `fleet.redis`, or leave `queue.engine` out. No job is lost.",
            ) from None

    async def _deliver(self, wakes: Wakes, sleeper: Sleeper, name: str) -> None:
        async def wake(key: str) -> None:
            if not await sleeper.woken():
                await self._ring({key: self._clock.now()})

        while True:
            try:
                return await wakes.deliver(wake, sleeper.room, name)
            except Exception as error:  # noqa: BLE001  its bugs are to cost time and no worker
                self._lost(error)
                await asyncio.sleep(_LOOKS_AGAIN_AFTER)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOKS_AGAIN_AFTER)
            await self._tell(lambda wakes: wakes.answers())

    def _lost(self, error: Exception) -> None:
        if self._lost_at is None:
            self._lost_at = self._clock.now()
            self._events(WakeUpsLost(reason=type(error).__name__))
            self._changed()

    def _back(self) -> None:
        if self._lost_at is not None:
            away, self._lost_at = self._clock.now() - self._lost_at, None
            self._events(WakeUpsBack(duration=away))
            self._changed()


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancelled again where it waits for a server that does not answer."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_ANSWERS_WITHIN)


def _nothing() -> None:
    """Nobody listens."""
