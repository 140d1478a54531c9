"""Logging in: a token has no login of its own, so a first statement is ordered with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from brokersync.plugin import (
    AuthResult,
    BrokerConfigError,
    BrokerDataUnavailableError,
    BrokerNotReadyError,
    BrokerRetryableError,
    BrokerUnavailableError,
    ProviderContext,
)
from brokersync_ibkr.client import FlexClient
from brokersync_ibkr.codes import NOT_FINALISED, PENDING, UNCHECKED
from brokersync_ibkr.coverage import Days, is_closed
from brokersync_ibkr.credentials import FlexCredentials
from brokersync_ibkr.dates import NEW_YORK, new_york_day

ACTIVITY: Final = "activity"
CONFIRMATIONS: Final = "confirmations"

# where the login keeps the statements that it ordered
REFERENCE: Final = "reference"
CONFIRMATIONS_REFERENCE: Final = "confirmations_reference"
# where it keeps the token's last day as its user gave it, if that was over
ENDED_ON: Final = "ended_on"

_FIRST_LOOK = 7
# as far back as confirmations are asked for
_CONFIRMED_FOR = timedelta(days=2)
_DAY = timedelta(days=1)
# after a day's end; a login at night that asks for the day before would be refused until the morning
_FINALISED_AFTER = timedelta(hours=6)
_UNCHECKED_FOR = timedelta(minutes=1)


class SecondLook:
    """Has core ask once more, after a minute, where a query could not be checked: it or its token may be new."""

    def __init__(self) -> None:
        self._refused: set[str] = set()

    @contextmanager
    def at(self, query_id: str) -> Iterator[None]:
        """Raises `BrokerNotReadyError` in place of the first refusal of that kind."""
        try:
            yield
        except BrokerConfigError as error:
            if error.code != UNCHECKED or query_id in self._refused:
                self._refused.discard(query_id)
                raise
            self._refused.add(query_id)
            raise BrokerNotReadyError(
                error.message, remedy=error.remedy, retry_after=_UNCHECKED_FOR, code=error.code
            ) from error
        self._refused.discard(query_id)


async def log_in(
    client: FlexClient, context: ProviderContext, credentials: FlexCredentials, second_look: SecondLook
) -> AuthResult:
    """Check the token and each query by ordering a statement of the last business days.

    The token changes at least once a year and tells no name, so the login's identity is its activity query, which
    belongs to one username and one selection of accounts. The statement on order lists the accounts later.
    """
    today = new_york_day(context.clock.now())
    days = last_business_days(new_york_day(context.clock.now() - _FINALISED_AFTER))
    references = {}
    with second_look.at(credentials.activity_query_id), _naming("activity_query_id"):
        references[REFERENCE] = await _order(client, credentials, credentials.activity_query_id, days)
    if credentials.confirmations_query_id:
        asked = Days(today - _CONFIRMED_FOR, today)
        with second_look.at(credentials.confirmations_query_id), _naming("confirmations_query_id"):
            references[CONFIRMATIONS_REFERENCE] = await _order_confirmations(client, credentials, asked)
    sources = (ACTIVITY, CONFIRMATIONS) if credentials.confirmations_query_id else (ACTIVITY,)
    return AuthResult(
        identity=f"query:{credentials.activity_query_id}",
        access_token=credentials.token,
        grant_expires_at=_end(credentials.expires_on, today),
        state=_state(credentials, references, today),
        sources=sources,
    )


def query_of(auth: AuthResult, source: str) -> str:
    """The id of the query that a source is read with. Raises `BrokerConfigError` where the user gave none."""
    query_id = auth.state.get(f"{source}_query_id")
    if query_id is None:
        raise BrokerConfigError(
            f"This login has no query for the source {source}.",
            remedy=f"Connect again and give {source}_query_id as well.",
        )
    return query_id


def last_business_days(today: date) -> Days:
    """The last seven days before this one that IBKR books on: a statement may never ask for the running day."""
    open_days: list[date] = []
    day = today
    while len(open_days) < _FIRST_LOOK:
        day -= _DAY
        if not is_closed(day):
            open_days.append(day)
    return Days(open_days[-1], open_days[0])


def _end(expires_on: str | None, today: date) -> datetime | None:
    """The beginning of the token's last day in New York, on that day its end; one that is over is an older token's."""
    if expires_on is None or _is_over(expires_on, today):
        return None
    last = date.fromisoformat(expires_on)
    return datetime.combine(max(last, today + _DAY), time(), NEW_YORK).astimezone(UTC)


def _is_over(expires_on: str, today: date) -> bool:
    return date.fromisoformat(expires_on) < today


async def _order(client: FlexClient, credentials: FlexCredentials, query_id: str, days: Days) -> str | None:
    """The reference of a statement on order; `None` where there is none to be had yet."""
    try:
        return (await client.check_login(credentials.token, query_id, days)).reference
    except (BrokerDataUnavailableError, BrokerNotReadyError) as error:
        # said only after token and query were found good: the account is new, or nothing is finalised yet
        if isinstance(error, BrokerNotReadyError) and error.code not in NOT_FINALISED:
            raise
        return None
    except BrokerUnavailableError as error:
        if error.code not in PENDING:
            raise
        # the service itself is there and is just busy, which passes: core waits a moment for whoever is not ready
        raise BrokerNotReadyError(
            error.message, remedy=error.remedy, retry_after=error.retry_after, code=error.code
        ) from error


async def _order_confirmations(client: FlexClient, credentials: FlexCredentials, days: Days) -> str | None:
    try:
        return await _order(client, credentials, credentials.confirmations_query_id or "", days)
    except BrokerRetryableError:
        # the login is good, and a sync comes back for the fills of the day
        return None


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """What a query is refused for is said of the field that its id was given in."""
    try:
        yield
    except BrokerConfigError as error:
        error.message = f"{error.message} It was asked for the query given as {field}."
        raise


def _state(credentials: FlexCredentials, references: Mapping[str, str | None], today: date) -> dict[str, str]:
    last = credentials.expires_on
    state = {
        "activity_query_id": credentials.activity_query_id,
        "confirmations_query_id": credentials.confirmations_query_id,
        ENDED_ON: last if last and _is_over(last, today) else None,
        **references,
    }
    return {name: value for name, value in state.items() if value}
