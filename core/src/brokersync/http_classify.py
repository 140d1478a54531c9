"""Every outcome of a request as an error of ours: statuses, the broker's asked-for waits, and foreign exceptions."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerError,
    BrokerPluginError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerRetryableError,
    BrokerTimeoutError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    Fault,
)
from brokersync.hosts import host_of

FOREIGN: Final = (aiohttp.ClientError, HttpProcessingError, OSError, EOFError)
"""What the network raises; anything else is a bug and is not dressed up."""

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]+)?")
_LONGEST_ASKED = timedelta(days=366)
_DOUBT = "Whether it was carried out is not known."
_CHECK_FIRST = "Look at the broker whether it was carried out before it is sent again."


class Failed(Exception):  # noqa: N818  never leaves the HTTP layer, and carries the error that does
    """One attempt failed; `sent` is false when nothing can have reached the broker.

    `asked` is the wait that the broker's headers ask for.
    """

    def __init__(self, error: BrokerError, *, sent: bool = True, asked: timedelta | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.sent = sent
        self.asked = asked


def status_error(
    status: int, headers: Mapping[str, str], *, broker: str, operation: str, logged_in: bool, now: datetime
) -> BrokerError | None:
    """What a status means by itself; `None` for success. An unknown status is classed by its hundred."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return _redirect(status, headers, broker)
    answered = f"{broker} answered {operation} with HTTP {status}"
    if status == 401:
        return _unauthorised(answered, status, logged_in=logged_in)
    if status == 403:
        return BrokerAuthError(f"{answered}: this login may not do that.", status=status, certain=False)
    kind = _RETRYABLE.get(status) or (BrokerUnavailableError if 500 <= status < 600 else None)
    if kind is not None:
        return kind(f"{answered}{_WHY.get(status, '')}.", status=status, retry_after=asked_wait(headers, now))
    if 400 <= status < 500:
        return BrokerAPIError(f"{answered}: it refuses this request.", status=status)
    return BrokerResponseError(f"{answered}, which is no final answer of HTTP.", status=status)


def asked_wait(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The wait that `Retry-After` asks for, as seconds or as a date; nonsense asks for nothing."""
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return min(timedelta(seconds=float(text)), _LONGEST_ASKED)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    until = until.replace(tzinfo=UTC) if until.tzinfo is None else until
    return min(max(until - now, timedelta(0)), _LONGEST_ASKED)


def foreign_error(
    error: BaseException, *, broker: str, operation: str, support: str = "", repeatable: bool = True
) -> Failed:
    """The failure that a foreign exception stands for; none of its own text is kept, for it may hold the URL."""
    sent = not isinstance(error, _NEVER_SENT)
    doubtful = sent and not repeatable
    make = next(make for kinds, make in _FOREIGN if isinstance(error, kinds))
    mapped = make(f"{broker}, asked for {operation},")
    if isinstance(mapped, BrokerPluginError):
        mapped.report_to = support or None
    if isinstance(mapped, BrokerRetryableError) and doubtful:
        mapped = type(mapped)(f"{mapped.message} {_DOUBT}", remedy=_CHECK_FIRST)
    return Failed(mapped, sent=sent)


def _redirect(status: int, headers: Mapping[str, str], broker: str) -> BrokerResponseError:
    host = host_of(headers.get("location", ""))
    target = f"the host {host}" if host else "another address"
    return BrokerResponseError(f"{broker} redirects to {target}, which is not followed.", status=status)


def _unauthorised(answered: str, status: int, *, logged_in: bool) -> BrokerError:
    if logged_in:
        return BrokerTokenExpiredError(f"{answered}: the access token is no longer valid.", status=status)
    return BrokerAuthError(f"{answered}: it refuses the credentials.", status=status, certain=False)


_RETRYABLE: Mapping[int, type[BrokerRetryableError]] = {
    408: BrokerTimeoutError,
    423: BrokerRateLimitError,
    425: BrokerRetryableError,
    429: BrokerRateLimitError,
}
_WHY: Mapping[int, str] = {
    408: ": it waited too long for the request",
    423: ": it is locked for now",
    425: ": it is too early for the request",
    429: ": too many requests",
}


def _says(kind: type[BrokerError], what: str, remedy: str | None = None) -> Callable[[str], BrokerError]:
    return lambda who: kind(f"{who} {what}.", remedy=remedy)


def _bad_request(who: str) -> BrokerError:
    return BrokerPluginError(
        f"{who} could not be sent the request: an address, header or value in it is not allowed in HTTP.",
        remedy="Check the credentials for line breaks and stray signs; else report it to the plugin's authors.",
    )


def _unknown(who: str) -> BrokerError:
    return BrokerAPIError(f"{who} could not be reached for a reason that is not known here.", fault=Fault.CORE)


_NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    ConnectionRefusedError,
    ValueError,
    TypeError,
)

_UNTRUSTED = "could not be reached: its certificate or TLS is not accepted"
_CLOCK_AND_STORE = "Check this machine's clock and its trusted certificates; then try again."

_FOREIGN: tuple[tuple[tuple[type[BaseException], ...], Callable[[str], BrokerError]], ...] = (
    ((aiohttp.ConnectionTimeoutError,), _says(BrokerTimeoutError, "could not be reached in time")),
    ((TimeoutError,), _says(BrokerTimeoutError, "did not answer in time")),
    (
        (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError),
        _says(BrokerUnavailableError, _UNTRUSTED, _CLOCK_AND_STORE),
    ),
    ((aiohttp.ClientConnectorDNSError,), _says(BrokerUnavailableError, "has a host whose name is not found")),
    (
        (aiohttp.ClientConnectorError, ConnectionRefusedError),
        _says(BrokerUnavailableError, "could not be reached"),
    ),
    (
        (aiohttp.ClientHttpProxyError,),
        _says(BrokerUnavailableError, "could not be reached: the proxy refuses", "Check the proxy."),
    ),
    (
        (aiohttp.RedirectClientError, aiohttp.TooManyRedirects),
        _says(BrokerResponseError, "redirects, which is not followed"),
    ),
    ((aiohttp.ContentTypeError,), _says(BrokerResponseError, "answered with another kind of content")),
    ((aiohttp.ClientResponseError, HttpProcessingError), _says(BrokerResponseError, "answered with broken HTTP")),
    ((aiohttp.WSMessageTypeError,), _says(BrokerResponseError, "sent a message of another kind")),
    (
        (aiohttp.ClientPayloadError, EOFError),
        _says(BrokerUnavailableError, "broke off in the middle of its answer"),
    ),
    ((aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError, TypeError), _bad_request),
    (
        (aiohttp.ClientConnectionError, aiohttp.UploadAbortedError, OSError),
        _says(BrokerUnavailableError, "lost the connection"),
    ),
    ((BaseException,), _unknown),
)
