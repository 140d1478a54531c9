"""Whatever is told, through a real store, with a reader that follows the feed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any, TypeVar

import attrs

from brokersync.records import Change, ChangeKind, PageCommit, PageOutcome
from brokersync.store import PageRules, Store, TradeFilter
from brokersync.sync.fold import fold
from brokersync.sync.ledger import cover, reopen
from brokersync.types import BrokerTrade, TradeBooking

from .rows import PRECEDENCE, START

T = TypeVar("T")


class Runs:
    """One store for many runs, each under an owner of its own."""

    def __init__(self, stores: Any) -> None:
        self._runner = asyncio.Runner()
        self._stores = stores
        self.store: Store = self.do(stores.open())
        self._owners = (f"owner-{number}" for number in itertools.count())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def new(self) -> Run:
        return Run(self, next(self._owners))

    def close(self) -> None:
        self.do(self._stores.close())
        self._runner.close()


class Run:
    """Pages into the store, and a reader of the feed that keeps a copy of the trades and checks every entry."""

    def __init__(self, runs: Runs, owner: str) -> None:
        self.runs, self.owner = runs, owner
        self.position = 0
        self.copy: dict[str, BrokerTrade] = {}
        self.revisions: dict[str, int] = {}
        self.feed: list[Change] = []

    def commit(self, source: str, *bookings: TradeBooking, **facts: Any) -> PageOutcome:
        page = PageCommit(owner=self.owner, provider="paper", source=source, at=START, bookings=bookings, **facts)
        rules = PageRules(fold=fold, cover=cover, reopen=reopen, precedence=PRECEDENCE.__getitem__)
        outcome = self.runs.do(self.runs.store.commit_page(page, rules))
        self._follow(outcome)
        return outcome

    def trades(self) -> dict[str, BrokerTrade]:
        every = TradeFilter(cancelled=True)
        page, after = self.runs.do(self.runs.store.trades(self.owner, every, limit=1000))
        assert after is None
        return {one.trade_id: one for one in page}

    def counts(self) -> list[dict[str, int]]:
        return [dict(one) for one in self.runs.do(self.runs.store.counts(self.owner)).values()]

    def _follow(self, outcome: PageOutcome) -> None:
        now = self.trades()
        changes = self.runs.do(self.runs.store.changes(self.owner, self.position, 1000))
        for change in changes:
            assert change.position > self.position
            self.position = change.position
            assert change.revision >= self.revisions.get(change.trade_id, 0), "a revision went back"
            self.revisions[change.trade_id] = change.revision
            self._apply(change, now)
        assert {key: told(one) for key, one in self.copy.items()} == {key: told(one) for key, one in now.items()}
        kinds = [change.kind for change in changes]
        counted = [kinds.count(kind) for kind in (ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.REMOVED)]
        assert counted == [outcome.added, outcome.modified, outcome.removed]
        self.feed += changes

    def _apply(self, change: Change, now: dict[str, BrokerTrade]) -> None:
        if change.kind is ChangeKind.REMOVED:
            assert change.merged_into is None or change.merged_into in now
            del self.copy[change.trade_id]
            return
        assert (change.trade_id in self.copy) is (change.kind is ChangeKind.MODIFIED)
        self.copy[change.trade_id] = now[change.trade_id]


def told(one: BrokerTrade) -> BrokerTrade:
    """The trade but for what only says how it came about, of which the feed does not tell."""
    return attrs.evolve(one, revision=1, sources=())
