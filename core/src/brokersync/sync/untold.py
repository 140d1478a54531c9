"""Accounts of a login of which an answer tells nothing, though it tells of others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from brokersync.manifest import SourceScope, SourceSpec
from brokersync.provider import Clock
from brokersync.records import Connection, FailedWindow, Span, SpanState
from brokersync.store import Store
from brokersync.sync.failures import FailureBook
from brokersync.sync.halving import NOT_TOLD, is_not_told
from brokersync.sync.ledger import subtract, union
from brokersync.sync.plan import Ask, still_open
from brokersync.sync.telling import Telling
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
        told = telling.told
        if ask.source.scope is not SourceScope.LOGIN or not told:
            return
        by_others = union(window for windows in told.values() for window in windows)
        for account in ask.accounts:
            name = _name(account)
            known = (await self._failures.known(ask.source)).get(name, ())
            if name in told:
                left = self._told_again(known, told[name])
            elif name in telling.asked:
                left = await self._not_told(ask.source, account, known, by_others)
            else:
                continue
            if left != known:
                await self._failures.put(ask.source, name, left)

    async def _not_told(
        self, source: SourceSpec, account: BrokerAccount, known: Sequence[FailedWindow], told: Sequence[TimeWindow]
    ) -> tuple[FailedWindow, ...]:
        """Of what was told of others only what is wanted of this one counts: not what lies before its opening."""
        one, now = self._connection, self._clock.now()
        spans = (await self._store.spans(one.owner, one.provider, source.name)).get(
            (account.environment, account.account_id), ()
        )
        wanted = still_open(source, account, spans, now=now, since=one.since, connected_at=one.created_at)
        left_out = [part for window in told for gap in wanted if (part := window.overlap(gap))]
        return _noted(known, left_out, _settled(spans), now)

    def _told_again(self, known: Sequence[FailedWindow], told: Sequence[TimeWindow]) -> tuple[FailedWindow, ...]:
        """An account that is told of earlier days alone was told of them before it left; of rows nobody knows."""
        noted = [one for one in known if is_not_told(one)]
        if not noted or (told and max(window.end for window in told) <= noted[0].window.start):
            return tuple(known)
        self._is_back = True
        return tuple(one for one in known if not is_not_told(one))


async def put_aside_untold(ask: Ask, failures: FailureBook) -> Ask:
    """The ask without the accounts that are not told; that the others have nothing there is noted for them as not told.

    They may not be among those that the broker spoke of, and are asked for it when they are told again.
    """
    if ask.source.scope is not SourceScope.LOGIN:
        return ask
    known, left = await failures.known(ask.source), list[BrokerAccount]()
    for account in ask.accounts:
        notes = known.get(_name(account), ())
        if not any(map(is_not_told, notes)):
            left.append(account)
            continue
        await failures.put(ask.source, _name(account), _noted(notes, [ask.window], (), failures.now()))
    return attrs.evolve(ask, accounts=tuple(left))


def untold(
    source: SourceSpec, account: BrokerAccount, failing: Mapping[str, Sequence[FailedWindow]], spans: Sequence[Span]
) -> tuple[FailedWindow, ...]:
    """What the source's answers did not tell of the account, and nobody has read since."""
    if source.scope is not SourceScope.LOGIN:
        return ()
    noted = [one for one in failing.get(_name(account), ()) if is_not_told(one)]
    return _without(noted, _settled(spans))


def _noted(
    known: Sequence[FailedWindow], asked: Sequence[TimeWindow], read: Sequence[TimeWindow], now: datetime
) -> tuple[FailedWindow, ...]:
    new = [_note(window, now) for window in subtract(asked, read)]
    before = [one for one in known if is_not_told(one)]
    kept = _without(before, [*read, *(one.window for one in new)])
    return tuple(sorted([*(one for one in known if not is_not_told(one)), *_joined([*kept, *new])], key=_start))


def _settled(spans: Iterable[Span]) -> list[TimeWindow]:
    """What need not be asked for any more; a provisional day is as open to the planner as one that was never read."""
    return union(span.window for span in spans if span.state is not SpanState.PROVISIONAL)


def _joined(notes: Sequence[FailedWindow]) -> list[FailedWindow]:
    """The notes with those that touch made one, so that there are not more of them with each sync."""
    return [
        _note(window, max(one.at for one in notes if one.window.overlap(window)))
        for window in union(one.window for one in notes)
    ]


def _without(notes: Iterable[FailedWindow], windows: Sequence[TimeWindow]) -> tuple[FailedWindow, ...]:
    return tuple(_note(part, one.at) for one in notes for part in subtract([one.window], windows))


def _note(window: TimeWindow, at: datetime) -> FailedWindow:
    return FailedWindow(window=window, failures=0, reason=NOT_TOLD, at=at)


def _start(one: FailedWindow) -> datetime:
    return one.window.start


def _name(account: BrokerAccount) -> str:
    return f"{account.environment}/{account.account_id}"
