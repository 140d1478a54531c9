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
    ProviderContext,
    Secret,
    TradeRequest,
)
from brokersync_ibkr.coverage import Days
from brokersync_ibkr.credentials import FlexCredentials
from brokersync_ibkr.provider import FlexProvider, diagnose

TOKEN = "918273645546372819"
MAIN = "https://ndcdyn.interactivebrokers.com/AccountManagement/FlexWebService"
BOTH = FlexCredentials(token=Secret(f" {TOKEN}\n"), activity_query_id="11", confirmations_query_id="12")
CREDENTIALS = attrs.evolve(BOTH, confirmations_query_id=None)
FACTS = {"accountId": "U4711001", "currency": "USD", "dateOpened": "20200302"}

MakeContext = Callable[..., ProviderContext]


@pytest.fixture
def provider(make_context: MakeContext) -> FlexProvider:
    return FlexProvider(make_context())


async def test_a_login_orders_the_last_seven_business_days_and_the_confirmations_of_three(
    provider: FlexProvider, service: Any, flex: Any
) -> None:
    service.script += [flex.accepted(reference="7001"), flex.accepted(reference="7002")]
    auth = await provider.authenticate(BOTH)
    order = {"t": TOKEN, "v": "3"}
    assert service.requests == [
        ("send_request", f"{MAIN}/SendRequest", order | {"q": "11", "fd": "20240307", "td": "20240315"}),
        ("send_request", f"{MAIN}/SendRequest", order | {"q": "12", "fd": "20240316", "td": "20240318"}),
    ]
    assert auth.identity == "query:11"
    assert auth.access_token is not None
    assert auth.state == {
        "activity_query_id": "11",
        "confirmations_query_id": "12",
        "reference": "7001",
        "confirmations_reference": "7002",
    }
    assert auth.sources == ("activity", "confirmations")
    assert TOKEN not in repr(auth)


async def test_all_requests_with_one_token_are_counted_together_whatever_queries_it_runs(
    provider: FlexProvider, service: Any, flex: Any, auth: AuthResult
) -> None:
    service.script += [flex.accepted(), flex.accepted(), flex.accepted(), flex.accepted(), flex.refused(1003)]
    await provider.authenticate(BOTH)
    await provider.authenticate(attrs.evolve(CREDENTIALS, activity_query_id="21"))
    window = Days(date(2024, 3, 11), date(2024, 3, 15)).window
    await anext(provider.get_trades(auth, TradeRequest(source="activity", window=window)))
    await provider.get_accounts(auth)
    [counted_by] = set(service.metered)
    assert counted_by
    assert TOKEN not in counted_by
    service.script += [flex.accepted()]
    await provider.authenticate(attrs.evolve(CREDENTIALS, token=Secret("4711")))
    assert service.metered[-1] not in (None, counted_by)


@pytest.mark.parametrize("place", [0, 1])
async def test_a_query_that_is_not_valid_is_named_by_its_field(
    provider: FlexProvider, service: Any, flex: Any, place: int
) -> None:
    service.script += [flex.accepted()] * place + [flex.refused(1014)]
    with pytest.raises(BrokerConfigError) as caught:
        await provider.authenticate(BOTH)
    assert f"given as {['activity', 'confirmations'][place]}_query_id" in caught.value.message
    assert "compare its Query ID" in caught.value.remedy


@pytest.mark.parametrize("code", [1001, 1003, 1005, 1009, 1018, 1019])
async def test_confirmations_that_are_not_to_be_had_now_keep_nobody_from_logging_in(
    provider: FlexProvider, service: Any, flex: Any, code: int
) -> None:
    service.script += [flex.accepted(), flex.refused(code)]
    auth = await provider.authenticate(BOTH)
    assert auth.sources == ("activity", "confirmations")
    assert "confirmations_reference" not in auth.state


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
    auth = await provider.authenticate(CREDENTIALS)
    assert auth.sources == ("activity",)
    request = TradeRequest(source="confirmations", window=Days(date(2024, 3, 15), date(2024, 3, 15)).window)
    with pytest.raises(BrokerConfigError, match="no query for the source confirmations"):
        await anext(provider.get_trades(auth, request))


@pytest.mark.parametrize(
    ("expires_on", "end"),
    [
        ("2025-03-14", datetime(2025, 3, 14, 4, tzinfo=UTC)),
        ("2024-03-19", datetime(2024, 3, 19, 4, tzinfo=UTC)),
        # on the last day it still works, until New York's midnight
        ("2024-03-18", datetime(2024, 3, 19, 4, tzinfo=UTC)),
        ("2024-03-17", None),
        (None, None),
    ],
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
        (1009, BrokerNotReadyError),
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
    make_context: MakeContext, auth: AuthResult, service: Any, flex: Any, clock: Any
) -> None:
    known = attrs.evolve(auth, grant_expires_at=clock.now() + timedelta(days=300))
    service.script.append(flex.document(flex.statement([flex.trade()], extra=flex.account(**FACTS))))
    assert await diagnose(make_context(), known) == []
    assert service.files[-1].closed
    both = attrs.evolve(known, state={**known.state, "confirmations_reference": "7002"})
    service.script.append(flex.document(flex.statement([flex.trade()], extra=flex.account(**FACTS))))
    service.script.append(flex.document(flex.statement([flex.confirm()], section="TradeConfirms"), kind="TCF"))
    assert await diagnose(make_context(), both) == []
    assert [params["q"] for *_, params in service.requests] == ["7001", "7001", "7002"]


async def test_a_token_without_its_last_day_is_told_of(
    make_context: MakeContext, auth: AuthResult, service: Any, flex: Any
) -> None:
    service.script.append(flex.document(flex.statement([flex.trade()], extra=flex.account(**FACTS))))
    [said] = await diagnose(make_context(), auth)
    assert "as expires_on, to be told a week before" in said


async def test_a_last_day_that_is_over_is_told_of(
    provider: FlexProvider, make_context: MakeContext, service: Any, flex: Any
) -> None:
    statement = flex.document(flex.statement([flex.trade()], extra=flex.account(**FACTS)))
    for day, told in (("2024-03-17", True), ("2024-03-18", False)):
        service.script += [flex.accepted(), statement]
        auth = await provider.authenticate(attrs.evolve(CREDENTIALS, expires_on=day))
        said = await diagnose(make_context(), auth)
        assert any(f"{day}, is over" in one and "as expires_on" in one for one in said) == told


async def test_a_query_that_can_not_be_checked_yet_is_asked_once_more_after_a_minute(
    provider: FlexProvider, service: Any, flex: Any
) -> None:
    both = attrs.evolve(CREDENTIALS, confirmations_query_id="12")
    for ordered, field in (([], "activity_query_id"), ([flex.accepted()], "confirmations_query_id")):
        service.script += [*ordered, flex.refused(1020)]
        with pytest.raises(BrokerNotReadyError) as waiting:
            await provider.authenticate(both)
        assert waiting.value.retry_after == timedelta(minutes=1)
        service.script += [*ordered, flex.refused(1020)]
        with pytest.raises(BrokerConfigError, match=field) as caught:
            await provider.authenticate(both)
        assert "generated last, under the username of the query" in caught.value.remedy
    service.script += [flex.refused(1020)]
    with pytest.raises(BrokerNotReadyError):
        await provider.authenticate(both)
    service.script += [flex.accepted(), flex.accepted()]
    assert (await provider.authenticate(both)).sources == ("activity", "confirmations")


async def test_what_the_activity_query_tells_of_an_alias_is_known_of_the_other_one(
    make_context: MakeContext, auth: AuthResult, service: Any, flex: Any
) -> None:
    both = attrs.evolve(auth, state={**auth.state, "confirmations_reference": "7002"})
    row = flex.trade(acctAlias="My Pot")
    confirmed = flex.statement([flex.confirm(accountId="My Pot")], section="TradeConfirms", account="My Pot")
    shown = flex.document(confirmed, kind="TCF")
    service.script += [flex.document(flex.statement([row], extra=flex.account(**FACTS))), shown]
    assert not [one for one in await diagnose(make_context(), both) if "can not be used" in one]
    service.script += [flex.document(flex.statement([flex.trade()], extra=flex.account(**FACTS))), shown]
    assert found(await diagnose(make_context(), both), "can not be used yet", "alias")


async def test_an_alias_a_consolidated_statement_and_a_master_alone_are_explained(
    make_context: MakeContext, auth: AuthResult, service: Any, flex: Any
) -> None:
    facts = FACTS | {"accountId": "F4711000", "accountType": "Advisor Master Consolidated"}
    both_names = flex.statement([flex.trade(accountId="My Pot")], extra=flex.account(**FACTS))
    alone = flex.statement(account="F4711000", extra=flex.account(**{**facts, "accountType": "Advisor Master"}))
    together = flex.statement([flex.trade()], account="F4711000", extra=flex.account(**facts))
    for statement, words in (
        (both_names, ("alias", "set Display Account Alias in place of Account ID to No")),
        (together, ("several accounts into one statement", "select the accounts one by one")),
        (alone, ("none of its sub-accounts", "select the sub-accounts as well")),
    ):
        service.script.append(flex.document(statement))
        assert found(await diagnose(make_context(), auth), *words)


def found(said: Any, *words: str) -> bool:
    """Whether one sentence holds the words, and where to click."""
    return any(all(word in one for word in (*words, "Performance & Reports > Flex Queries")) for one in said)


async def test_what_a_query_lacks_is_said_in_sentences(
    make_context: MakeContext, auth: AuthResult, service: Any, flex: Any
) -> None:
    row = flex.trade(multiplier=None, ibCommissionCurrency=None, dateTime=None, accountId="My Pot")
    daily = [flex.statement([row], account="My Pot"), flex.statement([row], account="My Pot")]
    service.script.append(flex.document(*daily, kind="XX"))
    said = await diagnose(make_context(), auth)
    assert any("unknown here" in one for one in said)
    assert found(said, "alias", "set Display Account Alias in place of Account ID to No")
    assert found(said, "for each day", "set Breakout by Day to No")
    assert found(said, "currency, name and opening day", "click the section Account Information, tick all columns")
    assert found(said, "section Trades", "tick Multiplier, Date/Time, IB Commission Currency as well")


async def test_a_confirmation_query_is_looked_at_as_well(
    make_context: MakeContext, auth: AuthResult, service: Any, flex: Any
) -> None:
    both = attrs.evolve(auth, state={**auth.state, "confirmations_reference": "7002"})
    good = flex.document(flex.statement([flex.trade()], extra=flex.account(**FACTS)))
    orders = [flex.confirm(levelOfDetail="ORDER")]
    service.script += [good, flex.document(flex.statement(orders, section="TradeConfirms"), kind="TCF")]
    said = await diagnose(make_context(), both)
    assert found(said, "Trade Confirmation query (confirmations_query_id)", "tick Execution")
    service.script += [good, good]
    said = await diagnose(make_context(), both)
    assert any("no Trade Confirmation Flex Query" in one and "may be swapped" in one for one in said)
    row = flex.confirm(ibExecID="x.y.01.01", multiplier=None)
    service.script += [good, flex.document(flex.statement([row], section="TradeConfirms"), kind="TCF")]
    assert found(await diagnose(make_context(), both), "section Trade Confirmations, tick Multiplier as well")


async def test_all_that_keeps_a_query_from_telling_trades_is_said_at_once(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    changes = {"accountId": "My Pot", "tradeID": None, "transactionID": None, "multiplier": None}
    rows = [flex.trade(number, **changes) for number in range(2)]
    dates = {"first": "03/02/2024", "last": "03/05/2024", "made": "03/07/2024;061500", "account": "My Pot"}
    service.script.append(flex.document(flex.statement(rows, **dates)))
    with pytest.raises(BrokerConfigError) as caught:
        await provider.get_accounts(auth)
    assert "does not tell Trade ID and Transaction ID" in caught.value.message
    for words in (
        "tick Trade ID and Transaction ID",
        "set Date Format to yyyyMMdd",
        "Account Alias",
        "tick Multiplier as well",
    ):
        assert words in caught.value.remedy


async def test_a_query_without_trades_yet_can_not_be_checked_in_full(
    make_context: MakeContext, auth: AuthResult, service: Any, flex: Any
) -> None:
    service.script.append(flex.document(flex.statement(section=None, extra=flex.account(**FACTS))))
    said = await diagnose(make_context(), auth)
    assert found(said, "no Trades section yet", "click the section Trades, tick Execution and all columns")
    assert any("could not be checked" in one for one in said)
    service.script.append(flex.refused(1003))
    assert len(await diagnose(make_context(), auth)) == 1
