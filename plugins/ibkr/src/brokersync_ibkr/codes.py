"""The error codes of the Flex Web Service (version 3): what each means and what happens next."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import attrs

from brokersync.plugin import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerConfigError,
    BrokerDataUnavailableError,
    BrokerError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerUnavailableError,
    DataUnavailableReason,
    Fault,
    LimitScope,
)
from brokersync_ibkr.guidance import FLEX_QUERIES, QUERY_REMEDY, REPORT_REMEDY, SERVICE_REMEDY, TOKEN_REMEDY

REFERENCE_GONE: Final = "1017"
NO_STATEMENT: Final = "1003"
# for a minute after a token or a query was made it means nothing
UNCHECKED: Final = "1020"
# a day that is over, but is not made up yet
NOT_FINALISED: Final = frozenset({"1005", "1006", "1007", "1008"})
# a statement that is ordered may answer these until it is generated
PENDING: Final = frozenset({"1001", "1004", *NOT_FINALISED, "1009", "1019", "1021"})

_SOON = timedelta(seconds=10)
_LATER = timedelta(minutes=1)
_MUCH_LATER = timedelta(minutes=10)


@attrs.frozen
class _Code:
    meaning: str
    make: Callable[..., BrokerError]
    remedy: str
    facts: Mapping[str, Any] = MappingProxyType({})


def _retry(meaning: str, kind: type[BrokerError], after: timedelta, **facts: Any) -> _Code:
    return _Code(
        meaning, kind, "Try again later; what a worker syncs is tried again by itself.", {"retry_after": after, **facts}
    )


def _config(meaning: str, remedy: str) -> _Code:
    return _Code(meaning, BrokerConfigError, remedy, {"fault": Fault.USER})


def _auth(meaning: str, remedy: str) -> _Code:
    return _Code(meaning, BrokerAuthError, remedy)


_CODES: Final[Mapping[str, _Code]] = MappingProxyType(
    {
        "1001": _retry("the statement could not be generated now", BrokerUnavailableError, _SOON),
        "1003": _Code(
            "there is no statement for this period",
            BrokerDataUnavailableError,
            "Nothing to do, if the account did not exist then or had no activity.",
            {"reason": DataUnavailableReason.NO_SUCH_DATA},
        ),
        "1004": _retry("the statement is still incomplete", BrokerNotReadyError, _LATER),
        "1005": _retry("settlement data is not ready", BrokerNotReadyError, _MUCH_LATER),
        "1006": _retry("profit and loss data (FIFO) is not ready", BrokerNotReadyError, _MUCH_LATER),
        "1007": _retry("profit and loss data (mark to market) is not ready", BrokerNotReadyError, _MUCH_LATER),
        "1008": _retry("profit and loss data is not ready", BrokerNotReadyError, _MUCH_LATER),
        "1009": _retry("the server is under heavy load", BrokerUnavailableError, _LATER),
        "1010": _config(
            "the query is of a kind that the service no longer offers",
            f"In {FLEX_QUERIES} make an Activity Flex Query in its place and give its id.",
        ),
        "1011": _config("the Flex Web Service is not enabled for this user", SERVICE_REMEDY),
        "1012": _auth("the token has expired", TOKEN_REMEDY),
        "1013": _auth(
            "the token is bound to another IP address",
            f"In {FLEX_QUERIES} open Flex Web Service Configuration and generate a token without an IP restriction, or "
            "with this server's address.",
        ),
        "1014": _config("the query is not valid for this token", QUERY_REMEDY),
        "1015": _auth("the token is not valid", TOKEN_REMEDY),
        "1016": _config("an account of the query is not valid", QUERY_REMEDY),
        "1017": _Code(
            "the reference code is not known (any more)", BrokerResponseError, "It is ordered anew by itself."
        ),
        # ten a minute are allowed, which another process may have used up: after less it says the same again
        "1018": _retry("too many requests with this token", BrokerRateLimitError, _LATER, freeze=LimitScope.CREDENTIAL),
        "1019": _retry("the statement is being generated", BrokerNotReadyError, timedelta(seconds=5)),
        "1020": _config(
            "the request is not valid or could not be checked",
            "This happens for a minute after a token or a query was made: wait and try again. Else compare both: the "
            f"token is the one that was generated last, under the username of the query. {QUERY_REMEDY}",
        ),
        "1021": _retry("the statement could not be fetched now", BrokerUnavailableError, _SOON),
    }
)
_PASSING = ("try again", "shortly", "not ready", "in progress", "heavy load")
_LONG_NUMBER = re.compile(r"\d{7,}")


def meaning_of(code: str) -> tuple[str, str]:
    """What a code means, and what to do."""
    known = _CODES.get(code)
    return (known.meaning, known.remedy) if known else ("which is unknown here", REPORT_REMEDY)


def service_error(code: str, message: str) -> BrokerError:
    """The error for a code; an unknown one passes only if IBKR's text says so."""
    known = _CODES.get(code)
    if known is not None:
        return known.make(f"IBKR: {known.meaning} ({code}).", remedy=known.remedy, code=code, **known.facts)
    text = _LONG_NUMBER.sub("...", " ".join(message.split()))[:200] or "no text"
    told = f"IBKR's Flex service answered with the unknown code {code[:20]}: {text}"
    if any(words in message.lower() for words in _PASSING):
        return BrokerUnavailableError(told, retry_after=_LATER, code=code)
    return BrokerAPIError(told, remedy=REPORT_REMEDY, code=code)
