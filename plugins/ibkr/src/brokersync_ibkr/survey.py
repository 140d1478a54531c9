"""What a document is as a whole: its kind, its sections, its fills, and the order of its dates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

import attrs

from brokersync.plugin import BrokerResponseError
from brokersync_ibkr.dayorder import DayOrder, DayOrderEvidence
from brokersync_ibkr.diagnosis import no_executions, no_ids, no_trades_section
from brokersync_ibkr.documents import read_document
from brokersync_ibkr.naming import ToldNames
from brokersync_ibkr.vocabulary import (
    ACTIVITY_IDS,
    CONFIRMATION_IDS,
    CONFIRMATION_TYPE,
    DATE_ATTRIBUTES,
    FILL_ELEMENTS,
    FILL_LEVEL,
    SUMMARY_ELEMENTS,
    TRADE_SECTIONS,
)


@attrs.define
class DocumentFacts:
    """What is counted while a document is read."""

    kind: str | None = None
    statements: int = 0
    fills: int = 0
    sums: int = 0
    sections: set[str] = attrs.Factory(set)
    columns: set[str] = attrs.Factory(set)

    @property
    def confirmation(self) -> bool:
        """Whether its fills are provisional ones, of a Trade Confirmation query."""
        only_confirms = "TradeConfirms" in self.sections and "Trades" not in self.sections
        return only_confirms or (self.kind == CONFIRMATION_TYPE and "Trades" not in self.sections)

    @property
    def tells_for_good(self) -> bool:
        """Whether days without a fill had none: not without the section, which IBKR gives though it is empty."""
        return "Trades" in self.sections and not self.confirmation

    def check(self) -> None:
        """Raise a `BrokerError` if the document can not tell about trades at all."""
        if not self.statements:
            raise BrokerResponseError("The document holds no statement.", remedy="Check the query's accounts.")
        if self.sums and not self.fills:
            raise no_executions()
        # an account without any activity may give no more than its own description
        if not self.sections & TRADE_SECTIONS and self.sections - {"AccountInformation"}:
            raise no_trades_section()
        self.check_columns()

    @property
    def missing_ids(self) -> list[str]:
        """The columns by which any other statement knows the fills, too, and that these lack."""
        needed = CONFIRMATION_IDS if self.confirmation else ACTIVITY_IDS
        return [told for told, names in needed.items() if not self.columns.intersection(names)]

    def check_columns(self) -> None:
        """Raise `BrokerConfigError` if there are fills, and ids that they lack."""
        if self.fills and (missing := self.missing_ids):
            raise no_ids(missing, confirmation=self.confirmation)


def is_fill(element: str, level: str | None) -> bool:
    """Whether a row is one execution: old and converted files call sums `Trade` too, so its level counts as well."""
    return element in FILL_ELEMENTS and (not level or level == FILL_LEVEL)


def is_sum(element: str) -> bool:
    """Whether a row that is no fill proves that there were fills; a wash sale may be told long after them."""
    return element in FILL_ELEMENTS or (element in SUMMARY_ELEMENTS and element != "WashSale")


class Survey:
    """Reads a document once without keeping any of it; `run` it first."""

    def __init__(self) -> None:
        self.facts = DocumentFacts()
        self.names = ToldNames()
        self.accounts: set[str] = set()
        self.fills_without_account = 0
        self._evidence = DayOrderEvidence()
        self._account = ""

    def run(self, file: BinaryIO) -> None:
        """Read from where the file stands to its end. Raises `FlexSyntaxError`."""
        for _ in read_document(file, self):
            pass

    def day_order(self) -> DayOrder:
        """Raises `BrokerConfigError` when the dates can be read in two ways."""
        return self._evidence.decide()

    def document(self, attributes: Mapping[str, str]) -> None:
        self.facts.kind = attributes.get("type")

    def statement(self, attributes: Mapping[str, str]) -> None:
        self.facts.statements += 1
        self._account = attributes.get("accountId", "")
        self.accounts.add(self._account)
        self.names.statement(self._account or None)
        told = [attributes.get(name, "") for name in ("fromDate", "toDate", "whenGenerated")]
        self._evidence.period(*told)

    def section(self, name: str, attributes: Mapping[str, str]) -> None:
        self.facts.sections.add(name)
        if name == "AccountInformation":
            self.names.information(attributes)
        for date in ("dateOpened", "dateFunded", "dateClosed"):
            self._evidence.date(attributes.get(date, ""))

    def row(self, section: str, element: str, names: list[str], values: list[str]) -> None:
        attributes = dict(zip(names, values, strict=True))
        if is_fill(element, attributes.get("levelOfDetail")):
            self.facts.fills += 1
            self.facts.columns.update(names)
            told = attributes.get("accountId") or None
            self.names.row(told, attributes.get("acctAlias") or None)
            self.fills_without_account += not (told or self._account)
        else:
            self.facts.sums += is_sum(element)
        for name in DATE_ATTRIBUTES:
            self._evidence.date(attributes.get(name, ""))
        # a period selects by booking, and a late booking carries an old trade date; confirmations are booked at once
        traded = attributes.get("tradeDate", "") if element == "TradeConfirm" else ""
        self._evidence.booked(attributes.get("reportDate") or traded)

    def statement_ends(self) -> None:
        self.names.statement_ends()
        self._account = ""


class LookAhead:
    """The survey of the document that begins at `start`, made when it is first asked for.

    The file stands afterwards where it stood.
    """

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start = file, start
        self._survey: Survey | None = None

    def day_order(self) -> DayOrder:
        """Raises `BrokerConfigError` when the dates can be read in two ways."""
        return self._made().day_order()

    def names(self) -> ToldNames:
        return self._made().names

    def _made(self) -> Survey:
        if self._survey is None:
            here, survey = self._file.tell(), Survey()
            self._file.seek(self._start)
            try:
                survey.run(self._file)
            finally:
                self._file.seek(here)
            self._survey = survey
        return self._survey
