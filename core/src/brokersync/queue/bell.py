"""The seam to what wakes workers on other machines when a job may begin."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol


class Sleeper(Protocol):
    """A worker that can be woken."""

    def room(self) -> int:
        """How many jobs it could begin now."""

    async def woken(self) -> bool:
        """Returns when it has looked for jobs and begun what it found; `False` where another worker has to."""

    def look(self) -> None:
        """There may be more to do than what was seen last."""


class Bell(Protocol):
    """Wakes one worker that has room when a job may begin, on whichever machine.

    It knows no jobs. A wake-up that is lost costs time and no job, and one too many finds nothing; so nothing here
    raises but `listening`.
    """

    @property
    def rings(self) -> bool:
        """`False` while nobody hears it; workers then look by themselves."""

    async def ring(self, times: Mapping[str, datetime]) -> None:
        """Of each connection: wake a worker then, instead of whenever was said before."""

    async def hush(self, connection_id: str) -> None:
        """Forget what was said of the connection."""

    def listening(self, sleeper: Sleeper, name: str) -> AbstractAsyncContextManager[None]:
        """Meanwhile the worker of that name is woken. Raises `StoreError` where the bell can not be heard."""

    async def aclose(self) -> None: ...
