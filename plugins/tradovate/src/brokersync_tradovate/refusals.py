"""What Tradovate means when it refuses: most of it comes with status 200, and its texts vary."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeAlias
from urllib.parse import quote

import attrs

from brokersync.plugin import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerError,
    BrokerMaintenanceError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    Fault,
    HttpResponse,
    LimitScope,
    Secret,
    loads_exact,
)
from brokersync_tradovate.rows import Row

HOUR_OF_SILENCE = timedelta(hours=1)
_LONGEST_TEXT = 200
_UNAVAILABLE_TEXTS = ("temporarily unavailable", "timeout", "timed out", "internal error")


@attrs.frozen(kw_only=True)
class Refusal:
    """An answer that is no success, in the broker's words."""

    operation: str
    status: int
    text: str = ""

    def says(self, *fragments: str) -> bool:
        """Whether the text holds one of these; the wording of these texts changes from time to time."""
        text = self.text.lower()
        return any(fragment in text for fragment in fragments)

    @property
    def names_a_dead_token(self) -> bool:
        return self.says("expired") and self.says("token")

    @property
    def denies(self) -> bool:
        """Whether it says no to who asks; a dead token and a missing right look the same."""
        return self.status == 401 or self.says("access is denied", "not authorized", "unauthorized")

    @property
    def facts(self) -> dict[str, Any]:
        return {"operation": self.operation, "status": self.status}

    @property
    def quoted(self) -> str:
        return f' It said: "{self.text}".' if self.text else ""


Meaning: TypeAlias = Callable[[Refusal], BrokerError]


class MovedError(BrokerAPIError):
    """The same operation is to be asked for at another host, below `base`."""

    def __init__(self, operation: str, response: HttpResponse) -> None:
        super().__init__(
            "Tradovate sends this login on from one host to another.", operation=operation, status=response.status
        )
        location = response.headers.get("location", "")
        self.base, named, rest = location.partition(f"/{operation}")
        if not named or rest[:1] not in ("", "?"):
            self.base = ""


def body_of(response: HttpResponse) -> Any:
    """The body as JSON, or `None` when it is none."""
    try:
        return loads_exact(response.body)
    except (ValueError, RecursionError):
        return None


def refusal_of(operation: str, response: HttpResponse, body: Any, hide: Iterable[Secret] = ()) -> Refusal | None:
    """The refusal an answer holds, without the secrets that were sent; what only a status tells is left to core."""
    text = _error_text(body)
    if text is None and response.status == 401:
        text = _plain_text(response) if body is None else ""
    if text is None or response.status >= 500:
        return None
    for secret in hide:
        for form in _forms(secret.reveal()) if secret else ():
            text = text.replace(form, "***")
    return Refusal(operation=operation, status=response.status, text=" ".join(text.split())[:_LONGEST_TEXT])


def _forms(secret: str) -> set[str]:
    """How what was sent may stand in an answer that repeats it."""
    return {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, safe="")}


def _plain_text(response: HttpResponse) -> str:
    text = response.text().strip()
    return "" if text.startswith("<") else text


def _error_text(body: Any) -> str | None:
    if not isinstance(body, Mapping):
        return None
    if body.get("errorText"):
        return str(body["errorText"])
    if body.get("violations"):
        return f"violations of {_named_constraints(body['violations'])}"
    if body.get("error"):
        return str(body["error"])
    return None


def _named_constraints(violations: Any) -> str:
    """Only the names: the values beside them are what we sent."""
    rows = violations if isinstance(violations, list) else []
    return ", ".join(str(row.get("constraint")) for row in rows if isinstance(row, Mapping)) or "unnamed constraints"


def refuse_status(operation: str, response: HttpResponse) -> None:
    """Raise what the statuses mean that Tradovate uses in a way of its own."""
    if response.status == 429:
        # each request in that hour starts the hour again, and it locks the user, not the address
        raise BrokerRateLimitError(
            "Tradovate has locked this login out for an hour because of too many requests.",
            retry_after=HOUR_OF_SILENCE,
            freeze=LimitScope.CREDENTIAL,
            operation=operation,
            status=response.status,
        )
    if response.status == 423:
        raise BrokerRateLimitError(
            "Tradovate is about to lock this address out and wants an hour of silence.",
            remedy="Try again later; what a worker syncs is tried again by itself. "
            "Check the password if logins have failed.",
            retry_after=HOUR_OF_SILENCE,
            freeze=LimitScope.EGRESS,
            operation=operation,
            status=response.status,
        )
    if response.status in (307, 308):
        raise MovedError(operation, response)
    if 300 <= response.status < 400:
        raise unexpected(operation, "leads to another address")


def login_refused(refusal: Refusal) -> BrokerError:
    """A refused login is the user's to solve, and never tried again by itself: five failures lock the address.

    The credentials are looked for first, because "please try again" is said of a wrong password as well.
    """
    if refusal.says("username", "password", "credential"):
        return BrokerAuthError(
            f"Tradovate refused the login.{refusal.quoted}",
            remedy="Check username and password, and sign in to the web application once if the password has expired.",
            **refusal.facts,
        )
    if refusal.says("not registered", "client id"):
        return BrokerAuthError(
            f"Tradovate does not know this API key.{refusal.quoted}",
            remedy="Check cid and sec, which belong to the API key, and app_id; then connect again.",
            **refusal.facts,
        )
    return unavailable(refusal) or BrokerAuthError(
        f"Tradovate refused the login.{refusal.quoted}",
        remedy="Sign in to Tradovate's web application, which says more; then connect again.",
        certain=False,  # a word that is not known may be said to everybody
        **refusal.facts,
    )


def unavailable(refusal: Refusal) -> BrokerError | None:
    """A refusal that says nothing of the login, if it is one."""
    if refusal.says("maintenance"):
        return BrokerMaintenanceError("Tradovate is closed for maintenance.", **refusal.facts)
    if refusal.status == 408 or refusal.says(*_UNAVAILABLE_TEXTS):
        return BrokerUnavailableError(f"Tradovate can not log anybody in now.{refusal.quoted}", **refusal.facts)
    return None


def renewal_refused(refusal: Refusal) -> BrokerError:
    """A new login is the way on, which tells the user what is wrong when that fails too; unless nobody is served now.

    A session that was closed is answered with 408, and that does not pass.
    """
    away = None if refusal.status == 408 else unavailable(refusal)
    return away or BrokerTokenExpiredError(f"Tradovate does not renew the token.{refusal.quoted}", **refusal.facts)


def token_refused(refusal: Refusal) -> BrokerError:
    """A token that somebody else has made, when it is used for the first time."""
    if refusal.status in (401, 403, 408) or refusal.says("access is denied", "expired"):
        return BrokerAuthError(
            f"Tradovate does not accept this token.{refusal.quoted}",
            remedy="Take over a token that is valid still, or log in with OAuth or the user's API key.",
            **refusal.facts,
        )
    return request_refused(refusal)


def request_refused(refusal: Refusal) -> BrokerError:
    """A refused read: a dead token, a right that is not granted, or a question the broker does not take."""
    if refusal.names_a_dead_token:
        return BrokerTokenExpiredError("Tradovate says that the access token has expired.", **refusal.facts)
    if refusal.status == 408:
        return BrokerTokenExpiredError(
            "Tradovate no longer answers this session; a newer login may have closed it.", **refusal.facts
        )
    if refusal.denies:
        # core renews once, and only then it is the user's to solve
        return BrokerTokenExpiredError(
            f"Tradovate denies this login the right to {refusal.operation}.{refusal.quoted}",
            remedy="Grant the app or the API key read access to accounts, orders, contracts, fees and reports.",
            **refusal.facts,
        )
    if refusal.says("maintenance"):
        return BrokerMaintenanceError("Tradovate is closed for maintenance.", **refusal.facts)
    for fragments, message, fault in _REPORT_TEXTS:
        if refusal.says(*fragments):
            return BrokerAPIError(f"{message}{refusal.quoted}", fault=fault, **refusal.facts)
    return BrokerAPIError(f"Tradovate refused {refusal.operation}.{refusal.quoted}", **refusal.facts)


def report_refused(account: str) -> Meaning:
    """As for other reads; but the accounts were listed just before with the same token, so that one is not dead."""

    def meant(refusal: Refusal) -> BrokerError:
        if refusal.denies and not refusal.names_a_dead_token:
            return BrokerAPIError(
                f"Tradovate gives this login no reports of the account {account}, and without them nothing of it that "
                f"is older than the session.{refusal.quoted}",
                remedy="Grant the app or the API key the right to read reports. The sessions are read all the same.",
                fault=Fault.USER,
                **refusal.facts,
            )
        return request_refused(refusal)

    return meant


_REPORT_TEXTS: tuple[tuple[tuple[str, ...], str, Fault], ...] = (
    (("long range",), "Tradovate gives no report over that many days.", Fault.PLUGIN),
    (("account is not found", "account not found"), "Tradovate's reports do not know the account.", Fault.BROKER),
    (("unknown report",), "Tradovate has no report of that name.", Fault.PLUGIN),
    (("illegal number", "violations"), "Tradovate can not read the request.", Fault.PLUGIN),
)


def object_in(operation: str, response: HttpResponse) -> Row:
    """The answer as the object that it is to be. Raises `BrokerResponseError`."""
    body: Any = response.json()
    if not isinstance(body, dict):
        raise unexpected(operation, "is no object")
    return body


def unexpected(operation: str, what: str) -> BrokerResponseError:
    """The error for an answer of another shape than the documented one; it shows no content."""
    return BrokerResponseError(f"Tradovate's answer to {operation} {what}.", operation=operation)
