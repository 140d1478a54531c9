"""What should be changed at a query, all of it at once and each with where to click, by a statement of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import BinaryIO, Final

from brokersync.plugin import BrokerConfigError, BrokerError, Fault
from brokersync_ibkr.accounts import is_master
from brokersync_ibkr.diagnosis import damaged_answer, no_account_ids, shown_alias, wrong_query
from brokersync_ibkr.guidance import (
    ALIAS_REMEDY,
    SEPARATE_REMEDY,
    SUB_ACCOUNTS_REMEDY,
    as_said_there,
    setting_remedy,
)
from brokersync_ibkr.naming import AccountNames, Aliases, ToldNames
from brokersync_ibkr.payloads import FlexSyntaxError
from brokersync_ibkr.survey import DocumentFacts, Survey
from brokersync_ibkr.vocabulary import (
    ACTIVITY_IDS,
    ACTIVITY_TYPE,
    CONFIRMATION_IDS,
    CONFIRMATION_TYPE,
    QUERIES,
    TRADE_SECTIONS,
)

# what each trade should tell, under the names of Client Portal; by any one of these attributes
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "Conid": ("conid",),
    "Asset Class": ("assetCategory",),
    "Multiplier": ("multiplier",),
    "Currency": ("currency",),
    "Date/Time": ("dateTime", "tradeTime"),
    "Quantity": ("quantity",),
    "Trade Price": ("tradePrice", "price"),
    "IB Commission": ("ibCommission", "commission"),
    "IB Commission Currency": ("ibCommissionCurrency", "commissionCurrency"),
    "Transaction Type": ("transactionType",),
    "Notes/Codes": ("notes", "code"),
}
_NO_ALIASES: Final[Aliases] = MappingProxyType({})
# what only an Activity query has: by these its cancels and its fills in confirmations are known
_ACTIVITY_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "IB Exec ID": ("ibExecID",),
    "Orig Trade ID": ("origTradeID",),
    "Orig Transaction ID": ("origTransactionID",),
}


def look_over(file: BinaryIO) -> Survey:
    """The survey of a statement that the service gave; the file stands where it stood."""
    survey, start = Survey(), file.tell()
    try:
        survey.run(file)
    except FlexSyntaxError as error:
        raise damaged_answer(error) from None
    file.seek(start)
    return survey


def check_query(survey: Survey, kind: str, before: Aliases = _NO_ALIASES) -> None:
    """Raise if the query can not tell trades; the error also says what else there is to change.

    `kind` is the type that the query should be of, and `before` the aliases that the other query told.
    """
    faults = list(_faults(survey, kind, before))
    if not faults:
        return
    first, *others = faults
    if not isinstance(first, BrokerConfigError):
        raise first
    also = [f"- {as_said_there(sentence)}" for sentence in (*map(str, others), *_advice(survey))]
    raise BrokerConfigError(
        first.message, remedy="\n".join([first.remedy, *(["Also:"] if also else []), *also]), fault=Fault.USER
    )


def missing_columns(columns: Iterable[str], *, confirmation: bool) -> list[str]:
    """The columns that trades should tell and a row with these attributes does not, as Client Portal names them."""
    told = set(columns)
    ids = CONFIRMATION_IDS if confirmation else {**ACTIVITY_IDS, **_ACTIVITY_COLUMNS}
    needed = {**_COLUMNS, **ids}
    return [name for name, attributes in needed.items() if not told.intersection(attributes)]


def findings(survey: Survey, kind: str) -> list[str]:
    """What the user should change, or should know that nobody can check yet, in sentences."""
    facts = survey.facts
    said = list(_advice(survey))
    if kind == CONFIRMATION_TYPE:
        # of three days it may well have nothing to tell
        return said
    if not facts.sections & TRADE_SECTIONS:
        remedy = setting_remedy("the section Trades", "Execution and all columns")
        said.append(f"The query has no Trades section yet. {remedy}")
    if not facts.fills:
        said.append(
            "There was no execution in the last days, so the query's columns could not be checked; a sync tells of"
            " columns that are missing with the first one."
        )
    return said


def _faults(survey: Survey, kind: str, before: Aliases) -> Iterator[BrokerError]:
    facts = survey.facts
    if facts.kind in QUERIES and facts.kind != kind:
        yield wrong_query(*QUERIES[kind])
        return
    for check in (facts.check, survey.day_order):
        try:
            check()
        except BrokerError as error:
            yield error
    if AccountNames(lambda: survey.names, before, None).unplaced():
        yield shown_alias()
    if survey.names.nameless:
        yield no_account_ids()


def _advice(survey: Survey) -> Iterator[str]:
    facts = survey.facts
    if facts.kind not in (ACTIVITY_TYPE, CONFIRMATION_TYPE, None):
        yield "The query is of a type that is unknown here."
    yield from _accounts_advice(survey.names)
    if facts.statements > len(survey.accounts):
        remedy = setting_remedy("Breakout by Day", "No")
        yield f"The query makes a statement for each day, which is many times larger and slower. {remedy}"
    if not facts.confirmation and facts.sections and "AccountInformation" not in facts.sections:
        yield (
            "The query does not tell currency, name and opening day of the accounts."
            f" {setting_remedy('the section Account Information', 'all columns')}"
        )
    yield from _columns_advice(facts)


def _accounts_advice(names: ToldNames) -> Iterator[str]:
    if names.needed and (names.aliases or names.likely):
        yield f"The query shows an alias in place of the account's id, which is known from beside it. {ALIAS_REMEDY}"
    if names.several:
        yield (
            "The query puts several accounts into one statement, so an account without trades can not be told from one"
            f" that is left out, and its days stay open. {SEPARATE_REMEDY}"
        )
    masters = [name for name, kind in names.kinds.items() if is_master(name, kind)]
    if masters and names.ids <= set(masters) and not (names.several or names.nameless):
        yield (
            "The query holds a master account and none of its sub-accounts: what the master trades for them is told by"
            f" their statements alone. {SUB_ACCOUNTS_REMEDY}"
        )


def _columns_advice(facts: DocumentFacts) -> Iterator[str]:
    missing = missing_columns(facts.columns, confirmation=facts.confirmation) if facts.fills else []
    # for want of an id the query is refused, which says so by itself
    missing = [column for column in missing if column not in facts.missing_ids]
    if missing:
        section = "Trade Confirmations" if facts.confirmation else "Trades"
        remedy = setting_remedy(f"the section {section}", f"{', '.join(missing)} as well, or simply all columns")
        yield f"The query leaves out columns that a trade needs. {remedy}"
