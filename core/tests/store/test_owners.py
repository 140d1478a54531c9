"""Two owners of one broker account: neither sees nor loses anything by what the other does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.errors import FeedPositionError
from brokersync.records import Span, SpanState
from brokersync.store import SqliteStore, SqlStore
from brokersync.types import BookingEffect, QuarantinedRow, TradeBooking

from .owners import KEEP, connect, connection, export
from .pages import ALL, RULES, START, WEEK, key, page, trade

_OPS = ("connect", "sync", "import", "cancel", "log", "disconnect", "erase", "forget")
_STEP = timedelta(days=40)

Step = tuple[str, str, int]
"""An owner, what is done, and a number that varies it."""

steps = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(_OPS), st.integers(0, 3)), min_size=4, max_size=14)


class Desk:
    """A store in memory, and what owners do to it."""

    def __init__(self) -> None:
        self.store: SqlStore = SqliteStore(Path(":memory:"))

    async def do(self, number: int, step: Step) -> None:
        owner, what, vary = step
        of, at = connection(owner, vary % 2), START + number * _STEP
        linked = await self.store.connection(of.connection_id) is not None
        if what == "connect":
            await connect(self.store, of, "A", f"B{vary}")
        elif what == "sync" and linked:
            span = (key(owner), Span(window=WEEK, state=SpanState.FINAL))
            odd = QuarantinedRow(reason=f"{vary}", raw={"odd": vary}, account_id="A", environment="live")
            told = page(
                trade(f"t{vary}", raw={"v": vary}), owner=owner, at=at, connection_id=of.connection_id,
                spans=(span,), quarantined=(odd,), bookmark=f"{vary}",
            )  # fmt: skip
            await self.store.commit_page(told, RULES)
        elif what == "import":
            await self.store.commit_page(
                page(trade(f"t{vary}", raw={"v": 1}), owner=owner, at=at, source="file"), RULES
            )
        elif what == "cancel":
            gone = TradeBooking(
                booking_id=f"x{vary}", environment="live", account_id="A", effect=BookingEffect.CANCEL,
                refs=(f"t{vary}",),
            )  # fmt: skip
            await self.store.commit_page(page(owner=owner, at=at, bookings=(gone,)), RULES)
        elif what == "log":
            report = {"owner": owner, "connection_id": of.connection_id, "added": vary}
            await self.store.log_sync(of.connection_id, report, at)
        elif what in ("disconnect", "erase"):
            await self.store.disconnect(of, erase=what == "erase", at=at)
        elif what == "forget":
            await self.store.forget(owner)
        await self.store.prune(at, KEEP)

    async def seen_by(self, owner: str) -> dict[str, Any]:
        """All that an owner can see, without the store's own numbers."""
        store = self.store
        connections = await store.connections(owner)
        try:
            changes = [attrs.evolve(one, position=0) for one in await store.changes(owner, 0)]
        except FeedPositionError:
            changes = []
        exported = [
            {name: value for name, value in one.items() if name != "position"} for one in await export(store, owner)
        ]
        return {
            "connections": connections,
            "accounts": [await store.accounts(one.connection_id) for one in connections],
            "reports": [await store.last_report(one.connection_id) for one in connections],
            "bookmarks": [await store.bookmark(one.connection_id, "fills", "") for one in connections],
            "trades": await store.trades(owner, attrs.evolve(ALL)),
            "changes": changes,
            "counts": await store.counts(owner),
            "spans": await store.spans(owner, "paper", "fills"),
            "quarantined": await store.quarantined(owner),
            "export": sorted(map(str, exported)),
            "key": await store.wrapped_key(owner),
        }


async def _seen(steps: Sequence[tuple[int, Step]], owner: str) -> dict[str, Any]:
    desk = Desk()
    await desk.store.open()
    try:
        for number, step in steps:
            await desk.do(number, step)
        # both are pruned as of the same moment
        await desk.store.prune(START + 18 * _STEP, KEEP)
        seen = await desk.seen_by(owner)
    finally:
        await desk.store.close()
    trades, _ = seen["trades"]
    return seen | {"trades": trades}


@settings(deadline=None, max_examples=60)
@given(steps)
def test_an_owner_sees_what_the_owner_would_see_alone(steps: list[Step]) -> None:
    begun: list[Step] = [(owner, what, 0) for what in ("connect", "sync") for owner in ("a", "b")]
    numbered = list(enumerate([*begun, *steps]))
    for owner in ("a", "b"):
        alone = [(number, step) for number, step in numbered if step[0] == owner]
        assert asyncio.run(_seen(numbered, owner)) == asyncio.run(_seen(alone, owner))
