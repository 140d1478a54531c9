"""A document to pages: rows to bookings, and at the end what the statements prove."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from itertools import compress
from typing import BinaryIO, Final

import attrs

from brokersync.plugin import BrokerAccount, CoveredSpan, QuarantinedRow, TradeBooking, TradePage
from brokersync_ibkr.accounts import account_of, environment_of, is_account_id
from brokersync_ibkr.commissions import CommissionDetails
from brokersync_ibkr.confirmed import Confirmed
from brokersync_ibkr.costs import RowPlace
from brokersync_ibkr.coverage import Days
from brokersync_ibkr.dates import FlexDates, Moment
from brokersync_ibkr.diagnosis import shown_alias, wrong_query
from brokersync_ibkr.documents import read_document
from brokersync_ibkr.instruments import text_of
from brokersync_ibkr.keptrows import CONFIRM, read_row, remember
from brokersync_ibkr.normalise import Normaliser
from brokersync_ibkr.payloads import FlexSyntaxError
from brokersync_ibkr.proof import Proof
from brokersync_ibkr.querycheck import missing_columns
from brokersync_ibkr.survey import DocumentFacts, day_order_of, is_fill, is_sum
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
_MOST_ACCOUNTS = 50_000
# days outside of these are no period of a statement, and near the ends of the calendar there is none to reckon with
_FIRST_YEAR, _LAST_YEAR = 1970, 2100


@attrs.frozen(kw_only=True)
class Reading:
    """What is known of a document before it is read.

    `environment` and `account_id` stand in where it does not tell them. `asked` are the days that were ordered,
    `expected` the type of the query that was, and `accounts` those that were asked for.
    """

    environment: str = "live"
    account_id: str | None = None
    asked: Days | None = None
    expected: str | None = None
    accounts: tuple[BrokerAccount, ...] = ()


def read_pages(file: BinaryIO, reading: Reading) -> Iterator[TradePage]:
    """The pages of the document that begins where the file stands; only the last one carries coverage.

    The file must be seekable. Raises `FlexSyntaxError`, or a `BrokerError` for a document that can not tell trades.
    """
    start = file.tell()
    builder = _PageBuilder(reading, FlexDates(lambda: day_order_of(file, start)), CommissionDetails(file, start))
    for _ in read_document(file, builder, sections=TRADE_SECTIONS | {CASH_SECTION}):
        yield from builder.full_pages()
    yield from builder.last_pages()


class _PageBuilder:
    def __init__(self, reading: Reading, dates: FlexDates, details: CommissionDetails) -> None:
        self._reading, self._details = reading, details
        self._dates = dates
        self._facts = DocumentFacts()
        self._unmapped: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._normaliser = Normaliser(dates, self._note_unknown)
        self._bookings: list[TradeBooking] = []
        self._quarantined: list[QuarantinedRow] = []
        self._accounts: dict[str, BrokerAccount] = {}
        self._fresh: set[str] = set()
        self._proof = Proof(reading.asked)
        self._as_of: datetime | None = None
        self._ready: deque[TradePage] = deque()
        self._confirmed = Confirmed()
        self._account: str | None = None
        self._told: str | None = None
        self._alias: str | None = None
        self._ids: dict[str, str] = {}
        self._untold = 0
        self._names: list[str] = []
        self._unknown_names: tuple[str, ...] = ()
        self._has_commission_currency = True

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
        self._account = self._named(self._told)
        made = self._moment(attributes, "whenGenerated")
        self._begin(made.at if made else None)
        self._proof.made(made.at if made else None)
        if self._account is not None:
            self._meet(self._account)
        first, last = self._day(attributes, "fromDate"), self._day(attributes, "toDate")
        if first and last and _FIRST_YEAR <= first.year <= last.year <= _LAST_YEAR and first <= last:
            self._proof.stated(self._account or self._reading.account_id or "", Days(first, last))
        else:
            self._note_unknown("a statement without a readable period")

    def section(self, name: str, attributes: Mapping[str, str]) -> None:
        self._facts.sections.add(name)
        if name not in KNOWN_SECTIONS:
            self._note_unknown(name)
        if name == "AccountInformation":
            self._describe(attributes)

    def row(self, section: str, element: str, names: list[str], values: list[str]) -> None:
        if section == CASH_SECTION:
            self._pass_over_cash(dict(zip(names, values, strict=True)).get("type", ""))
            return
        self._untold += 1
        if element not in FILL_ELEMENTS:
            self._skipped[element[:_LONGEST_WORD]] += 1
            if element in SUMMARY_ELEMENTS:
                self._facts.sums += is_sum(element)
            else:
                self._note_unknown(f"{section}/{element}")
            return
        if names is not self._names and names != self._names:
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

    def _pass_over_cash(self, kind: str) -> None:
        """What changes the cost of trades is counted, so that nobody wonders why their costs do not add up."""
        if kind in COST_ADJUSTMENTS:
            self._untold += 1
            self._skipped[f"{kind}: a cost of the account, as it names no trade"] += 1

    def statement_ends(self) -> None:
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
        accounts = (*self._reading.accounts, *self._accounts.values())
        page = self._page(tuple(self._proof.covered(accounts, confirmation=self._facts.confirmation)))
        yield attrs.evolve(page, rows=page.disposed + self._untold)

    def _page(self, covered: tuple[CoveredSpan, ...] = ()) -> TradePage:
        page = TradePage(
            bookings=tuple(self._bookings[:PAGE_SIZE]),
            quarantined=tuple(self._quarantined[:PAGE_SIZE]),
            covered=covered,
            accounts=tuple(self._accounts[name] for name in sorted(self._fresh)),
            skipped=dict(self._skipped),
            unmapped=dict(self._unmapped),
            as_of=self._as_of,
        )
        self._untold -= page.disposed
        page = attrs.evolve(page, rows=page.disposed)
        del self._bookings[:PAGE_SIZE], self._quarantined[:PAGE_SIZE]
        self._fresh.clear()
        self._skipped.clear()
        self._unmapped.clear()
        return page

    def _book(self, element: str, raw: dict[str, str]) -> None:
        told = raw.get("accountId")
        account_id = self._ids.get(told) if told else self._account or self._reading.account_id
        if told and account_id is None:
            account_id = self._named(told)
        if account_id is None:
            self._quarantined.append(QuarantinedRow(reason="the row names no account", raw=raw))
            return
        account = self._accounts.get(account_id) or self._meet(account_id)
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

    def _learn(self, names: list[str]) -> None:
        self._names = names
        self._facts.columns.update(names)
        self._unknown_names = tuple(name for name in names if name not in KNOWN_ATTRIBUTES)
        self._has_commission_currency = "ibCommissionCurrency" in names or "commissionCurrency" in names
        for column in missing_columns(names, confirmation=self._facts.confirmation):
            self._note_unknown(f"the query has no column {column}")

    def _note_unknown(self, what: str) -> None:
        self._unmapped[what[:_LONGEST_WORD]] += 1

    def _begin(self, as_of: datetime | None) -> None:
        """What follows was made then; a page holds nothing that was made at another time."""
        while as_of != self._as_of and (self._bookings or self._quarantined):
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

    def _meet(self, account_id: str) -> BrokerAccount:
        known = self._accounts.get(account_id)
        if known is not None:
            return known
        try:
            account = BrokerAccount(
                account_id=account_id, environment=environment_of(account_id, self._reading.environment)
            )
        except ValueError:
            raise FlexSyntaxError("The XML names an account by what can be no account's id.") from None
        if len(self._accounts) >= _MOST_ACCOUNTS:
            raise FlexSyntaxError(f"The XML has more than {_MOST_ACCOUNTS:,} accounts.")
        self._accounts[account_id] = account
        self._fresh.add(account_id)
        return account

    def _named(self, told: str | None) -> str | None:
        """The id of the account that is told so; what is no id is the one account that the user named."""
        if told is None or is_account_id(told):
            found = told
        elif self._reading.account_id is None or self._alias not in (None, told):
            raise shown_alias()
        else:
            self._alias, found = told, self._reading.account_id
        if told is not None and found is not None:
            self._ids[told] = found
        return found

    def _describe(self, attributes: Mapping[str, str]) -> None:
        account_id = self._named(text_of(attributes, "accountId")) or self._account
        if account_id is None:
            return
        environment = self._meet(account_id).environment
        try:
            account = account_of(account_id, environment, attributes, self._dates)
        except (ValueError, OverflowError):
            self._note_unknown("an account's dateOpened that is no date")
            return
        if account != self._accounts[account_id]:
            self._accounts[account_id] = account
            self._fresh.add(account_id)
