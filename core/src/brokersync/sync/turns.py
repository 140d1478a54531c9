"""What to ask of a source, in turns: first the accounts that were well, then one by one those that failed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from datetime import datetime, timedelta

import attrs

from brokersync.manifest import Retention, SourceSpec
from brokersync.provider import Clock
from brokersync.records import Connection, OpenRequest
from brokersync.store import Known, Store
from brokersync.sync.failures import FailureBook
from brokersync.sync.ledger import subtract
from brokersync.sync.plan import Ask, a_day_first, plan_source
from brokersync.sync.telling import Telling
from brokersync.sync.untold import UntoldAccounts
from brokersync.types import BrokerAccount

_ROUND_LASTS = timedelta(hours=1)
# what a session showed half an hour ago is not all that it shows before it ends, however long the round goes on
_SESSION_STAYS_READ = timedelta(minutes=10)
# nor does a round that never ends, since one account fails for ever, keep the corrections of the others away
_STAYS_READ = timedelta(hours=6)

_Asks = Sequence[tuple[Ask, OpenRequest | None]]


class Turns:
    """Plans a source, turn by turn, each by what the turns before it have read.

    Of the accounts that failed when they were last asked, the one that waits longest comes first. So whatever one of
    them does, and though it ends the asking, all others come before it in the next sync.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        store: Store,
        clock: Clock,
        failures: FailureBook,
        again_from: datetime | None,
    ) -> None:
        self._connection, self._store, self._clock = connection, store, clock
        self._failures, self._again_from = failures, again_from
        self._untold = UntoldAccounts(connection=connection, store=store, clock=clock, failures=failures)

    async def forget_an_old_round(self) -> None:
        """Else the first window that ends now would make those that ended long ago count again."""
        await self._store.end_round(self._connection.connection_id, self._clock.now() - _ROUND_LASTS)

    async def of(self, source: SourceSpec, begun: _Asks) -> AsyncGenerator[_Asks, None]:
        """What to ask for now, a part at a time; each part is planned when the one before it has been asked for."""
        line = await self._failures.in_line(source)
        first: set[tuple[str, str]] | None = None
        for turn in (None, *line):
            mine = _turn(line, turn)
            # what was begun is finished before the rest is planned, so that nothing is asked twice
            yield [one for one in begun if mine(one[0])]
            known = await self._store.known(self._connection, source.name)
            first = _names(known.accounts) if first is None else first
            yield [one for one in await self._planned(source, known) if mine(one[0])]
        is_back = self._untold.take_is_back()
        if is_new := _names(await self._store.accounts(self._connection.connection_id)) != first:
            # a page told of an account that nobody had asked for: what was finished was finished without it
            await self._store.end_round(self._connection.connection_id)
        if is_new or is_back:
            yield await self._planned(source, await self._store.known(self._connection, source.name))

    async def answered(self, ask: Ask, telling: Telling) -> None:
        """An answer to `ask` was read whole, and told this."""
        await self._untold.answered(ask, telling)

    async def _planned(self, source: SourceSpec, known: Known) -> _Asks:
        planned = plan_source(
            source,
            known.accounts,
            known.spans,
            now=self._clock.now(),
            since=self._connection.since,
            connected_at=self._connection.created_at,
            again_from=self._again_from,
            failing=await self._failures.known(source),
        )
        # a sync that was deferred or killed goes on with its round, else each part would spend the broker's limit on
        # reading again what the part before has just read
        now = self._clock.now()
        finished = await self._store.finished(
            self._connection.connection_id,
            now - _ROUND_LASTS,
            now - (_SESSION_STAYS_READ if source.retention is Retention.SESSION else _STAYS_READ),
            self._again_from,
        )
        asks = [
            attrs.evolve(ask, window=piece)
            for ask in planned
            for piece in reversed(subtract([ask.window], finished.get((source.name, ask.account), ())))
        ]
        return [(ask, None) for ask in (asks if self._failures.counts else a_day_first(asks))]


def _names(accounts: Iterable[BrokerAccount]) -> set[tuple[str, str]]:
    return {(account.environment, account.account_id) for account in accounts}


def _turn(line: Sequence[str], turn: str | None) -> Callable[[Ask], bool]:
    """Whether a request has its turn: that of one in `line`, or that of all who are not."""
    return lambda ask: ask.account == turn if turn is not None else ask.account not in line
