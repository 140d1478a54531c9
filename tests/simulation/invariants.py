"""What must hold whatever has happened, told by the books alone and not by what the engine thinks of itself."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from brokersync import BrokerSync
from brokersync.incidents import Incident
from brokersync.manifest import Retention, SelectsBy, SourceSpec
from brokersync.records import Connection, ConnectionState, Span, SpanState, SyncReport
from brokersync.sync.days import day_floor, next_day
from brokersync.sync.ledger import subtract, union
from brokersync.types import BrokerTrade, FeesState, TimeWindow, TradeStatus

from .books import Facts, Row, Seen, standing
from .follower import Follower, trades_by_key
from .shape import HOUR, KEY, SINCE, Shape

if TYPE_CHECKING:
    from .world import Login, World

Outcome: TypeAlias = tuple[Facts, ...]

# two clocks of one machine, or a machine's and the broker's, differ by no more
SKEW: Final = timedelta(seconds=5)


class Violation(Exception):  # noqa: N818  it is the finding itself
    """Something that must never be: which promise, and how it was broken."""

    def __init__(self, promise: str, how: str) -> None:
        super().__init__(f"{promise}: {how}")
        self.promise = promise


async def check(world: World, bs: BrokerSync, *, read_again: bool = False) -> None:
    """Everything that must hold once the faults have ended and all runs are done."""
    for follower in world.followers:
        logins = [login for login in world.logins if login.owner == follower.owner]
        trades = await trades_by_key(bs, follower.owner)
        _check_trades(world, logins, trades.values(), read_again=read_again)
        _check_feed(follower, trades)
        await _check_whole(world, bs, logins)
    await check_ledger(world, bs)
    for connection in await bs.connections():
        if connection.state is not ConnectionState.ACTIVE:
            raise Violation("what works again asks nobody", f"{connection.connection_id} is {connection.state}")
    _check_incidents(world, await bs.incidents())
    if world.undone_proofs:
        raise Violation("what is final stays final", "; ".join(world.undone_proofs))
    if world.trespasses:
        raise Violation("one worker at a time writes to a connection", "; ".join(world.trespasses))
    await _check_losses(world, bs)
    needless = world.broker.logins.needless
    if needless:
        raise Violation("one renewal per expiry", "; ".join(needless))


def _check_incidents(world: World, incidents: Sequence[Incident]) -> None:
    """Each outage is one incident of each environment at most, and it is over when the broker is back."""
    if world.crowds:
        raise Violation("one connection asks whether a broker is back", "; ".join(world.crowds))
    for one in incidents:
        if one.closed_at is None:
            raise Violation("a broker that is back is known to be", f"{one}")
    for outage in world.broker.outages:
        # an answer that came before it may be told of later by a process that stood still
        if not any(process.stopped_since(outage.start) for process in world.processes):
            here = [one.environment for one in incidents if outage.start <= one.opened_at < outage.end]
            if len(here) > len(set(here)):
                raise Violation("one outage is one incident", f"{outage} is {len(here)} of {sorted(set(here))}")


async def _check_losses(world: World, bs: BrokerSync) -> None:
    """Nobody is told twice of what they have lost, and everybody once where no process crashed before it could tell."""
    if world.losses.twice:
        raise Violation("a loss is told once", "; ".join(world.losses.twice))
    if world.losses.may_be_untold or len(world.manifest.sources) > 1:
        return
    for owner in {login.owner for login in world.logins}:
        for (environment, account), spans in (await bs.coverage(owner, KEY, world.manifest.sources[0].name)).items():
            lost = [span.window for span in spans if span.state is SpanState.LOST]
            if untold := subtract(lost, world.losses.told[owner, environment, account]):
                raise Violation("a loss is told", f"{untold} of {account}")


def check_report(report: SyncReport, *, given: int, whole: bool) -> None:
    """Each row that a run was given has one disposition; of one that was ended by others some may have none."""
    if report.rows != sum(report.dispositions.values()) or report.rows > given or (whole and report.rows < given):
        raise Violation("each row has one disposition", f"{report.dispositions} of {report.rows} rows, {given} given")


def check_deadline(one: Connection, session_ends: datetime, now: datetime, margin: timedelta) -> None:
    """What perishes with a session is due again before its end, but where it was read in the last moments of it."""
    if one.deadline is None or one.next_at is None or one.deadline > session_ends:
        raise Violation("what perishes has a deadline", f"{one.deadline} instead of {session_ends}")
    if now < one.deadline - margin / 10 - SKEW and one.next_at >= one.deadline:
        raise Violation("what perishes is due before it is gone", f"{one.next_at} is after {one.deadline}")


def _check_states(world: World, connections: Iterable[Connection]) -> None:
    """Nobody has to do anything about a connection unless the broker has ended its login."""
    ended = {login.connection_id for login in world.logins if login.identity in world.broker.logins.ended}
    for one in connections:
        if one.state is not ConnectionState.ACTIVE and one.connection_id not in ended:
            raise Violation("no outage needs anybody", f"{one.connection_id} is {one.state}: {one.reason}")


async def check_ledger(world: World, bs: BrokerSync) -> None:
    """What holds at every moment: a span called final has every trade, a lost one can not be had any more."""
    _check_states(world, await bs.connections())
    for follower in world.followers:
        for source in world.manifest.sources:
            before = {key: tuple(world.finals[key]) for key in world.finals}
            # read before the trades: what is committed in between only adds to them
            coverage = await bs.coverage(follower.owner, KEY, source.name)
            _check_finals(world, follower.owner, source.name, before, coverage)
            trades = await trades_by_key(bs, follower.owner)
            stored = _by_group(world.shape, trades.values())
            for (_, account), spans in coverage.items():
                _check_spans(world, source, account, spans, stored)


def _check_finals(
    world: World,
    owner: str,
    source: str,
    before: Mapping[tuple[str, ...], Sequence[TimeWindow]],
    coverage: Mapping[tuple[str, str], Sequence[Span]],
) -> None:
    """What was final at an earlier look is final now, unless its reading was given up and is to be made once more."""
    for account, spans in coverage.items():
        key, now = (owner, source, *account), [span.window for span in spans if span.state is SpanState.FINAL]
        if gone := subtract(before.get(key, ()), [*now, *world.opened_again[key]]):
            raise Violation("what is final stays final", f"{source} of {account}: {gone}")
        world.finals[key] = union([*world.finals.get(key, ()), *now])


async def _check_whole(world: World, bs: BrokerSync, logins: Sequence[Login]) -> None:
    """Once all is done, nothing is left that the ledger says nothing of."""
    for source in world.manifest.sources:
        coverage = await bs.coverage(logins[0].owner, KEY, source.name)
        for login in logins:
            spoken_for = _must_be_known(world, source, login)
            for account in login.accounts:
                spans = coverage.get((login.environment, account), ())
                holes = subtract(spoken_for, [span.window for span in spans])
                if holes:
                    raise Violation("the ledger is whole", f"{source.name} of {account} lacks {holes}")


def _must_be_known(world: World, source: SourceSpec, login: Login) -> list[TimeWindow]:
    """The past of a connection that a source has to account for: read, or known not to be had."""
    calendar, now = world.shape.calendar, world.broker.now()
    assert login.connected_at is not None
    if source.retention is Retention.SESSION:
        start, end = login.connected_at, day_floor(now, calendar)
    elif source.selects_by is SelectsBy.BOOKED:
        start, end = SINCE, now - HOUR
    else:
        start, end = day_floor(SINCE, calendar), day_floor(now - source.finality_lag, calendar)
    return [TimeWindow(start, end)] if start < end else []


def _check_spans(
    world: World, source: SourceSpec, account: str, spans: Sequence[Span], stored: Mapping[str, list[Facts]]
) -> None:
    where = f"{source.name} of {account}"
    for one, following in itertools.pairwise(spans):
        if one.window.end > following.window.start:
            raise Violation("spans do not overlap", f"{where}: {one} and {following}")
    for span in spans:
        if span.state is SpanState.LOST and span.window.end > _out_of_reach(world, source) + SKEW:
            raise Violation("what is called lost is lost", f"{where}: {span.window}")
        if span.state is SpanState.FINAL or _is_of_a_session(source, span):
            for group, needed in _booked_in(world, source, account, span).items():
                if len(stored.get(group, ())) < needed:
                    promise = f"a {span.state.value} span has every trade"
                    raise Violation(promise, f"{where}: {span.window} lacks {group}")


def _is_of_a_session(source: SourceSpec, span: Span) -> bool:
    """Whether a session's list showed all that had been booked in it by then."""
    return source.retention is Retention.SESSION and span.state is SpanState.PROVISIONAL


def _out_of_reach(world: World, source: SourceSpec) -> datetime:
    """Until when a source's history can not be had any more."""
    if source.retention is Retention.SESSION:
        return day_floor(world.broker.now(), world.shape.calendar)
    return world.broker.kept_from()


def _booked_in(world: World, source: SourceSpec, account: str, span: Span) -> Mapping[str, int]:
    """How many executions of each group the broker has booked inside a span."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in world.books.until(world.broker.now()):
        if row.account == account and row.kind == "fill" and _is_inside(row, source, span.window):
            found[_group(world.shape, row)].add(row.execution)
    return {group: len(executions) for group, executions in found.items()}


def _is_inside(row: Row, source: SourceSpec, window: TimeWindow) -> bool:
    if source.selects_by is SelectsBy.EXECUTED:
        return row.executed_at in window
    # a source without days is read up to the present, by a clock that may be a little ahead
    return window.start <= row.booked_at < window.end - SKEW


def _check_feed(follower: Follower, trades: Mapping[tuple[str, str], BrokerTrade]) -> None:
    promise = "the feed replays to the store's state"
    if follower.wrong:
        raise Violation(promise, "; ".join(follower.wrong))
    if follower.alive != set(trades):
        raise Violation(promise, f"the feed and the store differ in {sorted(follower.alive ^ set(trades))}")
    for key, trade in trades.items():
        copy = follower.copy.get(key)
        # a trade that another source tells of again is the same trade, and nobody is told
        if copy is None or _told(copy) != _told(trade):
            raise Violation(promise, f"a reader was left with {copy} in place of {trade}")


def _told(trade: BrokerTrade) -> BrokerTrade:
    return attrs.evolve(trade, revision=1, sources=())


def _check_trades(world: World, logins: Sequence[Login], trades: Iterable[BrokerTrade], *, read_again: bool) -> None:
    """Each execution stands in the store as its rows that were had, or can still be had, come to; and only once."""
    stored = _by_group(world.shape, trades)
    expected = _Expected(world, logins, read_again=read_again)
    for group, allowed in expected.outcomes():
        found = tuple(sorted(stored.pop(group, ())))
        if allowed is not None and found not in allowed:
            choice = " or ".join(str(one) for one in sorted(allowed))
            raise Violation("stored is what the broker could deliver", f"{group}: {found} instead of {choice}")
    if stored:
        raise Violation("nothing is invented", f"{sorted(stored)}")


class _Expected:
    """What an owner's logins must have of each execution: sure where the broker still gives it or a run has ended.

    What was given to a run that crashed, failed or was put off may be there or not.
    """

    def __init__(self, world: World, logins: Sequence[Login], *, read_again: bool) -> None:
        self._world, self._shape, self._read_again = world, world.shape, read_again
        self._now = world.broker.now()
        self._accounts = {name for login in logins for name in login.accounts}
        self._kept = {one for login in logins for one in login.kept}
        self._given = {one for login in logins for reading in login.readings for one in reading.rows}

    def outcomes(self) -> Iterator[tuple[str, set[Outcome] | None]]:
        """Per execution the outcomes that may be; `None` where rows stand without that which they change."""
        groups: defaultdict[str, list[Row]] = defaultdict(list)
        for row in self._world.books.rows:
            if row.account in self._accounts:
                groups[_group(self._shape, row)].append(row)
        for group, rows in groups.items():
            choices = [self._versions(row) for row in rows]
            if self._untellable(rows, choices):
                yield group, None
            else:
                yield group, {self._outcome(chosen) for chosen in itertools.product(*choices)}

    def _untellable(self, rows: Sequence[Row], choices: Sequence[set[Seen | None]]) -> bool:
        """Whether rows may stand without that which they change, and nothing tells what they come to."""
        if self._shape.named and choices[0] == {None} | choices[0] and any(one != {None} for one in choices[1:]):
            return True
        # of two bookings without an order, only the cancel of one says which of them stands
        lost = any(row.kind == "cancel" and None in choice for row, choice in zip(rows, choices, strict=True))
        return not self._shape.ordered and lost and sum(row.kind == "fill" for row in rows) > 1

    def _outcome(self, chosen: Iterable[Seen | None]) -> Outcome:
        rows = [one for one in chosen if one is not None]
        sets = [rows] if self._shape.named else [[row] for row in rows]
        facts = [standing(one, parts=self._shape.parts) for one in sets if one]
        return tuple(sorted(one for one in facts if one is not None))

    def _versions(self, row: Row) -> set[Seen | None]:
        """How a row may stand in the store; `None` means not at all."""
        versions: set[Seen | None] = set()
        sure = False
        for source in reversed(self._world.manifest.sources):
            here = {
                Seen(row, with_fee) for with_fee in (True, False) if (source.name, Seen(row, with_fee)) in self._given
            }
            must = any((source.name, one) in self._kept for one in here) or self._still_given(source, row)
            if source.name != "daily" and self._read_whole(source, row):
                here = {row.seen(self._now)}
            versions |= here
            sure = sure or must
            if must:
                break
        return versions if sure else versions | {None}

    def _still_given(self, source: SourceSpec, row: Row) -> bool:
        """Whether the last runs had to be given this row, or had been given it by a reading that was final."""
        if source.retention is Retention.SESSION:
            return row.booked_at >= day_floor(self._now, self._shape.calendar)
        if source.selects_by is SelectsBy.BOOKED:
            return True
        end = self._end(source)
        readable = self._world.broker.kept_from() <= row.executed_at < end
        return readable and (self._is_read_again(source, row) or row.booked_at <= self._closing(row))

    def _read_whole(self, source: SourceSpec, row: Row) -> bool:
        """Whether every reading that could be the last one shows the row's present content."""
        if not self._still_given(source, row):
            return False
        return (
            source.selects_by is SelectsBy.BOOKED
            or self._is_read_again(source, row)
            or (row.fee_at <= self._closing(row))
        )

    def _end(self, source: SourceSpec) -> datetime:
        calendar = self._shape.calendar
        return (
            next_day(self._now, calendar) if source.open_day else day_floor(self._now - source.finality_lag, calendar)
        )

    def _is_read_again(self, source: SourceSpec, row: Row) -> bool:
        if self._read_again:
            return True
        return row.executed_at >= day_floor(self._end(source) - source.reread, self._shape.calendar)

    def _closing(self, row: Row) -> datetime:
        """From when on a reading of the row's day is final."""
        return next_day(row.executed_at, self._shape.calendar) + self._shape.lag - SKEW


def _by_group(shape: Shape, trades: Iterable[BrokerTrade]) -> dict[str, list[Facts]]:
    found: defaultdict[str, list[Facts]] = defaultdict(list)
    for trade in trades:
        found[_group_of(shape, trade)].append(_facts(trade))
    return dict(found)


def _group(shape: Shape, row: Row) -> str:
    """What is compared as one: an execution, or all that is equal where nothing has a name."""
    if shape.named:
        return row.execution
    return f"{row.account} {row.executed_at.isoformat()} {row.symbol} {row.side} {row.quantity} {row.price}"


def _group_of(shape: Shape, trade: BrokerTrade) -> str:
    if shape.named:
        return trade.trade_id.removeprefix("s-")
    moment, symbol = trade.executed_at.isoformat(), trade.instrument.symbol
    return f"{trade.account_id} {moment} {symbol} {trade.side.value} {trade.quantity} {trade.price}"


def _facts(trade: BrokerTrade) -> Facts:
    return (
        trade.account_id,
        trade.instrument.symbol,
        trade.side.value,
        trade.quantity,
        trade.price,
        trade.executed_at,
        sum((fee.amount for fee in trade.fees), Decimal(0)),
        trade.status is TradeStatus.CANCELLED,
        trade.fees_state is FeesState.FINAL,
    )
