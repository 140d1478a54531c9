"""An explanation as a person reads it: the answer, then the evidence."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from brokersync.cli.tables import console, plain
from brokersync.converter import decimal_text
from brokersync.explaining import ExplainedBooking, Explanation, SourceAnswer, SourceState, trade_text
from brokersync.sync.days import stretch_text
from brokersync.types import BrokerTrade, TradeStatus

if TYPE_CHECKING:
    from rich.console import Console

_WIDEST = 100
_SHOWN = 10
_STYLES = {
    SourceState.FINAL: "green",
    SourceState.PROVISIONAL: "green",
    SourceState.LOST: "red",
    SourceState.FAILED: "red",
    SourceState.WAITS: "yellow",
    SourceState.UNREAD: "yellow",
    SourceState.LATER: "yellow",
    SourceState.PARTLY: "yellow",
}


class _Page:
    """Lines under headings, broken between words."""

    def __init__(self) -> None:
        self.out: Console = console()
        self._width = min(self.out.width, _WIDEST) if self.out.is_terminal else self.out.width

    def answer(self, text: str) -> None:
        self.out.print(plain(textwrap.fill(text, self._width, break_on_hyphens=False), "bold"))

    def heading(self, text: str) -> None:
        self.out.print()
        self.out.print(plain(text, "bold"))

    def line(self, text: str, indent: int = 2, style: str = "") -> None:
        filled = textwrap.fill(
            text,
            self._width,
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + 2),
            break_on_hyphens=False,
        )
        self.out.print(plain(filled, style))


def show(found: Explanation, *, raw: bool) -> None:
    """Write the answer and what it rests on."""
    page = _Page()
    page.answer(found.verdict)
    account = found.account
    asked = [text for text in (found.symbol, found.day and found.day.isoformat(), found.trade_id) if text]
    page.out.print()
    page.line(
        f"asked: {account.provider} {account.environment} {account.account_id}, {', '.join(asked)}",
        indent=0,
        style="dim",
    )
    _rows(page, found, raw)
    if found.sources:
        page.heading(f"What the sources say of {found.day}")
        for answer in found.sources:
            _source(page, answer)
    _quarantined(page, found.quarantined, raw)
    _trades(page, "Did you mean one of these, of the same day?", found.similar)
    _trades(page, f"{found.symbol} on the days around", found.nearby)


def _rows(page: _Page, found: Explanation, raw: bool) -> None:
    for trade in found.trades:
        page.heading(f"{trade_text(trade)}{' (cancelled)' if trade.status is TradeStatus.CANCELLED else ''}")
        facts = [f"trade {trade.trade_id}", f"revision {trade.revision}"]
        facts += [f"{fee.kind.value} {decimal_text(fee.amount)} {fee.currency}" for fee in trade.fees]
        page.line(", ".join(facts), style="dim")
        for row in found.bookings:
            if row.trade_id == trade.trade_id:
                _row(page, row, raw)
    waiting = [row for row in found.bookings if row.trade_id is None]
    if waiting:
        page.heading("Rows that wait for another one")
        for row in waiting:
            _row(page, row, raw)


def _row(page: _Page, row: ExplainedBooking, raw: bool) -> None:
    page.line(f"{row.source} {row.booking_id} ({row.effect.value}): {row.words}")
    told = [f"read {_moment(row.read_at)}"] if row.read_at else []
    if row.asked:
        told.append(f"in the window {stretch_text(row.asked, 'UTC')}")
    if row.file:
        told.append(f"from the file {row.file}")
    if row.as_of:
        told.append(f"which the broker made {_moment(row.as_of)}")
    if told:
        page.line(", ".join(told), indent=4, style="dim")
    if raw:
        _raw(page, row.raw)


def _source(page: _Page, answer: SourceAnswer) -> None:
    when = f" {_moment(answer.read_at)}" if answer.read_at else ""
    asked = f", with {stretch_text(answer.asked, answer.zone)}" if answer.asked and answer.read_at else ""
    words = answer.words.rstrip(".")
    page.line(f"{answer.source}: {words}{when and f' (last{when}{asked})'}", style=_STYLES.get(answer.state, ""))
    if answer.by_booking:
        page.line("its days are days of booking: a trade may be booked on a later one", indent=4, style="dim")
    if answer.unread_beside:
        page.line(
            f"of the hours around it not read completely: {'; '.join(answer.unread_beside)}", indent=4, style="dim"
        )
    if answer.skipped:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(answer.skipped.items()))
        page.line(f"that sync passed over: {counts}", indent=4, style="dim")


def _quarantined(page: _Page, rows: Iterable[Mapping[str, Any]], raw: bool) -> None:
    rows = list(rows)
    if not rows:
        return
    page.heading("Rows that were not understood and may be it")
    for row in rows[:_SHOWN]:
        page.line(f"{row['source']}, first seen {str(row['first_seen'])[:16].replace('T', ' ')} UTC: {row['reason']}")
        if raw or row["sure"]:
            _raw(page, row["raw"])
    if len(rows) > _SHOWN:
        page.line(f"... and {len(rows) - _SHOWN} more: --json shows them all")


def _raw(page: _Page, raw: Mapping[str, Any] | None) -> None:
    if raw is None:
        page.line("the broker's own row is not kept any more", indent=4, style="dim")
        return
    told = {name: value for name, value in raw.items() if value not in ("", None)}
    page.line(json.dumps(told, ensure_ascii=False), indent=4, style="dim")


def _trades(page: _Page, title: str, trades: Iterable[BrokerTrade]) -> None:
    trades = list(trades)
    if not trades:
        return
    page.heading(title)
    for one in trades[:_SHOWN]:
        cancelled = " (cancelled)" if one.status is TradeStatus.CANCELLED else ""
        page.line(f"{trade_text(one)}{cancelled}, as {one.trade_id}")
    if len(trades) > _SHOWN:
        page.line(f"... and {len(trades) - _SHOWN} more: --json shows them all")


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else ""
