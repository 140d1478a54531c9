"""A backend that keeps a copy of its trades by following the feed."""

from __future__ import annotations

from typing import TypeAlias

from brokersync import BrokerSync
from brokersync.errors import FeedPositionError
from brokersync.records import Change, ChangeKind
from brokersync.store import TradeFilter
from brokersync.types import BrokerTrade

Key: TypeAlias = tuple[str, str]


class Follower:
    """Its position and its copy are durable of their own; a worker's crash does not move them."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.position = self._known_until = 0
        self.alive: set[Key] = set()
        self.copy: dict[Key, BrokerTrade] = {}
        self.wrong: list[str] = []

    async def look(self, bs: BrokerSync) -> None:
        """Take over what changed since the last look."""
        try:
            changes = await bs.changes(self.owner, self.position)
        except FeedPositionError:
            await self._begin_anew(bs)
            changes = await bs.changes(self.owner, self.position)
        if not changes:
            return
        # a change tells that a trade is another one, not which: the store is read as it stands by then
        trades = await trades_by_key(bs, self.owner)
        if changes[0].position <= self.position:
            return  # another worker's look was quicker
        for change in changes:
            self._take(change, trades)

    async def _begin_anew(self, bs: BrokerSync) -> None:
        """What the error says to do: the feed's position, then all trades; the feed may tell some of them again."""
        position = await bs.feed_position()
        trades = await trades_by_key(bs, self.owner)
        known_until = await bs.feed_position()
        if position > self.position:
            self.position, self._known_until = position, known_until
            self.alive, self.copy = set(trades), trades

    def _take(self, change: Change, trades: dict[Key, BrokerTrade]) -> None:
        key = (change.key.account_id, change.trade_id)
        is_news = (change.kind is ChangeKind.ADDED) is not (key in self.alive) or change.position <= self._known_until
        if change.position <= self.position or not is_news:
            self.wrong.append(f"{change.kind.value} {key} at {change.position}")
        self.position = change.position
        if change.kind is ChangeKind.REMOVED:
            self.alive.discard(key)
        else:
            self.alive.add(key)
        self.copy.pop(key, None)
        if key in trades and key in self.alive:
            self.copy[key] = trades[key]


async def trades_by_key(bs: BrokerSync, owner: str) -> dict[Key, BrokerTrade]:
    """All of an owner's trades, cancelled ones, too."""
    return {(trade.account_id, trade.trade_id): trade async for trade in bs.trades(owner, TradeFilter(cancelled=True))}
