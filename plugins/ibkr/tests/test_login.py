from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import attrs
import pytest

from brokersync.plugin import (
    AuthResult,
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    ProviderContext,
    Secret,
    TradeRequest,
)
from brokersync_ibkr.coverage import Days
from brokersync_ibkr.credentials import FlexCredentials
from brokersync_ibkr.provider import FlexProvider, diagnose

TOKEN = "918273645546372819"
MAIN = "https://ndcdyn.interactivebrokers.com/AccountManagement/FlexWebService"
CREDENTIALS = FlexCredentials(token=Secret(f" {TOKEN}\n"), activity_query_id="11", confirmations_query_id="12")

MakeContext = Callable[..., ProviderContext]


@pytest.fixture
def provider(make_context: MakeContext) -> FlexProvider:
    return FlexProvider(make_context())


async def test_a_login_orders_the_last_seven_business_days(provider: FlexProvider, service: Any, flex: Any) -> None:
    service.script.append(flex.accepted(reference="7001"))
    auth = await provider.authenticate(CREDENTIALS)
    assert service.requests == [
        ("send_request", f"{MAIN}/SendRequest", {"t": TOKEN, "q": "11", "v": "3", "fd": "20240307", "td": "20240315"})
    ]
    assert auth.identity == "query:11"
    assert auth.access_token is not None
    assert auth.state == {"activity_query_id": "11", "confirmations_query_id": "12", "reference": "7001"}
    assert auth.sources == ("activity", "confirmations")
    assert TOKEN not in repr(auth)


async def test_a_login_at_night_leaves_out_the_day_that_is_not_made_up_yet(
    provider: FlexProvider, clock: Any, service: Any, flex: Any
) -> None:
    clock.time = datetime(2024, 3, 20, 5, 30, tzinfo=UTC)  # a Wednesday, 01:30 in New York
    service.script.append(flex.accepted())
    await provider.authenticate(CREDENTIALS)
    assert service.requests[0][2]["td"] == "20240318"


@pytest.mark.parametrize("code", [1005, 1006, 1007, 1008])
async def test_a_login_whose_first_statement_is_not_made_up_yet_lists_its_accounts_later(
    provider: FlexProvider, service: Any, flex: Any, code: int
) -> None:
    service.script.append(flex.refused(code))
    auth = await provider.authenticate(CREDENTIALS)
    assert await provider.get_accounts(auth) == ()


async def test_without_a_second_query_there_are_no_confirmations(
    provider: FlexProvider, service: Any, flex: Any
) -> None:
    service.script.append(flex.accepted())
    auth = await provider.authenticate(attrs.evolve(CREDENTIALS, confirmations_query_id=None))
    assert auth.sources == ("activity",)
    request = TradeRequest(source="confirmations", window=Days(date(2024, 3, 15), date(2024, 3, 15)).window)
    with pytest.raises(BrokerConfigError, match="no query for the source confirmations"):
        await anext(provider.get_trades(auth, request))


@pytest.mark.parametrize(
    ("expires_on", "end"),
    [("2025-03-14", datetime(2025, 3, 14, 4, tzinfo=UTC)), ("2024-01-31", None), (None, None)],
)
async def test_a_token_ends_on_the_day_that_its_user_gives(
    provider: FlexProvider, service: Any, flex: Any, expires_on: str | None, end: datetime | None
) -> None:
    service.script.append(flex.accepted())
    auth = await provider.authenticate(attrs.evolve(CREDENTIALS, expires_on=expires_on))
    assert auth.grant_expires_at == end


async def test_a_new_account_without_any_statement_can_log_in(provider: FlexProvider, service: Any, flex: Any) -> None:
    service.script.append(flex.refused(1003))
    auth = await provider.authenticate(CREDENTIALS)
    assert "reference" not in auth.state
    assert await provider.get_accounts(auth) == ()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1012, BrokerAuthError),
        (1013, BrokerAuthError),
        (1015, BrokerAuthError),
        (1011, BrokerConfigError),
        (1014, BrokerConfigError),
        (1018, BrokerRateLimitError),
        (1009, BrokerUnavailableError),
    ],
)
async def test_a_refused_login_says_what_to_do_and_shows_no_token(
    provider: FlexProvider, service: Any, flex: Any, code: int, kind: type[BrokerError]
) -> None:
    service.script.append(flex.refused(code, f"token {TOKEN} was refused"))
    with pytest.raises(kind) as caught:
        await provider.authenticate(CREDENTIALS)
    assert caught.value.remedy
    assert TOKEN not in str(caught.value)


async def test_a_token_is_never_renewed(provider: FlexProvider, auth: AuthResult) -> None:
    with pytest.raises(BrokerTokenExpiredError):
        await provider.refresh_token(auth)


async def test_the_accounts_are_those_of_the_statement_that_the_login_ordered(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    facts = {"accountId": "U4711001", "currency": "USD", "dateOpened": "20200302"}
    body = flex.document(flex.statement(extra=flex.account(**facts)), flex.statement(account="U4711000"))
    service.script.append(body)
    accounts = await provider.get_accounts(auth)
    assert [(one.account_id, one.currency) for one in accounts] == [("U4711000", None), ("U4711001", "USD")]
    assert accounts[1].opened_at == datetime(2020, 3, 2, 5, tzinfo=UTC)
    assert service.requests == [("get_statement", f"{MAIN}/GetStatement", {"t": TOKEN, "q": "7001", "v": "3"})]
    assert service.files[0].closed


@pytest.mark.parametrize("code", [1019, 1004, 1001, 1021])
async def test_accounts_that_are_not_ready_are_asked_for_again_in_five_seconds(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any, code: int
) -> None:
    service.script.append(flex.refused(code))
    with pytest.raises(BrokerNotReadyError) as caught:
        await provider.get_accounts(auth)
    assert caught.value.retry_after == timedelta(seconds=5)


async def test_a_forgotten_reference_asks_for_a_new_login(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    service.script.append(flex.refused(1017))
    with pytest.raises(BrokerTokenExpiredError):
        await provider.get_accounts(auth)


async def test_a_login_whose_first_days_have_no_statement_has_no_accounts_yet(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    service.script.append(flex.refused(1003))
    assert await provider.get_accounts(auth) == ()


async def test_a_query_without_executions_is_told_when_connecting(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    service.script.append(flex.document(flex.statement([flex.trade(element="Order")])))
    with pytest.raises(BrokerConfigError, match="no executions"):
        await provider.get_accounts(auth)
    assert service.files[0].closed


async def test_a_damaged_first_statement_is_told_and_its_file_closed(
    provider: FlexProvider, make_context: MakeContext, auth: AuthResult, service: Any, flex: Any
) -> None:
    damaged = flex.document(flex.statement()).replace(b"</Trades>", b"</Trodes>")
    service.script += [damaged, damaged]
    with pytest.raises(BrokerResponseError, match="can not be read"):
        await provider.get_accounts(auth)
    with pytest.raises(BrokerResponseError, match="can not be read"):
        await diagnose(make_context(), auth)
    assert [file.closed for file in service.files] == [True, True]


async def test_a_good_query_has_nothing_to_be_said_of(
    make_context: MakeContext, auth: AuthResult, service: Any, flex: Any
) -> None:
    service.script.append(flex.document(flex.statement([flex.trade()])))
    assert await diagnose(make_context(), auth) == []
    assert service.files[-1].closed


async def test_what_a_query_lacks_is_said_in_sentences(
    make_context: MakeContext, auth: AuthResult, service: Any, flex: Any
) -> None:
    row = flex.trade(multiplier=None, ibCommissionCurrency=None, dateTime=None, accountId="My Pot")
    service.script.append(flex.document(flex.statement([row], account="My Pot"), kind="XX"))
    said = " ".join(await diagnose(make_context(), auth))
    for words in (
        "unknown here",
        "Account Alias to No",
        "tick multiplier",
        "tick ibCommissionCurrency",
        "tick dateTime or tradeTime",
    ):
        assert words in said
    assert "quantity" not in said


async def test_a_query_without_trades_yet_can_not_be_checked_in_full(
    make_context: MakeContext, auth: AuthResult, service: Any, flex: Any
) -> None:
    service.script.append(flex.document(flex.statement(section=None)))
    said = await diagnose(make_context(), auth)
    assert ["Trades with Execution" in said[0], "no execution" in said[1]] == [True, True]
    service.script.append(flex.refused(1003))
    assert await diagnose(make_context(), auth) == ()
