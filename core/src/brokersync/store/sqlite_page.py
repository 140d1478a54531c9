"""One page's transaction: bookings, sets, trades, changes, coverage, cursor."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

import attrs

from brokersync.converter import instant_text
from brokersync.records import AccountKey, ChangeCause, ChangeKind, KeptBooking, PageCommit, PageOutcome, Span
from brokersync.store.protocol import PageRules
from brokersync.store.rows import (
    booking_content,
    compact,
    differences,
    load_booking,
    load_span,
    pack_raw,
    sortable,
    trade_content,
)
from brokersync.store.sqlite_accounts import account_number, put_accounts
from brokersync.store.sqlite_quarantine import has_quarantine, put_in_quarantine, release
from brokersync.types import BookingEffect, BrokerTrade, TradeBooking


def commit_page(db: sqlite3.Connection, page: PageCommit, rules: PageRules) -> PageOutcome:
    """Everything of one page; the caller opened the transaction and ends it."""
    return _Page(db, page, rules).commit()


@attrs.define
class _Counts:
    added: int = 0
    modified: int = 0
    removed: int = 0
    unchanged: int = 0
    quarantined: int = 0
    waiting: int = 0


class _Page:
    def __init__(self, db: sqlite3.Connection, page: PageCommit, rules: PageRules) -> None:
        self._db, self._page, self._rules = db, page, rules
        self._numbers: dict[tuple[str, str], int] = {}
        self._counts = _Counts()
        self._touched: dict[int, int] = {}
        self._kinds: dict[int, ChangeKind] = {}
        self._has_quarantine = has_quarantine(db, page)

    def commit(self) -> PageOutcome:
        put_accounts(self._db, self._page.owner, self._page.provider, self._page.connection_id, self._page.accounts)
        kept = [self._keep(booking) for booking in self._page.bookings]
        for set_id, account in self._touched.items():
            self._refold(account, set_id)
        for row in self._page.quarantined:
            put_in_quarantine(self._db, self._page, row)
            self._counts.quarantined += 1
        for key, span in self._page.spans:
            self._cover(key, span)
        self._keep_request()
        return PageOutcome(
            **attrs.asdict(self._counts), dispositions=tuple(self._disposition(number) for number in kept)
        )

    def _number(self, environment: str, account_id: str) -> int:
        known = self._numbers.get((environment, account_id))
        if known is None:
            known = account_number(self._db, self._page.owner, self._page.provider, environment, account_id)
            self._numbers[environment, account_id] = known
            if self._page.connection_id is not None:
                self._db.execute(
                    "INSERT OR IGNORE INTO connection_accounts VALUES (?, ?)", (self._page.connection_id, known)
                )
        return known

    def _keep(self, booking: TradeBooking) -> int | None:
        """Write a booking that is new or has changed; its number, or `None` when it was known as it is."""
        account = self._number(booking.environment, booking.account_id)
        content, digest = booking_content(booking)
        key = (account, self._page.source, booking.booking_id)
        known = self._db.execute(
            "SELECT booking, hash FROM bookings WHERE account = ? AND source = ? AND booking_id = ?", key
        ).fetchone()
        if known and known[1] == digest:
            self._counts.unchanged += 1
            return None
        set_id = self._join(account, booking)
        number = self._write(key, set_id, booking, content, digest, known[0] if known else None)
        raw = booking.raw or (booking.trade.raw if booking.trade else None)
        if raw:
            self._db.execute("INSERT OR REPLACE INTO raw_rows VALUES (?, ?)", (number, pack_raw(raw)))
            if self._has_quarantine:
                release(self._db, self._page, raw)
        self._touched[set_id] = account
        return number

    def _write(
        self,
        key: tuple[int, str, str],
        set_id: int,
        booking: TradeBooking,
        content: str,
        digest: bytes,
        known: int | None,
    ) -> int:
        if known is not None:
            self._db.execute(
                "UPDATE bookings SET set_id = ?, version = version + 1, is_cancel = ?, hash = ?, content = ?"
                " WHERE booking = ?",
                (set_id, booking.effect is BookingEffect.CANCEL, digest, content, known),
            )
            return known
        made = self._db.execute(
            "INSERT INTO bookings (account, source, booking_id, set_id, version, is_cancel, hash, content)"
            " VALUES (?, ?, ?, ?, 1, ?, ?, ?)",
            (*key, set_id, booking.effect is BookingEffect.CANCEL, digest, content),
        )
        return int(made.lastrowid or 0)

    def _join(self, account: int, booking: TradeBooking) -> int:
        """The set of all bookings that share a name with this one, joined into one where there were several."""
        names = {*booking.names, *booking.loose_refs}
        marks = ",".join("?" * len(names))
        found = self._db.execute(
            f"SELECT DISTINCT set_id FROM booking_names WHERE account = ? AND name IN ({marks})",
            (account, *names),
        ).fetchall()
        sets = sorted(row[0] for row in found)
        self._counts.waiting -= sum(self._waiting(known) for known in sets if known not in self._touched)
        set_id = sets[0] if sets else self._new_set()
        for other in sets[1:]:
            for table in ("bookings", "booking_names", "trades"):
                self._db.execute(f"UPDATE {table} SET set_id = ? WHERE set_id = ?", (set_id, other))
            self._touched.pop(other, None)
        self._db.executemany(
            "INSERT OR IGNORE INTO booking_names VALUES (?, ?, ?)", [(account, name, set_id) for name in sorted(names)]
        )
        return set_id

    def _waiting(self, set_id: int) -> int:
        """How many cancels of a set wait for their target: all of its bookings, while it has no trade."""
        (waiting,) = self._db.execute(
            "SELECT count(*) FROM bookings WHERE set_id = ? AND NOT EXISTS (SELECT 1 FROM trades WHERE set_id = ?)",
            (set_id, set_id),
        ).fetchone()
        return int(waiting)

    def _new_set(self) -> int:
        (highest,) = self._db.execute("SELECT coalesce(max(set_id), 0) FROM booking_names").fetchone()
        return int(highest) + 1

    def _refold(self, account: int, set_id: int) -> None:
        rows = self._db.execute("SELECT source, version, content FROM bookings WHERE set_id = ?", (set_id,)).fetchall()
        bookings = [
            KeptBooking(
                source=source, version=version, precedence=self._rules.precedence(source), booking=load_booking(content)
            )
            for source, version, content in rows
        ]
        now = {trade.trade_id: trade for trade in self._rules.fold(bookings)}
        before = dict(self._db.execute("SELECT trade_id, content FROM trades WHERE set_id = ?", (set_id,)).fetchall())
        if not now:
            self._counts.waiting += len(bookings)
        for trade_id, trade in now.items():
            self._put_trade(account, set_id, trade, before.get(trade_id))
        for gone in before.keys() - now.keys():
            heir = _heir(gone, [row.booking for row in bookings], sorted(now))
            self._remove_trade(account, set_id, gone, json.loads(before[gone])["revision"], heir)

    def _put_trade(self, account: int, set_id: int, trade: BrokerTrade, before: str | None) -> None:
        content = trade_content(trade)
        if before == content:
            return
        changed = set() if before is None else differences(before, content)
        self._write_trade(account, set_id, trade, content)
        if before is not None and not changed:
            # a lower source said the same again: the trade did not change for anybody who reads it
            return
        kind = ChangeKind.ADDED if before is None else ChangeKind.MODIFIED
        if kind is ChangeKind.ADDED:
            self._counts.added += 1
        else:
            self._counts.modified += 1
        self._kinds[set_id] = kind
        self._change(account, trade.trade_id, kind, self._cause(kind, changed), trade.revision, None)

    def _write_trade(self, account: int, set_id: int, trade: BrokerTrade, content: str) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO trades VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._page.owner, account, trade.trade_id, set_id, trade.revision, trade.status.value,
                sortable(trade.executed_at), trade.instrument.symbol, content,
            ),
        )  # fmt: skip

    def _remove_trade(self, account: int, set_id: int, trade_id: str, revision: int, heir: str | None) -> None:
        self._db.execute("DELETE FROM trades WHERE account = ? AND trade_id = ?", (account, trade_id))
        self._counts.removed += 1
        self._change(account, trade_id, ChangeKind.REMOVED, ChangeCause.CORRECTION, revision, heir)
        self._kinds.setdefault(set_id, ChangeKind.REMOVED)

    def _cause(self, kind: ChangeKind, changed: set[str]) -> ChangeCause:
        if self._page.from_file:
            return ChangeCause.FILE
        if kind is ChangeKind.ADDED:
            return ChangeCause.BROKER
        if changed & {"status", "quantity", "price", "side", "executed_at"}:
            return ChangeCause.CORRECTION
        return ChangeCause.LATE_FEE if changed <= {"fees", "fees_state", "net_cash"} else ChangeCause.BROKER

    def _change(
        self, account: int, trade_id: str, kind: ChangeKind, cause: ChangeCause, revision: int, merged_into: str | None
    ) -> None:
        self._db.execute(
            "INSERT INTO changes (owner, account, trade_id, kind, cause, revision, at, merged_into)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._page.owner, account, trade_id, kind.value, cause.value, revision,
                instant_text(self._page.at), merged_into,
            ),
        )  # fmt: skip

    def _disposition(self, booking: int | None) -> str:
        if booking is None:
            return "unchanged"
        # asked only now: a later row of the page may have joined the booking's set to another one
        (set_id,) = self._db.execute("SELECT set_id FROM bookings WHERE booking = ?", (booking,)).fetchone()
        kind = self._kinds.get(set_id)
        if kind is not None:
            return kind.value
        has_trade = self._db.execute("SELECT 1 FROM trades WHERE set_id = ?", (set_id,)).fetchone()
        return "known" if has_trade else "waiting"

    def _cover(self, key: AccountKey, span: Span) -> None:
        account = self._number(key.environment, key.account_id)
        known = self._db.execute(
            "SELECT starts, ends, state FROM coverage WHERE account = ? AND source = ? ORDER BY starts",
            (account, self._page.source),
        )
        before = tuple(load_span(*row) for row in known)
        after = self._rules.cover(before, span)
        if before == after:
            return
        self._db.execute("DELETE FROM coverage WHERE account = ? AND source = ?", (account, self._page.source))
        self._db.executemany(
            "INSERT INTO coverage VALUES (?, ?, ?, ?, ?)",
            [
                (account, self._page.source, sortable(one.window.start), sortable(one.window.end), one.state.value)
                for one in after
            ],
        )

    def _keep_request(self) -> None:
        if self._page.connection_id is None:
            return
        key = (self._page.connection_id, self._page.source, self._page.request_account)
        if self._page.ends_request:
            self._db.execute("DELETE FROM open_requests WHERE (connection_id, source, account) = (?, ?, ?)", key)
            self._keep_finished(key)
        elif self._page.next_request is not None:
            self._db.execute(
                "INSERT OR REPLACE INTO open_requests VALUES (?, ?, ?, ?)", (*key, compact(self._page.next_request))
            )
        if self._page.bookmark is not None:
            self._db.execute("INSERT OR REPLACE INTO bookmarks VALUES (?, ?, ?, ?)", (*key, self._page.bookmark))

    def _keep_finished(self, key: tuple[str, str, str]) -> None:
        window = self._page.finished
        if window is not None:
            self._db.execute(
                "INSERT OR REPLACE INTO finished_windows VALUES (?, ?, ?, ?, ?, ?)",
                (*key, sortable(window.start), sortable(window.end), sortable(self._page.at)),
            )


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
