"""What is in the store, for reading: connections, trades, the feed of changes, coverage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from brokersync.arguments import checked
from brokersync.converter import to_json
from brokersync.errors import BrokerConfigError
from brokersync.linking import match_existing
from brokersync.matching import ExistingTrade, Match
from brokersync.records import AccountKey, Change, Connection, Span
from brokersync.store import Store, TradeFilter
from brokersync.types import BrokerAccount, BrokerTrade


class Journal:
    """Reads a store; an owner sees what is the owner's.

    A method that takes a connection's id takes `owner` too: with it another owner's connection is as unknown as none.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @checked
    async def connection(self, connection_id: str, owner: str | None = None) -> Connection:
        """Raises `BrokerConfigError` when there is none of this id."""
        connection = await self._store.connection(connection_id)
        if connection is None or owner not in (None, connection.owner):
            raise BrokerConfigError(f"There is no connection {connection_id!r}.", remedy=await self._known(owner))
        return connection

    async def _known(self, owner: str | None) -> str:
        if owner is None:
            return "See what `connections(owner)` knows."
        names = ", ".join(one.connection_id for one in await self._store.connections(owner))
        return f"Known are: {names}." if names else f"{owner!r} has none yet."

    @checked
    async def connections(self, owner: str | None = None) -> tuple[Connection, ...]:
        """The connections of an owner, or of all, oldest first."""
        return await self._store.connections(owner)

    @checked
    async def accounts(self, connection_id: str, owner: str | None = None) -> tuple[BrokerAccount, ...]:
        """The accounts a connection has seen."""
        if owner is not None:
            await self.connection(connection_id, owner)
        return await self._store.accounts(connection_id)

    @checked
    async def trades(self, owner: str, only: TradeFilter | None = None) -> AsyncIterator[BrokerTrade]:
        """The owner's trades in the order of execution, without those that the broker has cancelled.

        `TradeFilter(cancelled=True)` has them too, each with the `status` cancelled; `trade` and the feed always do.
        """
        after: tuple[str, str] | None = None
        while True:
            page, after = await self._store.trades(owner, only or TradeFilter(), after=after)
            for trade in page:
                yield trade
            if after is None:
                return

    @checked
    async def changes(self, owner: str, since: int = 0, limit: int = 500) -> tuple[Change, ...]:
        """The owner's feed behind position `since`: added, modified and removed trades in the order of commit.

        Nothing is ever committed behind a position that was read. Raises `FeedPositionError` for one that is older than
        the feed is kept, or ahead of it, as after the store was restored.
        """
        return await self._store.changes(owner, since, limit)

    async def feed_position(self) -> int:
        """The newest position. Trades read after it and the feed behind it together leave nothing out."""
        return await self._store.feed_position()

    @checked
    async def trade(self, key: AccountKey, trade_id: str) -> BrokerTrade | None:
        """A trade as it stands now; `None` when there is none of this key."""
        return await self._store.trade(key, trade_id)

    @checked
    async def match(self, owner: str, rows: Iterable[ExistingTrade]) -> tuple[Match, ...]:
        """Which rows of an older journal are trades of the store: same, likely or new, each with the reason.

        Answers come in the order of the rows. No trade is linked to two rows, and where more than one answer is
        possible none is chosen. Nothing is changed. Raises `ValueError` for row ids that are not unique.
        """
        return await match_existing(self._store, owner, rows)

    @checked
    async def coverage(self, owner: str, provider: str, source: str) -> Mapping[tuple[str, str], tuple[Span, ...]]:
        """What is known of each account's history in one source, per (environment, account id)."""
        return await self._store.spans(owner, provider, source)

    @checked
    async def counts(self, owner: str) -> Sequence[Mapping[str, Any]]:
        """Per account: live and cancelled trades, cancels that wait for their target, quarantined rows."""
        return [to_json(key) | dict(numbers) for key, numbers in (await self._store.counts(owner)).items()]

    @checked
    async def quarantined(self, owner: str) -> Sequence[Mapping[str, Any]]:
        """The rows that were not understood, with the reason and the broker's own words."""
        return await self._store.quarantined(owner)

    @checked
    async def last_report(self, connection_id: str, owner: str | None = None) -> Mapping[str, Any] | None:
        """What the connection's last sync did, as JSON values."""
        if owner is not None:
            await self.connection(connection_id, owner)
        return await self._store.last_report(connection_id)
