"""Sets of bookings to trades in the store, and to changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import attrs

from brokersync.dispositions import Disposition, Folded
from brokersync.records import ChangeCause, ChangeKind, KeptBooking, PageCommit
from brokersync.store.contents import differences, trade_content
from brokersync.store.feed import NewChange
from brokersync.store.protocol import PageRules
from brokersync.store.rows import optional_moment, sortable
from brokersync.store.sets import Sets
from brokersync.store.sql import Fetch, Many, Put, Script
from brokersync.types import BrokerTrade, TradeBooking

_COLUMNS = (
    "owner", "account", "trade_id", "set_id", "revision", "status", "executed_at", "symbol", "content",
)  # fmt: skip


@attrs.frozen(kw_only=True)
class Member:
    """One booking of a set."""

    source: str
    version: int
    booking: TradeBooking
    as_of: str | None


@attrs.define
class Refolded:
    """What became of the sets; `waiting` counts the cancels in them that wait for their target."""

    changes: tuple[NewChange, ...] = ()
    waiting: int = 0
    _kinds: dict[int, ChangeKind] = attrs.field(factory=dict)
    _with_trade: set[int] = attrs.field(factory=set)
    _fates: dict[tuple[int, str], Disposition] = attrs.field(factory=dict)

    def disposition(self, set_id: int) -> str:
        """What became of a booking of that set."""
        kind = self._kinds.get(set_id)
        if kind is not None:
            return kind.value
        return "known" if set_id in self._with_trade else "waiting"

    def fate(self, account: int, booking_id: str) -> Disposition:
        """The disposition of a booking of the page's source, whose set was touched."""
        return self._fates[account, booking_id]


def refold(page: PageCommit, rules: PageRules, sets: Sets, members: Mapping[int, Sequence[Member]]) -> Script[Refolded]:
    """Fold each touched set again and write what follows from it."""
    before = yield from _trades_before(sets)
    work = _Work(page, before)
    for set_id, account in sets.touched.items():
        rows = [
            KeptBooking(
                source=one.source,
                version=one.version,
                precedence=rules.precedence(one.source),
                booking=one.booking,
                # a row alone has nobody to be older than
                as_of=optional_moment(one.as_of) if len(members[set_id]) > 1 else None,
            )
            for one in members[set_id]
        ]
        work.fold(account, set_id, rows, rules.fold(rows))
    yield Many("DELETE FROM trades WHERE account = ? AND trade_id = ?", work.deletes)
    yield Put("trades", _COLUMNS, list(work.writes.values()), key=("account", "trade_id"), replace=True)
    return Refolded(tuple(work.changes), work.waiting, work.kinds, work.with_trade, work.fates)


def _trades_before(sets: Sets) -> Script[dict[int, dict[str, str]]]:
    found: dict[int, dict[str, str]] = {}
    if old := sets.touched_before:
        rows = yield Fetch("SELECT set_id, trade_id, content FROM trades WHERE set_id IN (??)", (old,))
        for set_id, trade_id, content in rows:
            found.setdefault(set_id, {})[trade_id] = content
    return found


class _Work:
    def __init__(self, page: PageCommit, before: Mapping[int, Mapping[str, str]]) -> None:
        self._page, self._before = page, before
        self.changes: list[NewChange] = []
        self.writes: dict[tuple[int, str], tuple[object, ...]] = {}
        self.deletes: list[tuple[int, str]] = []
        self.kinds: dict[int, ChangeKind] = {}
        self.with_trade: set[int] = set()
        self.fates: dict[tuple[int, str], Disposition] = {}
        self.waiting = 0

    def fold(self, account: int, set_id: int, rows: Sequence[KeptBooking], folded: Folded) -> None:
        before, now = self._before.get(set_id, {}), {trade.trade_id: trade for trade in folded.trades}
        for ruling in folded.rulings:
            if ruling.booking.source == self._page.source:
                self.fates[account, ruling.booking.booking_id] = ruling.disposition
        if now:
            self.with_trade.add(set_id)
        else:
            self.waiting += len(rows)
        for trade_id, trade in now.items():
            self._put(account, set_id, trade, before.get(trade_id))
        for gone in before.keys() - now.keys():
            self.deletes.append((account, gone))
            heir = _heir(gone, [row.booking for row in rows], sorted(now))
            revision = json.loads(before[gone])["revision"]
            cause = self._page.cause or ChangeCause.CORRECTION
            self._change(account, set_id, gone, ChangeKind.REMOVED, cause, revision, heir)

    def _put(self, account: int, set_id: int, trade: BrokerTrade, before: str | None) -> None:
        content = trade_content(trade)
        if before == content:
            return
        changed = set() if before is None else differences(before, content)
        self.writes[account, trade.trade_id] = (
            self._page.owner, account, trade.trade_id, set_id, trade.revision, trade.status.value,
            sortable(trade.executed_at), trade.instrument.symbol, content,
        )  # fmt: skip
        if before is not None and not changed:
            # a lower source said the same again: the trade did not change for anybody who reads it
            return
        kind = ChangeKind.ADDED if before is None else ChangeKind.MODIFIED
        self._change(account, set_id, trade.trade_id, kind, self._cause(kind, changed), trade.revision, None)

    def _change(
        self,
        account: int,
        set_id: int,
        trade_id: str,
        kind: ChangeKind,
        cause: ChangeCause,
        revision: int,
        merged_into: str | None,
    ) -> None:
        if kind is ChangeKind.REMOVED:
            self.kinds.setdefault(set_id, kind)
        else:
            self.kinds[set_id] = kind
        self.changes.append(
            NewChange(
                account=account, trade_id=trade_id, kind=kind, cause=cause, revision=revision, merged_into=merged_into
            )
        )

    def _cause(self, kind: ChangeKind, changed: set[str]) -> ChangeCause:
        if self._page.cause is not None:
            return self._page.cause
        if kind is ChangeKind.ADDED:
            return ChangeCause.BROKER
        if changed & {"status", "quantity", "price", "side", "executed_at"}:
            return ChangeCause.CORRECTION
        return ChangeCause.LATE_FEE if changed <= {"fees", "fees_state", "net_cash"} else ChangeCause.BROKER


def _heir(gone: str, bookings: Sequence[TradeBooking], keys: Sequence[str]) -> str | None:
    """The key under which the rows that were published as `gone` stand now."""
    held = {name for booking in bookings for name in booking.names}
    linked = [{*booking.names, *held.intersection(booking.loose_refs)} for booking in bookings]
    names: set[str] = set()
    met = {gone}
    while met != names:
        names = met
        met = names.union(*(links for links in linked if names & links))
    return next((key for key in keys if key in names), None)
