"""What to tell the user about a body that is no statement, or a statement that holds no fills."""

from __future__ import annotations

from collections.abc import Sequence

from brokersync.plugin import BrokerConfigError, BrokerError, BrokerMaintenanceError, BrokerResponseError, Fault
from brokersync_ibkr.codes import meaning_of
from brokersync_ibkr.guidance import ALIAS_REMEDY, EXECUTIONS_REMEDY, REPORT_REMEDY, XML_REMEDY, columns_remedy
from brokersync_ibkr.payloads import BodyKind, FlexSyntaxError, kind_of, service_answer

_AGAIN = "Run the Flex query again, save its XML output as a file and import that."


def bad_answer(body: bytes) -> BrokerError:
    """The error for an answer of the service that is neither a statement nor a service message."""
    kind = kind_of(body)
    if kind is BodyKind.HTML and b"maintenance" in body.lower():
        return BrokerMaintenanceError("IBKR's Flex service is closed for maintenance.")
    if kind is BodyKind.CSV:
        return BrokerConfigError("The Flex query gives text (CSV) and not XML.", remedy=XML_REMEDY, fault=Fault.USER)
    what = {
        BodyKind.HTML: "a web page",
        BodyKind.EMPTY: "nothing",
        BodyKind.OTHER_XML: "XML that is no Flex statement",
    }.get(kind, "something that is not XML")
    return BrokerResponseError(f"IBKR's Flex service answered with {what}.", remedy=REPORT_REMEDY)


def damaged_answer(error: FlexSyntaxError) -> BrokerError:
    """The error for a statement of the service that can not be read."""
    return BrokerResponseError(f"IBKR's statement can not be read. {error.message}", remedy=REPORT_REMEDY)


def bad_file(head: bytes) -> BrokerError:
    """The error for a file that does not begin like a statement."""
    kind = kind_of(head)
    if kind is BodyKind.SERVICE:
        return _saved_service_answer(head)
    if kind is BodyKind.CSV:
        return BrokerConfigError("The file is a statement as CSV.", remedy=XML_REMEDY, fault=Fault.USER)
    what = {
        BodyKind.HTML: "The file is a web page, not a Flex statement.",
        BodyKind.EMPTY: "The file is empty.",
        BodyKind.OTHER_XML: "The file is XML, but not a Flex statement.",
    }.get(kind, "The file is not XML.")
    return BrokerResponseError(what, remedy=_AGAIN, fault=Fault.USER)


def damaged_file(error: FlexSyntaxError) -> BrokerError:
    """The error for a file that begins like a statement and can not be read to its end."""
    return BrokerResponseError(error.message, remedy=_AGAIN, fault=Fault.USER)


def _saved_service_answer(head: bytes) -> BrokerError:
    begin = "The file holds an answer of the Flex Web Service and not a statement"
    try:
        answer = service_answer(head)
    except FlexSyntaxError:
        return BrokerResponseError(f"{begin}.", remedy=_AGAIN, fault=Fault.USER)
    if answer.code is None:
        remedy = "Fetch the statement with this reference code (GetStatement) and import that."
        return BrokerResponseError(f"{begin}: the order was accepted.", remedy=remedy, fault=Fault.USER)
    meaning, remedy = meaning_of(answer.code)
    return BrokerResponseError(
        f"{begin}: code {answer.code}, {meaning}.", remedy=f"{remedy} {_AGAIN}", code=answer.code, fault=Fault.USER
    )


def no_executions() -> BrokerError:
    """The error for a statement with sums of trades and no single fill."""
    return BrokerConfigError(
        "The statement holds orders and sums, but no executions, and fills are never made up from sums.",
        remedy=EXECUTIONS_REMEDY,
        fault=Fault.USER,
    )


def no_trades_section() -> BrokerError:
    """The error for a statement that has sections, but not the one with trades."""
    return BrokerConfigError(
        "The statement has no Trades section, so it can not tell whether there were trades.",
        remedy=EXECUTIONS_REMEDY,
        fault=Fault.USER,
    )


def no_ids(missing: Sequence[str], *, confirmation: bool) -> BrokerError:
    """The error for a query without the columns that tell one trade from another."""
    columns = " and ".join(missing)
    return BrokerConfigError(
        f"The statement does not tell {columns}, so a trade that another statement tells too could count twice.",
        remedy=columns_remedy("Trade Confirmations" if confirmation else "Trades", columns),
        fault=Fault.USER,
    )


def shown_alias() -> BrokerError:
    """The error for a query that names accounts by what their users call them."""
    return BrokerConfigError(
        "The query shows an alias in place of the account's id, under which each other statement's trades would count"
        " twice.",
        remedy=ALIAS_REMEDY,
        fault=Fault.USER,
    )


def no_account_ids() -> BrokerError:
    """The error for a query that puts several accounts together and does not say which one an execution is of."""
    return BrokerConfigError(
        "The query puts several accounts into one statement, and its executions do not tell whose they are.",
        remedy=columns_remedy("Trades", "Account ID"),
        fault=Fault.USER,
    )


def wrong_query(expected: str, field: str) -> BrokerError:
    """The error for a query of the other type behind one of the user's two query ids."""
    return BrokerConfigError(
        f"The query behind {field} is no {expected} Flex Query.",
        remedy=f"Give the id of the {expected} Flex Query as {field}; the two ids may be swapped.",
        fault=Fault.USER,
    )
