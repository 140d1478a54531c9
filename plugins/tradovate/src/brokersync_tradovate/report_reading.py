"""What both reports tell of one window of one account, and what they do not tell yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from io import StringIO

import attrs

from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerResponseError,
    ProviderContext,
    QuarantinedRow,
    TimeWindow,
    TradeBooking,
    TradePage,
)
from brokersync_tradovate.aside import aside
from brokersync_tradovate.cash_asks import CashHistoryAsks
from brokersync_tradovate.cash_history import CashHistory
from brokersync_tradovate.cash_reading import CashHistoryReading, UnreadError
from brokersync_tradovate.certainty import (
    BOOKED_WITHIN,
    COMPARED_WITHIN,
    IN_PARTS,
    WAITS,
    booked_until,
    second_of,
)
from brokersync_tradovate.charges import UNREAD, UNTOLD, FillCharges, charges_by_fill, place_of
from brokersync_tradovate.client import TradovateClient
from brokersync_tradovate.fills_report import BadRow, FillsReport, ReportFill
from brokersync_tradovate.identity import name_of
from brokersync_tradovate.instruments import ReferenceData
from brokersync_tradovate.outcomes import report_outcome
from brokersync_tradovate.references import Reference
from brokersync_tradovate.report_doubts import NO_HISTORY, doubts_about
from brokersync_tradovate.shortfall import (
    LEFT_OUT,
    Shortfall,
    commissions_without_fill,
    fills_short_of_a_fee,
    fills_without_fees,
)
from brokersync_tradovate.tables import TableError
from brokersync_tradovate.waiting_days import FEES_WAIT, FIRST_WAIT, Lacking, WaitingDays, days_between

_FINAL_AFTER = timedelta(hours=24)
_A_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_NONE = FillCharges({}, "nothing is told")


@attrs.frozen(kw_only=True)
class Told:
    """What the reports tell of one window of one account, and what was new to us in them.

    `first_open` is the first day with a fill whose fees may yet become others or sure, if there is one. `again` are
    days of which something is missing that may be there the next time. `waits` are those that wait for their turn, with
    what each lacks; each sync asks for new ones for as long as `eager`. With `keeps_waits` those stay as they were.
    """

    rows: Sequence[ReportFill | BadRow]
    charges: Mapping[int, FillCharges]
    unmapped: Mapping[str, int]
    first_open: date | None = None
    again: Collection[date] = ()
    waits: Lacking = attrs.field(factory=dict)
    eager: timedelta = timedelta(0)
    keeps_waits: bool = False


class ReportReading:
    """One window of one account.

    What a fill cost may be booked days later, and is its own for sure only if it is no later fill's and others before
    it cost the same. So both reports are asked for some days more than the window has, before and after it; the fills
    of those are another window's.
    """

    def __init__(
        self,
        context: ProviderContext,
        client: TradovateClient,
        auth: AuthResult,
        account: BrokerAccount,
        window: TimeWindow,
    ) -> None:
        self._context, self._client, self._auth, self._account = context, client, auth, account
        self._days = days_of(window)
        self._start, last = self._days[0], self._days[-1]
        self._today = context.clock.now().date()
        self._after = last + _A_DAY
        self._first = _first_asked(self._start, account)
        self._last = max(last, min(last + BOOKED_WITHIN, self._today))
        self._until = min(self._last + _A_DAY, self._today)
        self._waiting = WaitingDays(context, account)
        asks = CashHistoryAsks(context, account, settled=window.end <= settled_until(context.clock.now(), None))
        self._cash = CashHistoryReading(client, auth, account, asks)

    async def told(self) -> Told:
        """Raises `BrokerError` where the fills can not be read; what they cost can wait."""
        unmapped: Counter[str] = Counter()
        rows = [self._of_the_days(row) for row in await self._fills(unmapped)]
        own = [row for row in rows if self._is_own(row)]
        fills = [row for row in own if isinstance(row, ReportFill)]
        try:
            history = await self._cash.read(self._first, self._last, unmapped)
        except UnreadError as error:
            return await self._unread(own, fills, error, unmapped)
        return await self._joined(rows, own, history, unmapped)

    async def _unread(
        self,
        own: Sequence[ReportFill | BadRow],
        fills: Sequence[ReportFill],
        error: UnreadError,
        unmapped: Counter[str],
    ) -> Told:
        """A Fills report without fills is believed where the Cash History is refused, and none was told before."""
        known = await self._waiting.known(self._days)
        told = {_day_of(fill) for fill in fills}
        # of fills that this report tells it is said why their fees wait now
        lacks = {day: Counter(_left_out(one) if day in told else one) for day, one in known.items()}
        for fill in fills:
            lacks.setdefault(_day_of(fill), Counter())[str(error)] += 1
        unmapped.update(sum(lacks.values(), Counter()))
        waits = {day: dict(lacks.get(day, {})) for day in self._days} if lacks else {}
        return Told(
            rows=own,
            charges={row.fill.id: UNREAD for row in fills},
            unmapped=unmapped,
            again=self._days if error.passes else waits.keys(),
            waits=waits,
            keeps_waits=error.passes,
        )

    async def _joined(
        self,
        rows: Sequence[ReportFill | BadRow],
        own: Sequence[ReportFill | BadRow],
        history: CashHistory,
        unmapped: Counter[str],
    ) -> Told:
        """The rows of the window with their fees, as far as the Cash History says those for sure."""
        fills = [row for row in own if isinstance(row, ReportFill)]
        charges, left = await aside(lambda each: charges_by_fill(rows, history, self._until, each))
        of_the_window = [charge for charge in left if self._is_in(charge.second.date())]
        booked = {charge.place for charge in history.charges if charge.fee == "commission"}
        without_fees = [one for one in rows if isinstance(one, ReportFill) and place_of(one) not in booked]
        missing = Shortfall(
            fills_without_fees(fills, history, left, self._until),
            fills_short_of_a_fee(fills, rows, charges, left, self._until),
            commissions_without_fill(of_the_window, rows, without_fees, self._until),
        )
        unread = {day for day in history.unread if self._is_in(day)}
        waited = await self._waiting.waited(missing.days | unread)
        charges |= {row.fill.id: UNTOLD for row in missing.fills if waited[second_of(row).date()] < FIRST_WAIT}
        waits = missing.by_day(lambda day: waited[day] < FEES_WAIT)
        for day, lacks in (await self._waiting.known(unread)).items():
            if left_out := _left_out(lacks):
                waits[day] = {**waits.get(day, {}), **left_out}
                unmapped.update(left_out)
        for day in unread:
            if day in waits or waited[day] < FEES_WAIT:
                waits[day] = {**waits.get(day, {}), NO_HISTORY: 1}
        unsure = {_day_of(row) for row in fills if not charges.get(row.fill.id, _NONE).certain}
        near = {day for day in unsure if any(abs(day - one) <= COMPARED_WITHIN for one in waits)}
        in_parts = {_day_of(row) for row in fills if charges.get(row.fill.id, _NONE).doubt in (UNREAD.doubt, IN_PARTS)}
        unmapped.update(missing.counts())
        unmapped.update(doubts_about(fills, charges, of_the_window, unread))
        opened = (_day_of(row) for row in fills if self._is_open(row, charges.get(row.fill.id)))
        return Told(
            rows=own,
            charges=charges,
            unmapped=unmapped,
            first_open=min(opened, default=None),
            again=in_parts | near | waits.keys(),
            waits={day: waits.get(day, {}) for day in near | waits.keys()},
            eager=FIRST_WAIT,
        )

    async def note(self, told: Told) -> None:
        """Keep which days wait. Said once the rows are kept, as days that rest are not asked for."""
        if not told.keeps_waits:
            days = days_between(min(told.waits), max(told.waits)) if told.waits else ()
            await self._waiting.asked_in_vain(days, told.waits, eager=told.eager, among=self._days)

    async def page(self, rows: Sequence[ReportFill | BadRow], charges: Mapping[int, FillCharges]) -> TradePage:
        """These rows, none of them covering anything."""
        unmapped: Counter[str] = Counter()
        symbols = {row.fill.contract_id: row.contract for row in rows if isinstance(row, ReportFill)}
        references = ReferenceData(self._context, self._client, self._auth, self._account.environment, unmapped)
        contracts = await references.contracts(symbols)
        outcomes = [self._outcome(row, contracts, charges) for row in rows]
        return TradePage(
            bookings=tuple(one for one in outcomes if isinstance(one, TradeBooking)),
            quarantined=tuple(one for one in outcomes if isinstance(one, QuarantinedRow)),
            unmapped=dict(unmapped),
            rows=len(rows),
        )

    async def _fills(self, unmapped: Counter[str]) -> list[ReportFill | BadRow]:
        text = await self._client.report(self._auth, self._account, "Fills", self._first, self._last)
        lines = StringIO(text, newline="")
        try:
            report, rows = await aside(lambda each: _read_fills(each(lines)))
        except TableError as error:
            raise BrokerResponseError(f"Tradovate's Fills report {error}.") from None
        unmapped.update(f"Fills report without the column {name}" for name in report.absent_columns)
        return rows

    def _is_in(self, day: date) -> bool:
        return self._start <= day < self._after

    def _is_own(self, row: ReportFill | BadRow) -> bool:
        """Whether no other window tells of it, which is asked for on the days of its own."""
        day = row.shown and row.shown.date() if isinstance(row, BadRow) else row.fill.timestamp.date()
        if day is None or day < self._first:
            return True
        return self._start <= day and (isinstance(row, BadRow) or day < self._after)

    def _is_open(self, row: ReportFill, charges: FillCharges | None) -> bool:
        """Whether a fee of it may still be booked, or of another fill that may confirm its own; a trade date that is
        far away is a mistake, and not waited for."""
        waits = booked_until(row) >= self._until or (charges is not None and charges.doubt == WAITS)
        return waits and row.fill.timestamp.date() + BOOKED_WITHIN >= self._until

    def _of_the_days(self, row: ReportFill | BadRow) -> ReportFill | BadRow:
        """No other window would ask for a row that lies behind the days that were asked for, so it is held."""
        if isinstance(row, BadRow) or row.fill.timestamp.date() <= self._last:
            return row
        return BadRow(
            f"its time is {row.fill.timestamp:%Y-%m-%d}, and the days until {self._last} were asked for",
            row.written,
            name=name_of(row.fill.id),
            account_id=row.account_id,
            contract=row.contract,
            shown=row.shown,
        )

    def _outcome(
        self, row: ReportFill | BadRow, contracts: Mapping[int, Reference], charges: Mapping[int, FillCharges]
    ) -> TradeBooking | QuarantinedRow:
        environment, account_id = self._account.environment, self._account.account_id
        if isinstance(row, BadRow):
            return report_outcome(row, None, environment=environment, account_id=account_id)
        return report_outcome(
            row,
            contracts[row.fill.contract_id],
            environment=environment,
            account_id=account_id,
            charges=charges.get(row.fill.id),
        )


def _read_fills(lines: Iterable[str]) -> tuple[FillsReport, list[ReportFill | BadRow]]:
    report = FillsReport(lines)
    return report, list(report.rows())


def _first_asked(start: date, account: BrokerAccount) -> date:
    """A few days before a window, but none on which the account did not exist."""
    opened = account.opened_at.date() if account.opened_at else None
    return min(start, max(start - COMPARED_WITHIN, opened or start - COMPARED_WITHIN))


def _left_out(lacks: Mapping[str, int]) -> dict[str, int]:
    return {LEFT_OUT: count} if (count := lacks.get(LEFT_OUT, 0)) else {}


def _day_of(row: ReportFill) -> date:
    return row.fill.timestamp.date()


def days_of(window: TimeWindow) -> Sequence[date]:
    """The UTC days of a window."""
    return list(days_between(window.start.date(), (window.end - _INSTANT).date()))


def settled_until(now: datetime, first_open: date | None) -> datetime:
    """Up to when all is booked: the UTC day that had begun 24 hours ago, or one before it that is open."""
    day = (now - _FINAL_AFTER).date()
    return datetime.combine(min(day, first_open or day), time(), UTC)
