"""Trades that a provisional source alone tells of, though one that counts more has read their days for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from brokersync.errors import BrokerConfigError
from brokersync.manifest import Manifest, SourceSpec
from brokersync.records import Span, SpanState
from brokersync.shared import Shared
from brokersync.store import Store, TradeFilter
from brokersync.sync.days import day_called
from brokersync.sync.ledger import subtract, union
from brokersync.types import BrokerTrade, TimeWindow

_LOOKS_BACK = timedelta(days=60)
# where nothing says on which day a trade is booked: on the next one, or a long weekend later
_BOOKED_WITHIN = timedelta(days=5)
_WEEKEND = (5, 6)
_DAY = timedelta(days=1)

_Spans = Mapping[tuple[str, str], Sequence[Span]]


async def unconfirmed(
    shared: Shared, store: Store, owner: str, provider: str | None = None, window: TimeWindow | None = None
) -> tuple[BrokerTrade, ...]:
    """The owner's live trades of the window, else of the last sixty days, at one broker or at all, that are so."""
    window = window or last_days(shared)
    only = TradeFilter(provider=provider, since=window.start, until=window.end)
    looks = _Looks(shared, store, owner)
    found: list[BrokerTrade] = []
    after: tuple[str, str] | None = None
    while True:
        page, after = await store.trades(owner, only, after=after)
        found += [trade for trade in page if await looks.unconfirmed(trade)]
        if after is None:
            return tuple(found)


def last_days(shared: Shared) -> TimeWindow:
    """The days that are looked through each time."""
    now = shared.clock.now()
    return TimeWindow(now - _LOOKS_BACK, now)


class _Looks:
    """Reads each manifest and each ledger once."""

    def __init__(self, shared: Shared, store: Store, owner: str) -> None:
        self._shared, self._store, self._owner = shared, store, owner
        self._known: dict[tuple[str, str], _Spans] = {}

    async def unconfirmed(self, trade: BrokerTrade) -> bool:
        try:
            manifest = self._shared.registry.manifest(trade.provider)
        except BrokerConfigError:
            return False
        better = _counting_more(manifest, trade.sources)
        if not better:
            return False
        here = TimeWindow(trade.executed_at, trade.executed_at + timedelta.resolution)
        if not subtract([here], await self._final(trade, trade.sources)):
            return False
        names = [spec.name for spec in better]
        return not subtract(_may_be_told_in(trade, better), await self._final(trade, names))

    async def _final(self, trade: BrokerTrade, sources: Sequence[str]) -> list[TimeWindow]:
        """What these sources have told of the trade's account for good."""
        windows: list[TimeWindow] = []
        for source in sources:
            if (trade.provider, source) not in self._known:
                spans = await self._store.spans(self._owner, trade.provider, source)
                self._known[trade.provider, source] = spans
            known = self._known[trade.provider, source].get((trade.environment, trade.account_id), ())
            windows += [span.window for span in known if span.state is SpanState.FINAL]
        return union(windows)


def _may_be_told_in(trade: BrokerTrade, better: Sequence[SourceSpec]) -> list[TimeWindow]:
    """Where the sources that count more tell a trade if they ever do."""
    if trade.trade_date is None or not all(spec.books_on_trade_date for spec in better):
        return [TimeWindow(trade.executed_at, trade.executed_at + _BOOKED_WITHIN)]
    booked = _working_day(trade.trade_date)
    return union([day_called(booked, spec.calendar) for spec in better])


def _working_day(day: date) -> date:
    while day.weekday() in _WEEKEND:
        day += _DAY
    return day


def _counting_more(manifest: Manifest, sources: Sequence[str]) -> list[SourceSpec]:
    """The sources whose word replaces that of these; none where it is not known how much these count."""
    precedence = {source.name: source.precedence for source in manifest.sources}
    if not sources or any(name not in precedence for name in sources):
        return []
    most = max(precedence[name] for name in sources)
    return [source for source in manifest.sources if source.precedence > most]
