"""Accounts of a login of which an answer tells nothing, though it tells of others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from brokersync.manifest import SourceScope, SourceSpec
from brokersync.provider import Clock
from brokersync.records import Connection, FailedWindow, Span, SpanState
from brokersync.store import Store
from brokersync.sync.failures import FailureBook
from brokersync.sync.ledger import subtract, union
from brokersync.sync.plan import Ask, still_open
from brokersync.sync.telling import Telling
from brokersync.sync.untold_notes import (
    closes,
    is_not_told,
    is_note,
    is_nothing_there,
    is_told_since,
    not_told,
    nothing_there,
    told,
    was_nothing_there,
)
from brokersync.types import BrokerAccount, TimeWindow


class UntoldAccounts:
    """Keeps what was asked for of an account and not told, so that not every sync asks for all of it again.

    An account may have left its login, been closed, or come into it later. The days that each sync reads are asked for
    it like for the others, and with the first of them that is told it is asked for all that was not.
    """

    def __init__(self, *, connection: Connection, store: Store, clock: Clock, failures: FailureBook) -> None:
        self._connection, self._store, self._clock, self._failures = connection, store, clock, failures
        self._is_back = False

    def take_is_back(self) -> bool:
        """Whether an account is told again since this was last asked."""
        is_back, self._is_back = self._is_back, False
        return is_back

    async def answered(self, ask: Ask, telling: Telling) -> None:
        """An answer to `ask` was read whole, and told this."""
        if ask.source.scope is not SourceScope.LOGIN or not telling.told:
            return
        for account in ask.accounts:
            name = _name(account)
            known = (await self._failures.known(ask.source)).get(name, ())
            if name in telling.told and any(map(is_note, known)):
                left = await self._told_again(ask.source, account, known, telling.told[name])
            elif name not in telling.told and name in telling.asked:
                left = await self._not_told(ask.source, account, known, telling)
            else:
                continue
            if left != known:
                await self._failures.put(ask.source, name, left)

    async def _not_told(
        self, source: SourceSpec, account: BrokerAccount, known: Sequence[FailedWindow], telling: Telling
    ) -> tuple[FailedWindow, ...]:
        """Of what was told of others only what is wanted of this one counts: not what lies before its opening.

        That the broker had nothing was said of those that it tells of, and so proves nothing of this one.
        """
        doubted = [each.window for each in known if is_nothing_there(each)]
        still_open = await self._still_open(source, account)
        left_out = union([*(window for windows in telling.told.values() for window in windows), *doubted])
        others = [each for each in known if not is_nothing_there(each)]
        return not_told(others, left_out, still_open, self._clock.now())

    async def _told_again(
        self, source: SourceSpec, account: BrokerAccount, known: Sequence[FailedWindow], windows: Sequence[TimeWindow]
    ) -> tuple[FailedWindow, ...]:
        left = told(known, windows, await self._still_open(source, account), self._clock.now())
        self._is_back = self._is_back or bool(subtract(_told_since(left), _told_since(known)))
        return left

    async def _still_open(self, source: SourceSpec, account: BrokerAccount) -> Sequence[TimeWindow]:
        one = self._connection
        spans = await self._store.spans(one.owner, one.provider, source.name)
        known = spans.get((account.environment, account.account_id), ())
        return still_open(source, account, known, now=self._clock.now(), since=one.since, connected_at=one.created_at)


async def had_nothing(ask: Ask, failures: FailureBook) -> tuple[BrokerAccount, ...]:
    """The accounts of which it is sure that the broker has nothing there; of the others it is noted.

    It is said of the login: whoever is not told may not be among those that the broker spoke of, and who is told may
    have been out of the login just then. So it counts when it is said twice, and the account was told in between.
    """
    if ask.source.scope is not SourceScope.LOGIN:
        return ask.accounts
    known, now, sure = await failures.known(ask.source), failures.now(), list[BrokerAccount]()
    for account in ask.accounts:
        notes = known.get(_name(account), ())
        if was_nothing_there(notes, ask.window):
            sure.append(account)
        elif any(map(is_not_told, notes)):
            kept = union([ask.window, *(one.window for one in notes)])
            await failures.put(ask.source, _name(account), not_told(notes, [ask.window], kept, now))
        else:
            await failures.put(ask.source, _name(account), nothing_there(notes, ask.window, now))
    return tuple(sure)


def untold(
    source: SourceSpec, account: BrokerAccount, failing: Mapping[str, Sequence[FailedWindow]], spans: Sequence[Span]
) -> tuple[FailedWindow, ...]:
    """What the source's answers did not tell of the account, or not for sure, and nobody has read since."""
    if source.scope is not SourceScope.LOGIN:
        return ()
    noted = [one for one in failing.get(_name(account), ()) if closes(one)]
    parts = [(one, part) for one in noted for part in subtract([one.window], _settled(spans))]
    return tuple(attrs.evolve(one, window=part, failures=0, not_before=None) for one, part in parts)


def _told_since(notes: Iterable[FailedWindow]) -> list[TimeWindow]:
    return [one.window for one in notes if is_told_since(one)]


def _settled(spans: Iterable[Span]) -> list[TimeWindow]:
    """What need not be asked for any more; a provisional day is as open to the planner as one that was never read."""
    return union(span.window for span in spans if span.state is not SpanState.PROVISIONAL)


def _name(account: BrokerAccount) -> str:
    return f"{account.environment}/{account.account_id}"
