"""A document to pages: rows to bookings, and at the end what the statements prove."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from itertools import compress
from typing import BinaryIO, Final

import attrs

from brokersync.plugin import BrokerAccount, CoveredSpan, QuarantinedRow, TradeBooking, TradePage
from brokersync_ibkr.accountbook import AccountBook, of_nobody
from brokersync_ibkr.accounts import Held, is_consolidated
from brokersync_ibkr.allocations import ALLOCATED, TOLD_THERE, is_allocation, mark_of
from brokersync_ibkr.aside import Aside
from brokersync_ibkr.commissions import CommissionDetails
from brokersync_ibkr.confirmed import Confirmed
from brokersync_ibkr.costs import RowPlace, of_the_account
from brokersync_ibkr.coverage import Days
from brokersync_ibkr.dates import FlexDates, Moment
from brokersync_ibkr.diagnosis import shown_alias, wrong_query
from brokersync_ibkr.documents import read_document
from brokersync_ibkr.instruments import text_of
from brokersync_ibkr.keptrows import CONFIRM, read_row, remember
from brokersync_ibkr.naming import AccountNames, is_of_several, usable_aliases
from brokersync_ibkr.normalise import Normaliser
from brokersync_ibkr.proof import Proof
from brokersync_ibkr.querycheck import missing_columns
from brokersync_ibkr.survey import DocumentFacts, LookAhead, is_fill, is_sum
from brokersync_ibkr.vocabulary import (
    CASH_SECTION,
    COST_ADJUSTMENTS,
    FILL_ELEMENTS,
    KNOWN_ATTRIBUTES,
    KNOWN_SECTIONS,
    QUERIES,
    SUMMARY_ELEMENTS,
    SUMMARY_LEVELS,
    TRADE_SECTIONS,
)

PAGE_SIZE: Final = 500
_LONGEST_WORD = 80
# days outside of these are no period of a statement, and near the ends of the calendar there is none to reckon with
_FIRST_YEAR, _LAST_YEAR = 1970, 2100


@attrs.frozen(kw_only=True)
class Reading:
    """What is known of a document before it is read.

    `environment` and `account_id` stand in where it does not tell them. `asked` are the days that were ordered,
    `expected` the query's type, `query_id` an Activity query's id, `accounts` those asked for, `known` all told of;
    `elsewhere` are told of by what the query has no part in, so only their names are of use.
    """

    environment: str = "live"
    account_id: str | None = None
    asked: Days | None = None
    expected: str | None = None
    query_id: str | None = None
    accounts: tuple[BrokerAccount, ...] = ()
    known: tuple[BrokerAccount, ...] = ()
    elsewhere: tuple[BrokerAccount, ...] = ()


def read_pages(file: BinaryIO, reading: Reading) -> Iterator[TradePage]:
    """The pages of the document that begins where the file stands; only the last one carries coverage.

    The file must be seekable. Raises `FlexSyntaxError`, or a `BrokerError` for a document that can not tell trades.
    """
    start = file.tell()
    with Aside() as aside:
        builder = _PageBuilder(reading, LookAhead(file, start), CommissionDetails(file, start, aside), aside)
        for _ in read_document(file, builder, sections=TRADE_SECTIONS | {CASH_SECTION}):
            yield from builder.full_pages()
        yield from builder.last_pages()


class _PageBuilder:
    def __init__(self, reading: Reading, ahead: LookAhead, details: CommissionDetails, aside: Aside) -> None:
        self._reading, self._ahead, self._details, self._confirmed = reading, ahead, details, Confirmed(aside)
        known = (*reading.known, *reading.accounts)
        self._dates = FlexDates(ahead.day_order)
        self._names = AccountNames(ahead.names, usable_aliases(known, reading.elsewhere), reading.account_id)
        self._facts, self._proof = DocumentFacts(), Proof(reading.asked)
        self._unmapped, self._skipped = Counter[str](), Counter[str]()
        self._normaliser = Normaliser(self._dates, self._note_unknown)
        self._bookings, self._quarantined = list[TradeBooking](), list[QuarantinedRow]()
        self._accounts = AccountBook(reading.environment, known, lambda: ahead.names().kinds)
        self._as_of: datetime | None = None
        self._ready: deque[TradePage] = deque()
        self._account: str | None = None
        self._told: str | None = None
        self._days: Days | None = None
        self._several, self._of_several, self._holders = False, False, set[str]()
        self._untold, self._has_commission_currency = 0, True
        self._columns: list[str] = []
        self._unknown_names: tuple[str, ...] = ()

    def document(self, attributes: Mapping[str, str]) -> None:
        kind, expected = attributes.get("type"), self._reading.expected
        self._facts.kind = kind
        if kind not in QUERIES:
            self._note_unknown(f"type={kind}")
        elif expected is not None and kind != expected:
            raise wrong_query(*QUERIES[expected])

    def statement(self, attributes: Mapping[str, str]) -> None:
        self._facts.statements += 1
        self._told = text_of(attributes, "accountId")
        self._account = self._names.find(self._told) if self._told else None
        self._several, self._holders = bool(self._told) and self._account is None, set()
        self._of_several = is_of_several(self._told or "", self._reading.query_id, self._reading.accounts)
        made = self._moment(attributes, "whenGenerated")
        self._begin(made.at if made else None)
        self._proof.made(made.at if made else None)
        if self._account is not None:
            self._accounts.meet(self._account)
        first, last = self._day(attributes, "fromDate"), self._day(attributes, "toDate")
        readable = first and last and _FIRST_YEAR <= first.year <= last.year <= _LAST_YEAR and first <= last
        self._days = Days(first, last) if readable and first and last else None
        if self._days is None:
            self._note_unknown("a statement without a readable period")
        if not self._several:
            self._proof.stated(self._account or self._reading.account_id or "", self._days)

    def section(self, name: str, attributes: Mapping[str, str]) -> None:
        self._facts.sections.add(name)
        if name not in KNOWN_SECTIONS:
            self._note_unknown(name)
        if name == "AccountInformation":
            self._describe(attributes)

    def row(self, section: str, element: str, names: list[str], values: list[str]) -> None:
        if section == CASH_SECTION:
            self._pass_over_cash(dict(zip(names, values, strict=True)))
            return
        self._untold += 1
        if element not in FILL_ELEMENTS:
            self._skipped[element[:_LONGEST_WORD]] += 1
            if element in SUMMARY_ELEMENTS:
                self._facts.sums += is_sum(element)
            else:
                self._note_unknown(f"{section}/{element}")
            return
        if names is not self._columns and names != self._columns:
            self._learn(names)
        raw = dict(compress(zip(names, values, strict=True), values))
        level = raw.get("levelOfDetail")
        if not is_fill(element, level):
            self._facts.sums += 1
            self._skipped[f"{element} {level}"] += 1
            if level not in SUMMARY_LEVELS:
                self._note_unknown(f"levelOfDetail={level}")
            return
        self._facts.fills += 1
        for name in self._unknown_names:
            self._note_unknown(f"{element}@{name}")
        self._book(element, raw)

    def _pass_over_cash(self, row: Mapping[str, str]) -> None:
        """What changes the cost of trades is counted, so that nobody wonders why their costs do not add up."""
        if (kind := row.get("type")) in COST_ADJUSTMENTS:
            self._untold += 1
            self._skipped[f"{kind}: {of_the_account(row)}"] += 1

    def statement_ends(self) -> None:
        if self._several and self._account is None and not (self._holders or self._of_several):
            raise shown_alias()
        if self._several or self._facts.confirmation:  # which does not say that it is of several
            query_id, before = self._reading.query_id, self._reading.accounts
            held = self._accounts.together(query_id, self._told or "", self._as_of, self._holders, before)
            for account_id in (*self._holders, *held):
                self._proof.stated(account_id, self._days, doubtful=held.get(account_id) is Held.DOUBTFUL)
        self._account = self._told = None

    def full_pages(self) -> Iterator[TradePage]:
        """The pages that are full by now."""
        if self._ready or len(self._bookings) >= PAGE_SIZE:
            self._facts.check_columns()
        while self._ready:
            yield self._ready.popleft()
        while len(self._bookings) >= PAGE_SIZE or len(self._quarantined) >= PAGE_SIZE:
            yield self._page()

    def last_pages(self) -> Iterator[TradePage]:
        """The rest, after the document's end; raises if it could not tell trades."""
        self._facts.check()
        yield from self.full_pages()
        accounts = (*self._reading.accounts, *self._accounts.all)
        page = self._page(tuple(self._proof.covered(accounts, provisional=not self._facts.tells_for_good)))
        yield attrs.evolve(page, rows=page.disposed + self._untold)

    def _page(self, covered: tuple[CoveredSpan, ...] = ()) -> TradePage:
        page = TradePage(
            bookings=tuple(self._bookings[:PAGE_SIZE]),
            quarantined=tuple(self._quarantined[:PAGE_SIZE]),
            covered=covered,
            accounts=self._accounts.take_fresh(),
            skipped=dict(self._skipped),
            unmapped=dict(self._unmapped),
            as_of=self._as_of,
        )
        self._untold -= page.disposed
        page = attrs.evolve(page, rows=page.disposed)
        del self._bookings[:PAGE_SIZE], self._quarantined[:PAGE_SIZE]
        self._skipped.clear()
        self._unmapped.clear()
        return page

    def _book(self, element: str, raw: dict[str, str]) -> None:
        account_id = self._account_of(raw.get("accountId"), text_of(raw, "acctAlias"))
        if account_id is None:
            self._quarantined.append(of_nobody(raw, several=self._several))
            return
        account = self._accounts.meet(account_id, raw.get("acctAlias"), beside_id="accountId" in raw)
        if self._is_told_elsewhere(raw, account_id):
            return
        place = RowPlace(account_id, account.environment, element == CONFIRM, self._has_commission_currency)
        if not place.confirmation:
            self._details.add(raw, self._told)
        booking = read_row(self._normaliser, raw, place)
        remember(raw, place, self._dates.order)
        if place.confirmation and isinstance(booking, TradeBooking):
            booking = self._confirmed.checked(booking)
        if isinstance(booking, QuarantinedRow):
            self._quarantined.append(booking)
        else:
            self._bookings.append(booking)

    def _account_of(self, told: str | None, alias: str | None) -> str | None:
        """Whose row it is that says so; `None` where neither it nor its statement tells."""
        if told is None and not self._several:
            own = self._account or self._reading.account_id
            return (self._names.find(alias) if alias and own and self._accounts.is_master(own) else None) or own
        found = self._names.find(told) if told else None
        if found is not None:
            self._holders.add(found)
        elif told or self._account is None:
            raise shown_alias()
        return found

    def _is_told_elsewhere(self, raw: dict[str, str], own: str) -> bool:
        """Whether another account's own statement tells the execution; one of which that is not sure is marked."""
        holder = self._names.find(told) if (told := text_of(raw, "allocatedTo")) else own
        if holder != own and (self._accounts.knew(holder) or holder in self._ahead.names().ids):
            self._skipped[TOLD_THERE] += 1
            return True
        elsewhere = holder != own
        by_master = (elsewhere or is_allocation(raw)) and self._accounts.is_master(own)
        if mark := mark_of(elsewhere=elsewhere, by_master=by_master):
            raw[ALLOCATED] = mark
        return False

    def _learn(self, names: list[str]) -> None:
        self._columns = names
        self._facts.columns.update(names)
        self._unknown_names = tuple(name for name in names if name not in KNOWN_ATTRIBUTES)
        self._has_commission_currency = "ibCommissionCurrency" in names or "commissionCurrency" in names
        for column in missing_columns(names, confirmation=self._facts.confirmation):
            self._note_unknown(f"the query has no column {column}")

    def _note_unknown(self, what: str) -> None:
        self._unmapped[what[:_LONGEST_WORD]] += 1

    def _begin(self, as_of: datetime | None) -> None:
        """What follows was made then; a page holds nothing that was made at another time."""
        while as_of != self._as_of and (self._bookings or self._quarantined or self._accounts.has_news):
            self._ready.append(self._page())
        self._as_of = as_of

    def _moment(self, attributes: Mapping[str, str], name: str) -> Moment | None:
        text = text_of(attributes, name)
        try:
            return self._dates.moment(text) if text else None
        except (ValueError, OverflowError):
            self._note_unknown(f"a {name} that is no time")
            return None

    def _day(self, attributes: Mapping[str, str], name: str) -> date | None:
        text = text_of(attributes, name)
        try:
            return self._dates.day(text) if text else None
        except (ValueError, OverflowError):
            return None

    def _describe(self, attributes: Mapping[str, str]) -> None:
        self._of_several = self._of_several or is_consolidated(text_of(attributes, "accountType"))
        self._several = self._several or self._of_several
        told = text_of(attributes, "accountId")
        account_id = (self._names.find(told) if told else None) or self._account
        shown = {**attributes, "accountId": told or self._told or ""}
        try:
            if account_id is not None:
                self._accounts.describe(account_id, shown, self._dates)
        except (ValueError, OverflowError):
            self._note_unknown("an account's dateOpened that is no date")
