"""One request to Tradovate: what its answers mean, and the ticket that a penalty wants to see again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from brokersync.plugin import (
    BrokerAuthError,
    BrokerError,
    BrokerRateLimitError,
    BrokerUnavailableError,
    HttpResponse,
    LimitScope,
    RequestDraft,
    Secret,
)
from brokersync_tradovate.refusals import HOUR_OF_SILENCE, Meaning, Refusal, body_of, refusal_of, refuse_status
from brokersync_tradovate.rows import whole_number

_PENALTY_KEYS = ("p-ticket", "p-time", "p-captcha")
_USUAL_PENALTY = timedelta(seconds=15)
_LONGEST_PENALTY = timedelta(days=1)
_MARGIN = timedelta(seconds=1)
_MOST_PENALTIES = 2
_TIMEOUTS_OF_A_CLOSED_SESSION = 2


class Exchange:
    """The `check` and `prepare` of one request.

    Tradovate answers too many requests with status 200 and a ticket: the request was not executed, and is to be sent
    again with the ticket after a while (penalty tickets, partner.tradovate.com). The ticket lives as long as the
    request and is shown nowhere. What may be sent `once` is not sent again, ticket or not.
    """

    def __init__(self, operation: str, meaning: Meaning, hide: tuple[Secret, ...] = (), *, once: bool = False) -> None:
        self.operation, self._meaning, self._hide, self._once = operation, meaning, hide, once
        self._ticket: Secret | None = None
        self._has_body = False
        self._penalties = 0
        self._timeouts = 0

    def check(self, response: HttpResponse) -> None:
        """Raise what the answer means when it is no success; penalties come before anything else."""
        try:
            self._judge(response)
        except BrokerRateLimitError as error:
            raise (_over(error) if self._once else error) from None

    def _judge(self, response: HttpResponse) -> None:
        body = body_of(response)
        if isinstance(body, Mapping) and any(key in body for key in _PENALTY_KEYS):
            raise self._penalised(body)
        refuse_status(self.operation, response)
        if response.status == 408:
            self._timed_out()
        refusal = refusal_of(self.operation, response, body, self._hide)
        if refusal is not None:
            raise self._meaning(refusal)

    def prepare(self, draft: RequestDraft, previous_error: BrokerError | None) -> None:
        """Send the ticket along; where a read without a body carries it is not documented, so that is just repeated."""
        self._has_body = draft.json is not None or draft.form is not None
        if self._ticket is not None and isinstance(draft.json, dict):
            draft.json = {**draft.json, "p-ticket": self._ticket.reveal()}
        elif self._ticket is not None and draft.form is not None:
            draft.form = {**draft.form, "p-ticket": self._ticket.reveal()}

    def _timed_out(self) -> None:
        """The first 408 is core's to repeat. The second may mean that a newer login closed the session: its token never
        works again, and is not answered with 401 either. So a new token is asked for, once."""
        self._timeouts += 1
        if self._timeouts == _TIMEOUTS_OF_A_CLOSED_SESSION:
            raise self._meaning(Refusal(operation=self.operation, status=408))

    def _penalised(self, body: Mapping[str, Any]) -> BrokerError:
        if str(body.get("p-captcha", "")).lower() == "true":
            return BrokerAuthError(
                "Tradovate wants a person to solve a captcha before it takes further requests of this login.",
                remedy="Wait an hour, sign in once to Tradovate's web application, then connect again.",
                certain=False,  # the failures that it wants this for may have been of others behind this address
                retry_after=HOUR_OF_SILENCE,
                freeze=LimitScope.ENDPOINT,
                operation=self.operation,
            )
        self._ticket = Secret(str(body["p-ticket"])) if body.get("p-ticket") else None
        self._penalties += 1
        again_at_once = self._penalties <= _MOST_PENALTIES
        error = BrokerRateLimitError(
            "Tradovate asks to wait before it takes further requests of this login.",
            retry_after=_seconds(body.get("p-time")) + _MARGIN if again_at_once else HOUR_OF_SILENCE,
            freeze=LimitScope.CREDENTIAL,
            operation=self.operation,
        )
        error.ticketed = self._has_body and self._ticket is not None
        return error


def _over(error: BrokerRateLimitError) -> BrokerUnavailableError:
    """The same for a request that is not repeated: others keep the silence that is asked for all the same."""
    return BrokerUnavailableError(
        error.message,
        retry_after=error.retry_after,
        freeze=error.freeze,
        operation=error.operation,
        status=error.status,
    )


def _seconds(value: Any) -> timedelta:
    value = whole_number(value) if isinstance(value, str) else value
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and value >= 0:
        return timedelta(seconds=min(float(value), _LONGEST_PENALTY.total_seconds()))
    return _USUAL_PENALTY
