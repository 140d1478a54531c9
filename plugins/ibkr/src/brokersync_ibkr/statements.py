"""Statements that a user downloaded from Client Portal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from brokersync.plugin import BrokerInputNeededError, StatementHints, TradePage
from brokersync_ibkr.accounts import may_be_account_id
from brokersync_ibkr.diagnosis import bad_file, damaged_file, shown_alias
from brokersync_ibkr.documents import CHUNK
from brokersync_ibkr.guidance import ALIAS_REMEDY
from brokersync_ibkr.naming import AccountNames, known_aliases
from brokersync_ibkr.pages import Reading, read_pages
from brokersync_ibkr.payloads import BodyKind, FlexSyntaxError, kind_of
from brokersync_ibkr.survey import Survey

ACTIVITY_FILE: Final = "activity_file"
CONFIRMATIONS_FILE: Final = "confirmations_file"
_QUESTION: Final = "Which account is this statement for? Its id, such as U1234567"
# the other two can not be read, but this plugin knows what to do about them
_RECOGNISED = frozenset({BodyKind.STATEMENT, BodyKind.SERVICE, BodyKind.CSV})


class FlexStatementReader:
    """Reads Flex statements as XML: Activity and Trade Confirmation."""

    def recognises(self, head: bytes) -> bool:
        """True also for the service's own answers and for IBKR's CSV, so that the user is told what to do."""
        return kind_of(head) in _RECOGNISED

    def source(self, file: BinaryIO, hints: StatementHints) -> str:
        """The file's source, after a check of the whole of it. The file must be seekable.

        Raises `BrokerConfigError` for a query that must be set up differently, `BrokerInputNeededError` for one that
        does not tell the account, and `BrokerResponseError` for a file that is no complete statement.
        """
        start = file.tell()
        head = file.read(CHUNK)
        if kind_of(head) is not BodyKind.STATEMENT:
            raise bad_file(head)
        file.seek(start)
        survey = Survey()
        try:
            survey.run(file)
        except FlexSyntaxError as error:
            raise damaged_file(error) from None
        survey.facts.check()
        survey.day_order()
        _check_named(hints)
        _check_alias(survey, hints)
        if survey.fills_without_account and not hints.account_id:
            raise BrokerInputNeededError(
                "The statement does not tell which account it is for.",
                fields={"account_id": _QUESTION},
                remedy="Name the account, or tick Account ID in the query's section Trades.",
            )
        return CONFIRMATIONS_FILE if survey.facts.confirmation else ACTIVITY_FILE

    def read_statement(self, file: BinaryIO, hints: StatementHints) -> Iterator[TradePage]:
        """The pages of a file that `source` accepted; the last one says which days it proves."""
        reading = Reading(
            environment=hints.environment or "live",
            account_id=hints.account_id,
            known=hints.accounts,
        )
        try:
            yield from read_pages(file, reading)
        except FlexSyntaxError as error:
            raise damaged_file(error) from None


def _check_named(hints: StatementHints) -> None:
    """An alias that the user names is no id: the account's other statements would tell each trade once more."""
    if hints.account_id and not may_be_account_id(hints.account_id):
        raise BrokerInputNeededError(
            "What was named as the account is no account's id at IBKR.",
            fields={"account_id": _QUESTION},
            remedy="Give the id, which Client Portal shows beside the account's alias.",
        )


def _check_alias(survey: Survey, hints: StatementHints) -> None:
    """One alias may be named by the user; of several nobody knows which is which."""
    names = AccountNames(lambda: survey.names, known_aliases(hints.accounts), hints.account_id)
    unplaced = names.unplaced()
    if len(unplaced) > 1 or (unplaced and hints.account_id):
        raise shown_alias()
    if unplaced:
        raise BrokerInputNeededError(
            "The statement shows an alias in place of the account's id.",
            fields={"account_id": _QUESTION},
            remedy=f"Name the account. {ALIAS_REMEDY}",
        )
