from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import attrs
import pytest

from brokersync.plugin import (
    AuthResult,
    BrokerAPIError,
    BrokerAuthError,
    BrokerConfigError,
    BrokerCursorError,
    BrokerDataUnavailableError,
    BrokerError,
    BrokerMaintenanceError,
    BrokerProvider,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    Finality,
    HttpResponse,
    ProviderContext,
    TradePage,
    TradeRequest,
)
from brokersync_ibkr.coverage import Days
from brokersync_ibkr.orders import MOST_ORDERS, order_of
from brokersync_ibkr.provider import FlexProvider

TOKEN = "918273645546372819"
MAIN = "https://ndcdyn.interactivebrokers.com/AccountManagement/FlexWebService"
OTHER = "https://gdcdyn.interactivebrokers.com/AccountManagement/FlexWebService"
WEEK = Days(date(2024, 3, 11), date(2024, 3, 15))  # Monday to Friday; now it is the Monday after

JudgedByStatusError = AssertionError  # what the scripted service raises where core would judge
MakeContext = Callable[..., ProviderContext]


@pytest.fixture
def provider(make_context: MakeContext) -> FlexProvider:
    return FlexProvider(make_context())


def ask(days: Days = WEEK, source: str = "activity", cursor: str | None = None) -> TradeRequest:
    return TradeRequest(source=source, window=days.window, cursor=cursor)


async def pages(provider: FlexProvider, auth: AuthResult, request: TradeRequest) -> list[TradePage]:
    return [page async for page in provider.get_trades(auth, request)]


async def ordered(provider: FlexProvider, auth: AuthResult, service: Any, flex: Any, **request: Any) -> TradeRequest:
    """The request that goes on from an order."""
    service.script.append(flex.accepted())
    first = ask(**request)
    [page] = await pages(provider, auth, first)
    service.requests.clear()
    return attrs.evolve(first, cursor=page.cursor)


def test_it_is_a_provider_whose_trades_are_an_async_generator(provider: FlexProvider) -> None:
    assert isinstance(provider, BrokerProvider)
    assert inspect.isasyncgenfunction(provider.get_trades)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", BrokerResponseError),
        (b"<html>Log in</html>", BrokerResponseError),
        (b"<html>Down for Maintenance</html>", BrokerMaintenanceError),
        (b'"ClientAccountID","Symbol"\n', BrokerConfigError),
        (b"<other/>", BrokerResponseError),
        (b"busy", BrokerResponseError),
        (b"<FlexStatementResponse><Status>", BrokerResponseError),
        (b"<FlexStatementResponse><Status>Success</Status></FlexStatementResponse>", BrokerResponseError),
    ],
)
async def test_what_is_no_answer_of_the_service_is_told_apart(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any, body: bytes, kind: type[BrokerError]
) -> None:
    service.script.append(body)
    with pytest.raises(kind):
        await pages(provider, auth, ask())
    request = await ordered(provider, auth, service, flex)
    service.script.append(body)
    with pytest.raises(kind):
        await pages(provider, auth, request)


async def test_a_reference_that_is_no_plain_code_is_refused(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    service.script.append(flex.accepted(reference="77&amp;t=1"))
    with pytest.raises(BrokerResponseError, match="no reference code"):
        await pages(provider, auth, ask())


@pytest.mark.parametrize("step", ["order", "fetch"])
async def test_a_status_is_cores_to_judge_unless_the_service_explains_itself(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any, step: str
) -> None:
    request = ask() if step == "order" else await ordered(provider, auth, service, flex)
    service.script.append(HttpResponse(status=503, headers={}, body=b"<html>busy</html>", url=MAIN))
    with pytest.raises(JudgedByStatusError):
        await pages(provider, auth, request)
    service.script.append(HttpResponse(status=500, headers={}, body=flex.refused(1012), url=MAIN))
    with pytest.raises(BrokerAuthError, match="expired"):
        await pages(provider, auth, request)


async def test_a_statement_is_ordered_waited_for_and_read(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any, clock: Any
) -> None:
    service.script += [flex.accepted(), flex.refused(1019, status="Warn"), flex.refused(1004)]
    service.script.append(flex.document(flex.statement(flex.trade(number) for number in range(600))))
    [order] = await pages(provider, auth, ask())
    assert order.resume_at == clock.now() + timedelta(seconds=5)
    assert (order.bookings, order.covered) == ((), ())
    clock.advance(seconds=5)
    [again] = await pages(provider, auth, ask(cursor=order.cursor))
    assert again.resume_at == clock.now() + timedelta(seconds=10)
    clock.advance(seconds=10)
    [later] = await pages(provider, auth, ask(cursor=again.cursor))
    assert later.resume_at == clock.now() + timedelta(seconds=10)
    clock.advance(seconds=10)
    first, last = await pages(provider, auth, ask(cursor=later.cursor))
    assert [len(first.bookings), len(last.bookings)] == [500, 100]
    assert first.covered == ()
    [span] = last.covered
    assert (span.account_id, span.window, span.finality) == ("U4711001", WEEK.window, Finality.FINAL)
    assert (first.cursor, last.cursor, last.resume_at) == (None, None, None)
    assert service.requests == [
        ("send_request", f"{MAIN}/SendRequest", {"t": TOKEN, "q": "11", "v": "3", "fd": "20240311", "td": "20240315"}),
        *[("get_statement", f"{MAIN}/GetStatement", {"t": TOKEN, "q": "7701", "v": "3"})] * 3,
    ]
    assert service.files[-1].closed


async def test_confirmations_run_the_other_query_and_are_provisional(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    today = Days(date(2024, 3, 15), date(2024, 3, 18))
    service.script.append(flex.accepted())
    [page] = await pages(provider, auth, ask(today, "confirmations"))
    assert service.requests[0][2] | {"q": "12", "fd": "20240315", "td": "20240318"} == service.requests[0][2]
    body = flex.document(
        flex.statement([flex.confirm()], section="TradeConfirms", first="20240315", last="20240318"), kind="TCF"
    )
    service.script.append(body)
    [page] = await pages(provider, auth, ask(today, "confirmations", page.cursor))
    assert [(span.window, span.finality) for span in page.covered] == [(today.window, Finality.PROVISIONAL)]
    assert page.bookings[0].booking_id.startswith("ex:")


async def test_a_statement_over_other_days_than_asked_covers_only_what_was_asked(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    request = await ordered(provider, auth, service, flex)
    service.script.append(flex.document(flex.statement([flex.trade()], first="20240314", last="20240314")))
    [page] = await pages(provider, auth, request)
    assert [span.window for span in page.covered] == [Days(date(2024, 3, 14), date(2024, 3, 14)).window]
    assert len(page.bookings) == 1


def days_ordered(service: Any) -> list[tuple[str, str]]:
    told = [params for operation, _, params in service.requests if operation == "send_request"]
    return [(params["fd"], params["td"]) for params in told]


async def test_after_twelve_minutes_the_newer_half_is_ordered_and_then_the_rest_in_pieces_of_its_size(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any, clock: Any
) -> None:
    request = await ordered(provider, auth, service, flex)
    service.requests.clear()
    for half in ("7702", "7703"):
        clock.advance(minutes=12, seconds=1)
        service.script += [flex.refused(1019), flex.accepted(reference=half)]
        [page] = await pages(provider, auth, request)
        assert page.covered == ()
        assert page.resume_at == clock.now() + timedelta(seconds=5)
        request = attrs.evolve(request, cursor=page.cursor)
    pieces = [Days(date(2024, 3, first), date(2024, 3, last)) for first, last in ((14, 15), (12, 13), (11, 11))]
    for number, piece in enumerate(pieces):
        told = {"first": f"{piece.first:%Y%m%d}", "last": f"{piece.last:%Y%m%d}"}
        service.script.append(flex.document(flex.statement([flex.trade(number)], **told)))
        service.script += [flex.accepted(reference=f"771{number}")] if piece is not pieces[-1] else []
        read = await pages(provider, auth, request)
        assert [span.window for page in read for span in page.covered] == [piece.window]
        assert sum(len(page.bookings) for page in read) == 1
        request = attrs.evolve(request, cursor=read[-1].cursor)
    assert request.cursor is None
    halves = [("20240313", "20240315"), ("20240314", "20240315")]
    assert days_ordered(service) == [*halves, ("20240312", "20240313"), ("20240311", "20240311")]


async def test_one_day_that_is_not_ready_in_twelve_minutes_is_left_for_a_later_sync(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any, clock: Any
) -> None:
    request = await ordered(provider, auth, service, flex, days=Days(WEEK.last, WEEK.last))
    clock.advance(minutes=12, seconds=1)
    service.script.append(flex.refused(1019))
    with pytest.raises(BrokerUnavailableError, match="still generating"):
        await pages(provider, auth, request)
    service.script.append(flex.document(flex.statement()))
    assert (await pages(provider, auth, request))[-1].covered
    clock.advance(minutes=8)
    with pytest.raises(BrokerCursorError):
        await pages(provider, auth, request)
    assert not service.script


async def test_an_unknown_reference_is_looked_for_at_the_host_the_service_named(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    request = await ordered(provider, auth, service, flex)
    service.script += [flex.refused(1017), flex.document(flex.statement([flex.trade()]))]
    [page] = await pages(provider, auth, request)
    assert len(page.bookings) == 1
    assert [url for _, url, _ in service.requests] == [f"{MAIN}/GetStatement", f"{OTHER}/GetStatement"]


@pytest.mark.parametrize(
    "error",
    [BrokerUnavailableError("no connection"), BrokerTimeoutError("slow"), BrokerAPIError("not there", status=404)],
)
async def test_a_host_that_can_not_be_reached_is_not_the_only_one(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any, error: BrokerError
) -> None:
    request = await ordered(provider, auth, service, flex)
    service.script += [error, flex.document(flex.statement([flex.trade()]))]
    [page] = await pages(provider, auth, request)
    assert len(page.bookings) == 1
    assert [url for _, url, _ in service.requests] == [f"{MAIN}/GetStatement", f"{OTHER}/GetStatement"]
    service.script += [error, BrokerUnavailableError("nor there")]
    with pytest.raises(type(error)) as caught:
        await pages(provider, auth, request)
    assert caught.value is error


async def test_what_the_service_itself_refuses_is_asked_of_no_other_host(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    request = await ordered(provider, auth, service, flex)
    for code, kind in ((1018, BrokerRateLimitError), (1012, BrokerAuthError), (1014, BrokerConfigError)):
        service.script.append(flex.refused(code))
        with pytest.raises(kind):
            await pages(provider, auth, request)
    assert {url for _, url, _ in service.requests} == {f"{MAIN}/GetStatement"}


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.invalid",
        "http://gdcdyn.interactivebrokers.com",
        "https://gdcdyn.interactivebrokers.com.example.invalid",
        "https://gdcdyn.interactivebrokers.com/Universal/servlet/FlexStatementService.GetStatement?x=",
        "https://gdcdyn.interactivebrokers.com@example.invalid",
        "https://gdcdyn.interactivebrokers.com?",
    ],
)
async def test_the_token_is_never_sent_to_another_host(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any, url: str
) -> None:
    service.script.append(flex.accepted(url=url))
    [page] = await pages(provider, auth, ask())
    service.script += [flex.refused(1017), flex.accepted(reference="7702")]
    await pages(provider, auth, ask(cursor=page.cursor))
    assert {url.rpartition("/")[0] for _, url, _ in service.requests} == {MAIN}


async def test_a_statement_that_is_only_to_be_had_at_a_host_that_is_not_allowed_says_so(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    service.script.append(flex.accepted(url="https://flex.example.invalid"))
    [page] = await pages(provider, auth, ask())
    for _ in range(MOST_ORDERS - 1):
        named = flex.accepted(reference="7702", url="https://flex.example.invalid")
        service.script += [flex.refused(1017), named]
        [page] = await pages(provider, auth, ask(cursor=page.cursor))
    service.script.append(flex.refused(1017))
    with pytest.raises(BrokerResponseError, match=r"named the host 'flex\.example\.invalid'") as caught:
        await pages(provider, auth, ask(cursor=page.cursor))
    assert caught.value.code == "1017"
    assert "[brokers.ibkr.hosts]" in caught.value.remedy


@pytest.mark.parametrize(("kind", "status"), [(BrokerUnavailableError, 503), (BrokerAPIError, 404)])
@pytest.mark.parametrize("path", ["", "/Reports/Fetch?of="])
async def test_a_host_that_is_not_allowed_is_named_where_the_usual_one_can_not_be_reached(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any, kind: type[BrokerError], status: int,
    path: str,
) -> None:  # fmt: skip
    error = kind("Not there.", remedy="Wait.", status=status)
    service.script.append(flex.accepted(url=f"https://flex.example.invalid{path}"))
    [page] = await pages(provider, auth, ask())
    service.script.append(error)
    with pytest.raises(kind, match=r"Not there\. .* named the host 'flex\.example\.invalid'") as caught:
        await pages(provider, auth, ask(cursor=page.cursor))
    assert (type(caught.value), caught.value.status, caught.value.code) == (kind, status, None)
    assert (caught.value.remedy or "").startswith("Wait. If IBKR says that its Flex service has moved there")
    assert {url for _, url, _ in service.requests} == {f"{MAIN}/SendRequest", f"{MAIN}/GetStatement"}


async def test_what_the_service_answers_by_itself_names_no_host(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    service.script.append(flex.accepted(url="https://flex.example.invalid"))
    [page] = await pages(provider, auth, ask())
    service.script.append(flex.refused(1018))
    with pytest.raises(BrokerRateLimitError) as caught:
        await pages(provider, auth, ask(cursor=page.cursor))
    assert "flex.example.invalid" not in str(caught.value)


async def test_a_reference_that_is_gone_is_ordered_anew_once(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any, clock: Any
) -> None:
    request = await ordered(provider, auth, service, flex)
    clock.advance(minutes=11)
    service.script += [flex.refused(1017), flex.refused(1017), flex.accepted(reference="7702")]
    [page] = await pages(provider, auth, request)
    assert page.resume_at == clock.now() + timedelta(seconds=5)
    clock.advance(minutes=11)
    service.script.append(flex.refused(1019))
    [page] = await pages(provider, auth, attrs.evolve(request, cursor=page.cursor))
    service.script += [flex.refused(1017), flex.refused(1017)]
    with pytest.raises(BrokerResponseError) as caught:
        await pages(provider, auth, attrs.evolve(request, cursor=page.cursor))
    assert caught.value.code == "1017"
    assert [operation for operation, *_ in service.requests].count("send_request") == 1


async def test_a_request_that_could_not_be_checked_is_made_once_more_after_a_minute(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any, clock: Any
) -> None:
    service.script.append(flex.refused(1020))
    [page] = await pages(provider, auth, ask())
    assert page.resume_at == clock.now() + timedelta(minutes=1)
    again = ask(cursor=page.cursor)
    service.script.append(flex.accepted())
    [page] = await pages(provider, auth, again)
    assert page.resume_at == clock.now() + timedelta(seconds=5)
    service.script.append(flex.refused(1020))
    with pytest.raises(BrokerConfigError, match="1020"):
        await pages(provider, auth, again)
    assert not service.script


async def test_an_old_window_without_a_statement_has_no_data(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    old = Days(date(2019, 1, 1), date(2019, 12, 31))
    service.script.append(flex.refused(1003))
    with pytest.raises(BrokerDataUnavailableError):
        await pages(provider, auth, ask(old))
    request = await ordered(provider, auth, service, flex, days=old)
    service.script.append(flex.refused(1003))
    with pytest.raises(BrokerDataUnavailableError):
        await pages(provider, auth, request)


async def test_new_days_without_a_statement_are_left_away_until_there_is_one(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    service.script += [flex.refused(1003), flex.refused(1003), flex.accepted()]
    [page] = await pages(provider, auth, ask())
    assert [params["td"] for *_, params in service.requests] == ["20240315", "20240314", "20240313"]
    service.script += [flex.refused(1003), flex.accepted(reference="7702")]
    [page] = await pages(provider, auth, ask(cursor=page.cursor))
    assert order_of(page.cursor or "").days == Days(WEEK.first, date(2024, 3, 12))
    service.script.append(flex.document(flex.statement(last="20240312", made="20240313;060000")))
    [page] = await pages(provider, auth, ask(cursor=page.cursor))
    assert [span.window for span in page.covered] == [Days(WEEK.first, date(2024, 3, 12)).window]


async def test_new_days_without_any_statement_stay_uncovered_and_are_no_missing_data(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    service.script += [flex.refused(1003)] * 5
    assert await pages(provider, auth, ask()) == [TradePage()]
    long = Days(date(2023, 4, 1), date(2024, 3, 17))
    service.script += [flex.refused(1003)] * 8
    assert await pages(provider, auth, ask(long)) == [TradePage()]
    service.script.append(flex.refused(1003))
    assert await pages(provider, auth, ask(source="confirmations")) == [TradePage()]
    assert not service.script


async def test_a_statement_that_was_cut_off_on_its_way_is_fetched_again_by_core(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    request = await ordered(provider, auth, service, flex)
    service.script += [flex.document(flex.statement([flex.trade()]))[:-30]] * 2  # by the other host as well
    with pytest.raises(BrokerUnavailableError, match="cut off"):
        await pages(provider, auth, request)


async def test_a_damaged_statement_covers_nothing_and_its_file_is_closed(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    request = await ordered(provider, auth, service, flex)
    body = flex.document(flex.statement(flex.trade(number) for number in range(600)))
    service.script.append(body.replace(b"</Trades>", b"</Trodes>"))
    seen: list[TradePage] = []

    async def read() -> None:
        async for page in provider.get_trades(auth, request):
            seen.append(page)  # noqa: PERF401  what was given before the error is wanted

    with pytest.raises(BrokerResponseError, match="can not be read"):
        await read()
    assert [len(page.bookings) for page in seen] == [500]
    assert not any(page.covered for page in seen)
    assert service.files[-1].closed


async def test_an_answer_without_a_file_is_read_from_its_body(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    request = await ordered(provider, auth, service, flex)
    service.script.append(HttpResponse(status=200, headers={}, body=flex.document(flex.statement()), url=MAIN))
    assert (await pages(provider, auth, request))[-1].covered


async def test_leaving_early_closes_the_file(provider: FlexProvider, auth: AuthResult, service: Any, flex: Any) -> None:
    request = await ordered(provider, auth, service, flex)
    service.script.append(flex.document(flex.statement(flex.trade(number) for number in range(1200))))
    reading = provider.get_trades(auth, request)
    assert len((await anext(reading)).bookings) == 500
    await reading.aclose()
    assert service.files[-1].closed


@pytest.mark.parametrize("source", ["activity", "confirmations"])
async def test_a_cursor_of_another_request_is_refused(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any, source: str
) -> None:
    request = await ordered(provider, auth, service, flex)
    other = ask(Days(date(2024, 2, 1), date(2024, 3, 14)), source, request.cursor)
    if source == "confirmations":
        other = attrs.evolve(other, window=WEEK.window)
    with pytest.raises(BrokerCursorError):
        await pages(provider, auth, attrs.evolve(other, window=Days(date(2024, 3, 12), date(2024, 3, 15)).window))
    with pytest.raises(BrokerCursorError):
        await pages(provider, auth, attrs.evolve(other, cursor="page=2"))
    assert not service.requests


async def test_an_expired_token_is_the_users_to_renew_and_not_cores(
    provider: FlexProvider, auth: AuthResult, service: Any, flex: Any
) -> None:
    service.script.append(flex.refused(1012))
    with pytest.raises(BrokerAuthError, match="expired") as caught:
        await pages(provider, auth, ask())
    assert "generate a new token" in caught.value.remedy


async def test_a_login_without_its_token_is_refused(provider: FlexProvider, auth: AuthResult) -> None:
    with pytest.raises(BrokerAuthError):
        await pages(provider, attrs.evolve(auth, access_token=None), ask())
