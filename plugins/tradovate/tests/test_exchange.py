from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

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
    RequestDraft,
    Secret,
)
from brokersync_tradovate.exchange import Exchange
from brokersync_tradovate.refusals import Meaning, login_refused, renewal_refused, request_refused

TICKET = "ticket-of-the-test"


def response(body: str = "", status: int = 200) -> HttpResponse:
    return HttpResponse(status=status, headers={}, body=body.encode(), url="https://live.tradovateapi.com/v1/fill/list")


def refused(
    body: str, *, status: int = 200, meaning: Meaning = request_refused, hide: tuple[Secret, ...] = ()
) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        Exchange("fill/list", meaning, hide).check(response(body, status))
    return caught.value


def draft(json: Any = None) -> RequestDraft:
    return RequestDraft(method="POST", url="https://x.example", params={}, headers={}, json=json)


@pytest.mark.parametrize(
    "body",
    ["[]", '[{"id": 1}]', "{}", '{"accessToken": "a", "errorText": ""}', '{"errorText": null}', '{"data": "p-ticket"}'],
)
def test_a_success_passes(body: str) -> None:
    Exchange("fill/list", request_refused).check(response(body))


@pytest.mark.parametrize("status", [400, 403, 404, 500, 502, 503])
def test_what_only_a_status_tells_is_left_to_core(status: int) -> None:
    Exchange("fill/list", request_refused).check(response("<html>Sorry</html>", status))


@pytest.mark.parametrize(
    ("text", "kind", "word"),
    [
        ("Incorrect username or password. Please try again!", BrokerAuthError, "username and password"),
        ("Your password has expired", BrokerAuthError, "web application"),
        ("The app is not registered", BrokerAuthError, "cid and sec"),
        ("Account is temporarily locked", BrokerAuthError, "web application"),
        ("A text that nobody has seen before", BrokerAuthError, "web application"),
        ("System is down for maintenance", BrokerMaintenanceError, "by itself"),
        ("Internal error", BrokerUnavailableError, "by itself"),
    ],
)
def test_a_refused_login_says_what_to_do(text: str, kind: type[BrokerError], word: str) -> None:
    error = refused(f'{{"errorText": "{text}"}}', meaning=login_refused)

    assert type(error) is kind
    assert word in error.remedy


@pytest.mark.parametrize(
    ("body", "status", "kind", "fault"),
    [
        ('{"errorText": "Too long range"}', 200, BrokerAPIError, Fault.PLUGIN),
        ('{"errorText": "Unknown report: fills"}', 200, BrokerAPIError, Fault.PLUGIN),
        ('{"errorText": "account is not found (ID:0)"}', 200, BrokerAPIError, Fault.BROKER),
        ('{"errorText": "JSON error: illegal number at 3"}', 200, BrokerAPIError, Fault.PLUGIN),
        (
            '{"violations": [{"constraint": "NotNull", "value": "v", "description": "d"}]}',
            200,
            BrokerAPIError,
            Fault.PLUGIN,
        ),
        ('{"errorText": "Something new"}', 200, BrokerAPIError, Fault.BROKER),
        ('{"errorText": "The contract has expired"}', 200, BrokerAPIError, Fault.BROKER),
        ('{"error": "invalid_request", "error_description": "d"}', 200, BrokerAPIError, Fault.BROKER),
        ('{"errorText": "Bad ids"}', 404, BrokerAPIError, Fault.BROKER),
        ('{"errorText": "Access is denied"}', 200, BrokerTokenExpiredError, Fault.BROKER),
        ('{"errorText": "Expired Access Token"}', 200, BrokerTokenExpiredError, Fault.BROKER),
        ("Access is denied", 401, BrokerTokenExpiredError, Fault.BROKER),
        ("Expired Access Token", 401, BrokerTokenExpiredError, Fault.BROKER),
        ("", 401, BrokerTokenExpiredError, Fault.BROKER),
        ("<html>401</html>", 401, BrokerTokenExpiredError, Fault.BROKER),
        ('{"errorText": "Down for maintenance"}', 200, BrokerMaintenanceError, Fault.BROKER),
    ],
)
def test_a_refused_read_is_the_error_whose_next_step_helps(
    body: str, status: int, kind: type[BrokerError], fault: Fault
) -> None:
    error = refused(body, status=status)

    assert (type(error), error.status, error.fault) == (kind, status, fault)
    assert error.operation == "fill/list"


def test_a_missing_right_is_named() -> None:
    assert "fill/list" in refused("Access is denied", status=401).message
    assert "read access" in refused("", status=401).remedy


def test_violations_show_names_and_no_values() -> None:
    error = refused('{"violations": [{"constraint": "Size", "value": "my-password"}, 7]}')

    assert "Size" in error.message
    assert "my-password" not in str(error)


def test_a_renewal_that_is_refused_for_any_reason_leads_to_a_login() -> None:
    for body, status in (('{"errorText": "Who are you?"}', 200), ("Access is denied", 401), ("", 401)):
        assert type(refused(body, status=status, meaning=renewal_refused)) is BrokerTokenExpiredError


def test_what_the_broker_says_is_shown_in_one_short_line() -> None:
    error = refused('{"errorText": "a\\n b' + "x" * 500 + '"}')

    assert '"a b' in error.message
    assert len(error.message) < 300


def test_a_secret_that_the_broker_repeats_is_not_shown(caught: Callable[[BrokerError], str]) -> None:
    error = refused(
        '{"errorText": "hunter-seven is not the password"}',
        meaning=login_refused,
        hide=(Secret("hunter-seven"), Secret("")),
    )

    assert "hunter-seven" not in caught(error)
    assert "*** is not the password" in error.message


@pytest.mark.parametrize(("status", "scope"), [(429, LimitScope.CREDENTIAL), (423, LimitScope.EGRESS)])
def test_a_lock_out_freezes_what_is_locked_for_an_hour(status: int, scope: LimitScope) -> None:
    error = refused("", status=status)

    assert isinstance(error, BrokerRateLimitError)
    assert (error.retry_after, error.freeze) == (timedelta(hours=1), scope)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_an_address_that_is_to_be_read_instead_is_no_answer(status: int) -> None:
    assert type(refused("", status=status)) is BrokerResponseError


@pytest.mark.parametrize(
    ("body", "wait"),
    [
        (f'{{"p-ticket": "{TICKET}", "p-time": 15}}', 16),
        (f'{{"p-ticket": "{TICKET}", "p-time": 2.5, "p-captcha": false}}', 3.5),
        (f'{{"p-ticket": "{TICKET}", "p-message": "slow down", "errorText": "Incorrect password"}}', 16),
        ('{"p-time": "soon"}', 16),
        ('{"p-time": "60"}', 61),
        ('{"p-time": -3}', 16),
        ('{"p-time": 0}', 1),
        ('{"p-time": 1e300}', 86_401),
    ],
)
def test_a_penalty_is_waited_out_before_anything_else_is_read(body: str, wait: float) -> None:
    error = refused(body)

    assert isinstance(error, BrokerRateLimitError)
    assert (error.retry_after, error.freeze) == (timedelta(seconds=wait), LimitScope.CREDENTIAL)


def test_a_penalty_inside_another_status_is_a_penalty_too() -> None:
    assert isinstance(refused(f'{{"p-ticket": "{TICKET}", "p-time": 1}}', status=429), BrokerRateLimitError)


def test_the_ticket_goes_back_in_the_body_of_the_same_request() -> None:
    exchange = Exchange("auth/accesstokenrequest", login_refused)
    given = {"name": "trader"}
    first, second = draft(dict(given)), draft(dict(given))

    exchange.prepare(first, None)
    with pytest.raises(BrokerRateLimitError) as caught:
        exchange.check(response(f'{{"p-ticket": "{TICKET}", "p-time": 1}}'))
    exchange.prepare(second, caught.value)

    assert first.json == given
    assert second.json == given | {"p-ticket": TICKET}


def test_a_read_without_a_body_is_repeated_as_it_was() -> None:
    exchange = Exchange("fill/list", request_refused)
    with pytest.raises(BrokerRateLimitError) as caught:
        exchange.check(response(f'{{"p-ticket": "{TICKET}", "p-time": 1}}'))
    again = draft()

    exchange.prepare(again, caught.value)

    assert (again.json, again.params, again.headers) == (None, {}, {})


def test_after_two_penalties_the_request_rests_for_an_hour() -> None:
    exchange = Exchange("fill/list", request_refused)
    waits = []
    for _ in range(3):
        with pytest.raises(BrokerRateLimitError) as caught:
            exchange.check(response('{"p-time": 5}'))
        waits.append(caught.value.retry_after)

    assert waits == [timedelta(seconds=6), timedelta(seconds=6), timedelta(hours=1)]


def test_a_ticket_is_shown_nowhere(caught: Callable[[BrokerError], str]) -> None:
    assert TICKET not in caught(refused(f'{{"p-ticket": "{TICKET}", "p-time": 1}}'))
    assert TICKET not in caught(refused(f'{{"p-ticket": "{TICKET}", "p-captcha": true}}'))


def test_a_session_that_only_times_out_is_taken_for_closed_once() -> None:
    exchange = Exchange("fill/list", request_refused)
    timeout = response("Request Timeout", 408)

    exchange.check(timeout)
    with pytest.raises(BrokerTokenExpiredError, match="newer login"):
        exchange.check(timeout)
    exchange.check(timeout)


@pytest.mark.parametrize("flag", ["true", '"true"'])
def test_a_captcha_is_the_users_to_solve(flag: str) -> None:
    error = refused(f'{{"p-ticket": "{TICKET}", "p-time": 15, "p-captcha": {flag}}}')

    assert type(error) is BrokerAuthError
    assert "sign in once" in error.remedy
