"""A clock in the test's hands, and a store in which the process can be made to end at a chosen page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from brokersync.records import PageCommit, PageOutcome
from brokersync.store import PageRules, Store


class VirtualClock:
    """Time that passes only when somebody sleeps or the test says so."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._began = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._began).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    def set(self, moment: datetime) -> None:
        self._now = max(moment, self._now)


class CrashError(Exception):
    """The process is gone: nothing in the engine may catch this."""


def crash() -> None:
    raise CrashError


class Spy:
    """The store, with something done before or after a chosen commit of a page; without `at` it only counts them."""

    def __init__(
        self, store: Store, at: int | None = None, act: Callable[[], object] = crash, *, before: bool = False
    ) -> None:
        self._store, self._at, self._act, self._before = store, at, act, before
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit_page(self, page: PageCommit, rules: PageRules) -> PageOutcome:
        self.commits += 1
        mine = self.commits == self._at
        if mine and self._before:
            self._act()
        outcome = await self._store.commit_page(page, rules)
        if mine and not self._before:
            self._act()
        return outcome
