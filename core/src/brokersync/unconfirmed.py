"""Trades that a provisional source alone tells of, though one that counts more has read their days for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from brokersync.errors import BrokerConfigError
from brokersync.manifest import Manifest
from brokersync.records import Span, SpanState
from brokersync.shared import Shared
from brokersync.store import Store, TradeFilter
from brokersync.sync.ledger import subtract, union
from brokersync.types import BrokerTrade, TimeWindow

_LOOKS_BACK = timedelta(days=60)
# what is executed on a day may be booked on the next one, and a long weekend later
_BOOKED_WITHIN = timedelta(days=5)

_Spans = Mapping[tuple[str, str], Sequence[Span]]


async def unconfirmed(shared: Shared, store: Store, owner: str, provider: str | None = None) -> tuple[BrokerTrade, ...]:
    """The owner's live trades of the last sixty days, at one broker or at all, of which this is so."""
    now = shared.clock.now()
    only = TradeFilter(provider=provider, since=now - _LOOKS_BACK, until=now - _BOOKED_WITHIN)
    looks = _Looks(shared, store, owner)
    found: list[BrokerTrade] = []
    after: tuple[str, str] | None = None
    while True:
        page, after = await store.trades(owner, only, after=after)
        found += [trade for trade in page if await looks.unconfirmed(trade)]
        if after is None:
            return tuple(found)


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
        settled = TimeWindow(trade.executed_at, trade.executed_at + _BOOKED_WITHIN)
        return not subtract([settled], await self._final(trade, better))

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


def _counting_more(manifest: Manifest, sources: Sequence[str]) -> list[str]:
    """The sources whose word replaces that of these; none where it is not known how much these count."""
    precedence = {source.name: source.precedence for source in manifest.sources}
    if not sources or any(name not in precedence for name in sources):
        return []
    most = max(precedence[name] for name in sources)
    return [name for name, counts in precedence.items() if counts > most]
