"""What is kept for owners: how long, under which keys, to whom it is handed out, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from brokersync.arguments import checked
from brokersync.connections import Connections
from brokersync.converter import dumps, instant_text
from brokersync.errors import BrokerError
from brokersync.records import Connection, Disconnected, Forgotten, Pruned
from brokersync.rotation import KeyRotation, Rotation
from brokersync.store import EXPORTED
from brokersync.underway import until_closed

_FORMAT: Final = 1
_REVOKING_TAKES_AT_MOST: Final = timedelta(seconds=30)


class Custody(Connections):
    """Looks after what is kept."""

    @until_closed
    @checked
    async def disconnect(self, connection_id: str, *, owner: str | None = None, erase: bool = False) -> Disconnected:
        """End a connection and its login, at the broker too where its plugin can; connecting again goes on from here.

        Accounts, trades and coverage stay. With `erase` those accounts go that no other connection sees, with all
        their trades, also those from files; the feed tells of each trade that was removed. A sync under way commits
        nothing any more.
        """
        connection = await self.connection(connection_id, owner)
        shared = self._shared
        self._stop(connection)
        revoked = not await shared.store.shares_grant(connection) and await self._revoke(connection)
        done = await shared.store.disconnect(connection, erase=erase, at=shared.clock.now())
        await self._take_jobs_back([connection])
        if done is None:
            return Disconnected(revoked=revoked)
        return Disconnected(revoked=revoked, accounts=done.accounts, trades=done.trades)

    async def _revoke(self, connection: Connection) -> bool:
        """A broker that is away, or a plugin that fails, keeps nobody from leaving."""
        shared = self._shared
        try:
            grant, _ = await shared.vault.load(connection)
            loaded = shared.registry.load(connection.provider)
            async with (
                asyncio.timeout(_REVOKING_TAKES_AT_MOST.total_seconds()),
                shared.login(
                    loaded, connection.environment, owner=connection.owner, connection_id=connection.connection_id
                ) as login,
            ):
                return await login.revoke(grant.auth)
        except (BrokerError, TimeoutError):
            return False

    @until_closed
    @checked
    async def forget(self, owner: str) -> Forgotten:
        """Erase everything of an owner, beginning with the key of the logins; again it does nothing more.

        A sync under way commits nothing any more. Logins are not ended at the brokers: `disconnect` them before. What
        the database may hold beyond our reach is told in `remains`.
        """
        connections = await self.connections(owner)
        for connection in connections:
            self._stop(connection)
        forgotten = await self._shared.store.forget(owner)
        await self._take_jobs_back(connections)
        return forgotten

    def _stop(self, connection: Connection) -> None:
        """Sparing the broker what could not be kept any more."""
        run = self._shared.runs.get(connection.connection_id)
        if run is not None:
            run.stop()

    @checked
    async def export(self, owner: str) -> AsyncIterator[str]:
        """Everything of an owner but the secrets, as lines of JSON; see the reference for the records.

        What a sync changes meanwhile is in the feed behind the first line's `position`. The last line says how many
        there were.
        """
        store, lines = self._shared.store, 1
        head = {"record": "export", "format": _FORMAT, "owner": owner, "at": instant_text(self._shared.clock.now())}
        yield dumps(head | {"position": await store.feed_position()})
        for table in EXPORTED:
            records, place = await store.export_page(owner, table, None)
            while records:
                for record in records:
                    yield dumps(record)
                lines += len(records)
                records, place = await store.export_page(owner, table, place)
        yield dumps({"record": "end", "lines": lines + 1})

    @until_closed
    async def prune(self) -> Pruned:
        """Delete what is older than the settings `keep.raw`, `keep.logs` and `keep.feed`, of all owners.

        It never holds up a sync for long. A reader who stands before where the feed begins now gets
        `FeedPositionError`.
        """
        shared = self._shared
        return await shared.store.prune(shared.clock.now(), shared.settings.keep)

    @until_closed
    @checked
    async def rotate_key(self, *, data_keys: bool = False) -> KeyRotation:
        """Replace the master key, and with `data_keys` every owner's data key too; syncs go on meanwhile.

        A key file gets a new key and loses the old ones, unless other stores may need them; of `BROKERSYNC_KEY` the
        first key takes over, and a `KeyProvider` of your own is asked to wrap anew. An interrupted rotation is repeated
        from its start.
        """
        shared = self._shared
        return await Rotation(shared.store, shared.keys, shared.clock, shared.worker)(data_keys=data_keys)
