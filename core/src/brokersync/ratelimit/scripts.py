"""The scripts that Redis runs for us, and running them."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final, final

import attrs
from redis.exceptions import ConnectionError as NotConnectedError
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as NoAnswerError

from brokersync.ratelimit.cluster import part_of

Word = str | int

# each has a connection of its own, and more would not make a loop any faster
_AT_ONCE: Final = 16


@final
class Script:
    """A script of this package by its name."""

    def __init__(self, name: str) -> None:
        self.text = files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@attrs.define
class _Queue:
    """Those who want to ask one server; `failures` counts how often it was found to be away."""

    places: asyncio.Semaphore = attrs.field(factory=lambda: asyncio.Semaphore(_AT_ONCE))
    failures: int = 0


@final
class ScriptRunner:
    """Runs scripts, so many at once; when a server is found to be away, those who wait for it need not ask it, too."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._queues: defaultdict[str, _Queue] = defaultdict(_Queue)

    async def run(self, script: Script, keys: Sequence[str | bytes], words: Sequence[Word]) -> Any:
        """What it answers. Raises the errors of redis."""
        queue = self._queues[part_of(self._redis, keys[0])]
        before = queue.failures
        async with queue.places:
            if queue.failures != before:
                raise NotConnectedError("It did not answer to those who asked before.")
            try:
                return await self._run(script, keys, words)
            except (NotConnectedError, NoAnswerError, OSError):
                queue.failures += 1
                raise

    async def _run(self, script: Script, keys: Sequence[str | bytes], words: Sequence[Word]) -> Any:
        try:
            return await self._redis.evalsha(script.digest, len(keys), *keys, *words)
        except NoScriptError:  # it has been restarted, or never had the text
            return await self._redis.eval(script.text, len(keys), *keys, *words)
