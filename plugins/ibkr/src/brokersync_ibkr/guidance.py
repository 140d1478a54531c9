"""What to do in Client Portal, in the words of its menus."""

from __future__ import annotations

from typing import Final

FLEX_QUERIES: Final = "Client Portal > Performance & Reports > Flex Queries"

DATE_FORMAT_REMEDY: Final = (
    f"In {FLEX_QUERIES} open the query, set Date Format to yyyyMMdd, Time Format to HHmmss and the separator to ';', "
    "save it and try again."
)
EXECUTIONS_REMEDY: Final = (
    f"In {FLEX_QUERIES} open the query, click its section Trades, tick Execution, save it and try again."
)
XML_REMEDY: Final = f"In {FLEX_QUERIES} open the query, set Format to XML, save it and run it again."
ALIAS_REMEDY: Final = (
    f"In {FLEX_QUERIES} open the query, set Display Account Alias in place of Account ID to No, save it and run it"
    " again."
)
SEPARATE_REMEDY: Final = (
    f"In {FLEX_QUERIES} select the accounts one by one and not a consolidated one, make the query anew and give its id."
)
SUB_ACCOUNTS_REMEDY: Final = (
    f"In {FLEX_QUERIES} select the sub-accounts as well, make the query anew for all of them and give its id."
)
SERVICE_REMEDY: Final = f"In {FLEX_QUERIES} open Flex Web Service Configuration, tick Flex Web Service Status and save."
TOKEN_REMEDY: Final = (
    f"In {FLEX_QUERIES} open Flex Web Service Configuration, generate a new token with a life of one year and connect "
    "again with it. A new token ends the old one at once."
)
QUERY_REMEDY: Final = (
    f"In {FLEX_QUERIES} click the (i) beside the query and compare its Query ID. The query must belong to the username "
    "that made the token, and to the accounts that were selected when it was made."
)
NO_LAST_DAY: Final = (
    "IBKR never says when a token ends. Give its last day, which Client Portal shows beside it, as expires_on, to be"
    " told a week before."
)
HOST_REMEDY: Final = (
    "If IBKR says that its Flex service has moved there, whoever runs brokersync names the new address in its"
    " configuration, as flex under [brokers.ibkr.hosts]."
)
REPORT_REMEDY: Final = "Try again later; if it stays so, report it with the error's code."


def as_said_there(sentence: str) -> str:
    """What to do behind another remedy that has said where the query is opened and that it is saved."""
    for said in (f"In {FLEX_QUERIES} open the query, ", f"In {FLEX_QUERIES} "):
        sentence = sentence.replace(said, "There ")
    for said in (", save it and run it again.", ", save it and try again."):
        sentence = sentence.replace(said, ".")
    return sentence


def columns_remedy(section: str, columns: str) -> str:
    """How columns are added to a query."""
    return f"In {FLEX_QUERIES} open the query, click its section {section}, tick {columns}, save it and run it again."


def setting_remedy(setting: str, value: str) -> str:
    """How a setting of a query is changed, or a section of it."""
    do = f"click {setting}, tick {value}" if setting.startswith("the section") else f"set {setting} to {value}"
    return f"In {FLEX_QUERIES} open the query, {do}, save it and run it again."
