"""What a process hears of others: freezes, so that whoever wakes asks nobody, and whose turn it is for a slot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any, final

from brokersync.provider import Clock
from brokersync.ratelimit.outages import AWAY
from brokersync.ratelimit.silences import Silences

FREEZES = "brokersync:freezes"
TURNS = "brokersync:turns"

_AGAIN = 1.0
_AT_ONCE = 0.1
_SKEW = 0.05  # a freeze that the place was given behind ends with it
_MICROS = 1_000_000


@final
class Frost:
    """Hears what all processes freeze, and whom they call up, from the first `listen` on until `aclose`."""

    def __init__(self, redis: Any, clock: Clock) -> None:
        self._redis, self._clock = redis, clock
        self.silences = Silences(clock)
        self._thaws: dict[str, float] = {}
        self._turns: dict[str, asyncio.Event] = {}
        self._listening: asyncio.Task[None] | None = None

    def expect(self, name: str) -> None:
        """This one may come to stand in line; it is listened for from now on, until it is forgotten."""
        self.listen()
        self._turns[name] = asyncio.Event()

    def forget(self, name: str) -> None:
        """This one waits for no turn any more."""
        del self._turns[name]

    async def turn(self, name: str, seconds: float) -> None:
        """Returns when it is this one's turn, or was since it asked last, or after so long."""
        come = self._turns[name]
        waits = [asyncio.ensure_future(come.wait()), asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            come.clear()
            for one in waits:
                one.cancel()

    def listen(self) -> None:
        """Begin to listen, once; what is frozen before it has begun is heard by the script that is asked."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._hear(), name="freezes of the shared limits")

    def add(self, key: str, micros: int) -> None:
        """A freeze is never shortened."""
        self.silences.begin(key, micros / _MICROS)
        now = self._clock.monotonic()
        self._thaws = {one: thaws for one, thaws in self._thaws.items() if thaws > now}
        self._thaws[key] = max(self._thaws.get(key, 0.0), now + micros / _MICROS)

    def holds(self, keys: Iterable[str], at: float) -> bool:
        """Whether one of these is frozen beyond that instant of the monotonic clock, as far as is known here."""
        return any(self._thaws.get(key, at) > at + _SKEW for key in keys)

    def thaws_in(self, keys: Iterable[str]) -> timedelta:
        """For how long the one of these is frozen that is frozen longest, as far as is known here."""
        now = self._clock.monotonic()
        return timedelta(seconds=max(0.0, *(self._thaws.get(key, now) - now for key in keys)))

    async def aclose(self) -> None:
        """Stop listening."""
        # redis swallows a cancellation while it connects anew, so that one may not be enough
        while self._listening is not None and not self._listening.done():
            self._listening.cancel()
            await asyncio.wait([self._listening], timeout=_AT_ONCE)

    async def _hear(self) -> None:
        while True:
            with suppress(*AWAY):
                async with self._redis.pubsub() as heard:
                    await heard.subscribe(FREEZES, TURNS)
                    while True:
                        message = await heard.get_message(ignore_subscribe_messages=True, timeout=_AGAIN)
                        _end_when_told()
                        if message is not None:
                            self._take_in(_text(message["channel"]), _text(message["data"]))
            _end_when_told()
            await self._clock.sleep(_AGAIN)

    def _take_in(self, channel: str, said: str) -> None:
        if channel == FREEZES:
            micros, _, key = said.partition(" ")
            self.add(key, int(micros))
        elif (come := self._turns.get(said)) is not None:
            come.set()


def _end_when_told() -> None:
    """Redis swallows a cancellation now and then, and who waits for the end of this task would wait for ever."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _text(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode()
