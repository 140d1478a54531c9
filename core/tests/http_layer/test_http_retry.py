"""What is tried again, when, and what everybody else hears of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from aiohttp import web

from brokersync.config import RetrySettings
from brokersync.errors import (
    BrokerAPIError,
    BrokerMaintenanceError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerTimeoutError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    LimitScope,
)
from brokersync.events import LimitWaited, RequestSent, RetryScheduled, ScopeFrozen, ScopeThawed
from brokersync.limits import LimitKind, RateLimit
from brokersync.ratelimit import LocalLimiter
from brokersync.secret import Secret
from brokersync.types import AuthResult

LOGIN = AuthResult(identity="user 7", access_token=Secret("tok-123"))
OTHER = AuthResult(identity="user 8", access_token=Secret("tok-456"))


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def asks(seconds: int, status: int = 503) -> web.Response:
    return web.Response(status=status, headers={"Retry-After": str(seconds)})


async def test_a_read_is_repeated_until_it_succeeds(http, broker, clock, events):
    broker.then(500, 502)
    response = await http.request("list", "GET", f"{broker.url}/")
    assert response.status == 200
    assert clock.slept == [1, 2]
    assert [(sent.attempt, sent.status, sent.error) for sent in of(RequestSent, events)] == [
        (1, 500, "BrokerUnavailableError"),
        (2, 502, "BrokerUnavailableError"),
        (3, 200, None),
    ]
    assert [(retry.attempt, retry.wait, retry.reason) for retry in of(RetryScheduled, events)] == [
        (1, timedelta(seconds=1), "BrokerUnavailableError"),
        (2, timedelta(seconds=2), "BrokerUnavailableError"),
    ]


async def test_the_attempts_are_counted(http, broker, clock):
    broker.then(*[500] * 9)
    with pytest.raises(BrokerUnavailableError) as gone:
        await http.request("list", "GET", f"{broker.url}/")
    assert len(broker.seen) == 4
    assert clock.slept == [1, 2, 4]
    assert (gone.value.provider, gone.value.operation, gone.value.status) == ("toy", "list", 500)


async def test_the_attempts_end_in_time(make_http, broker, clock):
    broker.then(*[500] * 9)
    http = make_http(retry=RetrySettings(attempts=9, within=timedelta(seconds=6)))
    with pytest.raises(BrokerUnavailableError):
        await http.request("list", "GET", f"{broker.url}/")
    assert clock.slept == [1, 2]


async def test_the_waits_are_drawn_up_to_their_growth(make_http, broker, clock):
    broker.then(500, 500, 500)
    draws = iter([0.25, 0.0, 0.5])
    await make_http(random=lambda: next(draws)).request("list", "GET", f"{broker.url}/")
    assert clock.slept == [0.25, 0, 2]


async def test_the_broker_s_own_wait_is_never_cut_short(make_http, broker, clock):
    broker.then(asks(3))
    await make_http(random=lambda: 0.0).request("list", "GET", f"{broker.url}/")
    assert clock.slept == [3]


async def test_a_wait_too_long_to_sleep_is_told_to_the_caller(http, broker, clock, events):
    broker.then(asks(85092))
    with pytest.raises(BrokerUnavailableError) as later:
        await http.request("list", "GET", f"{broker.url}/")
    assert later.value.retry_after == timedelta(seconds=85092)
    assert clock.slept == []
    assert of(RetryScheduled, events) == []


async def test_a_page_goes_first_for_a_while_only(make_http, broker, clock):
    class Asked(LocalLimiter):
        continues = ()

        async def acquire(self, call, **how):
            self.continues += (call.continues,)
            return await super().acquire(call, **how)

    limiter = Asked(clock)
    http = make_http(page_wait=timedelta(seconds=60), limiter=limiter)
    for passes in (30, 30, 30, 0):
        await http.request("list", "GET", f"{broker.url}/")
        clock.seconds += passes
    assert limiter.continues == (False, True, False, False)


async def test_a_call_counts_from_when_it_leaves(make_http, broker, clock):
    http = make_http([RateLimit(scope=LimitScope.APP, amount=1, period=timedelta(seconds=4))])

    def take_a_while(draft, previous):
        clock.seconds += 3  # as opening a connection may

    await http.request("list", "GET", f"{broker.url}/", prepare=take_a_while)
    await http.request("list", "GET", f"{broker.url}/")
    assert clock.slept == [4]


async def test_a_wait_that_would_lose_the_calls_before_it_is_slept_for_longer(make_http, broker, clock):
    http = make_http(page_wait=timedelta(minutes=1))
    broker.then(200, asks(60))
    await http.request("list", "GET", f"{broker.url}/")
    await http.request("list", "GET", f"{broker.url}/")
    assert clock.slept == [60]
    http.kept()
    broker.then(asks(60))
    with pytest.raises(BrokerUnavailableError):
        await http.request("list", "GET", f"{broker.url}/")
    assert clock.slept == [60]


@pytest.mark.parametrize(("asked", "slept"), [(60, [60]), (61, [])])
async def test_a_request_that_holds_a_ticket_is_waited_for_as_long_as_in_the_middle_of_a_page(
    make_http, broker, clock, asked, slept
):
    http = make_http(page_wait=timedelta(minutes=1))
    answers = iter([asked, None])

    def check(response):
        if (wait := next(answers)) is not None:
            error = BrokerRateLimitError("Show the ticket.", retry_after=timedelta(seconds=wait))
            error.ticketed = True
            raise error

    request = http.request("log in", "POST", f"{broker.url}/", json={}, check=check)
    if slept:
        assert (await request).status == 200
    else:
        with pytest.raises(BrokerRateLimitError):
            await request
    assert clock.slept == slept


async def test_a_wait_of_our_own_too_long_to_sleep_is_told_too(make_http, broker, clock):
    broker.then(500)
    http = make_http(retry=RetrySettings(first_wait=timedelta(seconds=8)))
    with pytest.raises(BrokerUnavailableError) as later:
        await http.request("list", "GET", f"{broker.url}/")
    assert later.value.retry_after == timedelta(seconds=8)
    assert clock.slept == []


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_what_the_broker_refused_is_not_repeated(http, broker, status):
    broker.then(status)
    with pytest.raises(Exception, match=str(status)):
        await http.request("list", "GET", f"{broker.url}/")
    assert len(broker.seen) == 1


async def test_not_ready_goes_up_at_once(http, broker, clock):
    def check(response):
        raise BrokerNotReadyError("Not yet.", retry_after=timedelta(seconds=1))

    with pytest.raises(BrokerNotReadyError):
        await http.request("report", "GET", f"{broker.url}/", check=check)
    assert len(broker.seen) == 1
    assert clock.slept == []


@pytest.mark.parametrize("status", [408, 500, 503])
async def test_a_write_that_may_have_been_carried_out_is_not_repeated(http, broker, status):
    broker.then(status)
    with pytest.raises((BrokerUnavailableError, BrokerTimeoutError)):
        await http.request("order", "POST", f"{broker.url}/")
    assert len(broker.seen) == 1


async def test_a_write_that_lost_its_connection_has_an_unknown_outcome(make_http, serve_raw):
    asked = []

    async def hang_up(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))

    url = await serve_raw(hang_up)
    with pytest.raises(BrokerUnavailableError, match="not known"):
        await make_http(url=url).request("order", "POST", f"{url}/")
    assert len(asked) == 1


async def test_repeatable_overrules_the_method(http, broker):
    broker.then(500, 200, 500)
    await http.request("query", "POST", f"{broker.url}/", repeatable=True)
    with pytest.raises(BrokerUnavailableError):
        await http.request("count", "GET", f"{broker.url}/", repeatable=False)
    assert len(broker.seen) == 3


async def test_a_write_that_never_left_is_repeated(make_http, unused_tcp_port, clock, events):
    url = f"http://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(BrokerUnavailableError, match="could not be reached"):
        await make_http(url=url).request("order", "POST", f"{url}/")
    assert [sent.attempt for sent in of(RequestSent, events)] == [1, 2, 3, 4]


async def test_a_write_turned_away_for_its_rate_is_repeated_with_what_the_broker_wants_back(http, broker, clock):
    class PenaltyError(BrokerRateLimitError):
        ticket = ""

    def check(response):
        if b"ticket" in response.body:
            error = PenaltyError("Penalised.", retry_after=timedelta(seconds=2))
            error.ticket = response.json()["ticket"]
            raise error

    def prepare(draft, previous):
        if isinstance(previous, PenaltyError):
            draft.json["ticket"] = previous.ticket

    broker.then(web.json_response({"ticket": "t-1"}))
    await http.request("login", "POST", f"{broker.url}/", json={"name": "n"}, prepare=prepare, check=check)
    assert [seen.body for seen in broker.seen] == [b'{"name": "n"}', b'{"name": "n", "ticket": "t-1"}']
    assert clock.slept == [2]


async def test_a_429_silences_its_login_for_everybody(make_http, broker, clock, events):
    broker.then(asks(3, 429))
    first, second = make_http(), make_http(connection_id="c2")
    with pytest.raises(BrokerRateLimitError):
        await make_http(retry=RetrySettings(attempts=1)).request("list", "GET", f"{broker.url}/", auth=LOGIN)
    (frozen,) = of(ScopeFrozen, events)
    assert (frozen.scope, frozen.until) == ("credential", clock.now() + timedelta(seconds=3))

    await first.request("list", "GET", f"{broker.url}/", auth=OTHER)
    assert clock.seconds == 0
    await second.request("list", "GET", f"{broker.url}/", auth=LOGIN)
    assert clock.seconds == 3
    (waited,) = of(LimitWaited, events)
    assert (waited.connection_id, waited.scope, waited.wait) == ("c2", "credential", timedelta(seconds=3))


async def test_a_wait_tells_its_attempt_and_its_reason(make_http, broker, clock, events, one_a_minute):
    broker.then(500, asks(3, 429))
    http = make_http(
        [one_a_minute], long_wait=timedelta(hours=1), retry=RetrySettings(attempts=9, within=timedelta(hours=1))
    )
    await http.request("list", "GET", f"{broker.url}/")
    refused = make_http(connection_id="c2")
    broker.then(asks(5, 429))
    with pytest.raises(BrokerRateLimitError):
        await make_http(retry=RetrySettings(attempts=1)).request("other", "GET", f"{broker.url}/")
    await refused.request("list", "GET", f"{broker.url}/")
    assert [(one.connection_id, one.attempt, one.reason) for one in of(LimitWaited, events)] == [
        ("c1", 2, "the limit is used up"),
        ("c1", 3, "the limit is used up"),
        ("c2", 1, "BrokerRateLimitError of other"),
    ]


async def test_of_many_refusals_in_a_row_the_first_is_told_and_the_first_call_that_comes_through(
    make_http, broker, clock, events
):
    broker.then(asks(3, 429), asks(3, 429), 503, 200, 200, asks(4, 429))
    for name in ("c1", "c2"):
        await make_http(connection_id=name).request("list", "GET", f"{broker.url}/")
    assert [frozen.again for frozen in of(ScopeFrozen, events)] == [False, True]
    assert [(thawed.scope, thawed.lasted) for thawed in of(ScopeThawed, events)] == [("app", timedelta(seconds=10))]
    await make_http().request("list", "GET", f"{broker.url}/")
    assert [frozen.again for frozen in of(ScopeFrozen, events)] == [False, True, False]
    assert [thawed.lasted.total_seconds() for thawed in of(ScopeThawed, events)] == [10, 4]


async def test_a_call_that_left_before_the_refusal_does_not_show_that_it_is_over(make_http, broker, clock, events):
    left, answered = asyncio.Event(), asyncio.Event()

    async def slow(request):
        left.set()
        await answered.wait()
        return web.Response()

    broker.then(slow, asks(3, 429))
    slow_one = asyncio.create_task(make_http().request("list", "GET", f"{broker.url}/"))
    await left.wait()
    with pytest.raises(BrokerRateLimitError):
        await make_http(retry=RetrySettings(attempts=1)).request("list", "GET", f"{broker.url}/")
    answered.set()
    await slow_one
    assert of(ScopeThawed, events) == []


async def test_a_429_without_a_login_silences_the_whole_broker(make_http, broker, clock, events):
    broker.then(asks(3, 429))
    http = make_http(retry=RetrySettings(attempts=1))
    with pytest.raises(BrokerRateLimitError):
        await http.request("list", "GET", f"{broker.url}/")
    assert of(ScopeFrozen, events)[0].scope == "app"
    await http.request("list", "GET", f"{broker.url}/", auth=OTHER)
    assert clock.seconds == 3


async def test_429s_without_a_time_silence_for_longer_each_time(http, broker, clock, events):
    broker.then(429, 429, 429)
    await http.request("list", "GET", f"{broker.url}/", credential="key")
    assert [(frozen.until - clock.now()).total_seconds() + clock.seconds for frozen in of(ScopeFrozen, events)] == [
        1,
        3,
        7,
    ]
    assert clock.slept == [1, 2, 4]


async def test_a_429_where_the_apps_limit_is_used_up_silences_and_then_slows_the_whole_broker(
    make_http, broker, clock, events
):
    limit = RateLimit(scope=LimitScope.APP, amount=4, period=timedelta(seconds=100))
    http = make_http(limits=(limit,))
    broker.then(200, 200, 429, 429)
    for _ in range(2):
        await http.request("list", "GET", f"{broker.url}/", auth=LOGIN)
    with pytest.raises(BrokerRateLimitError):
        await http.request("list", "GET", f"{broker.url}/", auth=LOGIN)
    assert [(frozen.scope, frozen.pace) for frozen in of(ScopeFrozen, events)] == [("app", 100), ("app", 50)]


async def test_a_429_that_is_repeated_waits_once_and_not_twice(http, broker, clock):
    broker.then(asks(2, 429))
    await http.request("list", "GET", f"{broker.url}/", auth=LOGIN)
    assert clock.seconds == 2


async def test_a_429_that_check_explains_freezes_all_the_same(make_http, broker, clock, events):
    def check(response):
        if response.status == 429:
            raise BrokerAPIError("You are banned.")

    broker.then(asks(60, 429))
    with pytest.raises(BrokerAPIError, match="banned"):
        await make_http().request("list", "GET", f"{broker.url}/", auth=LOGIN, check=check)
    assert of(ScopeFrozen, events)[0].until == clock.now() + timedelta(seconds=60)


async def test_an_error_that_names_a_scope_freezes_it(http, broker, clock, events):
    def check(response):
        raise BrokerMaintenanceError("Closed.", retry_after=timedelta(hours=1), freeze=LimitScope.ACCOUNT)

    with pytest.raises(BrokerMaintenanceError):
        await http.request("list", "GET", f"{broker.url}/", account="A1", check=check)
    assert of(ScopeFrozen, events)[0].scope == "account"
    await http.request("list", "GET", f"{broker.url}/", account="A2")
    with pytest.raises(BrokerRateLimitError, match="BrokerMaintenanceError of list") as refused:
        await http.request("list", "GET", f"{broker.url}/", account="A1")
    assert refused.value.retry_after == timedelta(hours=1)
    assert len(broker.seen) == 2


@pytest.mark.parametrize(("header", "plugin", "hours"), [(7200, 1, 2), (60, 1, 1), (7200, None, 2)])
async def test_of_the_waits_of_header_and_plugin_the_longer_one_is_kept(
    make_http, broker, clock, events, header, plugin, hours
):
    wait = None if plugin is None else timedelta(hours=plugin)

    def check(response):
        if response.status == 429:
            raise BrokerRateLimitError("Locked out.", retry_after=wait, freeze=LimitScope.APP)

    broker.then(asks(header, 429))
    with pytest.raises(BrokerRateLimitError) as refused:
        await make_http().request("list", "GET", f"{broker.url}/", check=check)
    assert refused.value.retry_after == timedelta(hours=hours)
    assert of(ScopeFrozen, events)[0].until == clock.now() + timedelta(hours=hours)


async def test_a_frozen_scope_never_names_the_credential(make_http, broker, events):
    broker.then(asks(60, 429))
    http = make_http()
    with pytest.raises(BrokerRateLimitError):
        await http.request("list", "GET", f"{broker.url}/", credential="s3cret-key")
    lane = http._manners._limiter._lanes["toy"]
    assert "s3cret" not in repr((events, lane._freezes, lane._meters))


async def test_every_attempt_passes_the_limiter(make_http, broker, clock, one_a_minute, events):
    broker.then(500)
    http = make_http([one_a_minute])
    with pytest.raises(BrokerRateLimitError) as refused:
        await http.request("list", "GET", f"{broker.url}/")
    assert refused.value.retry_after == timedelta(seconds=59)
    assert refused.value.status is None
    assert len(broker.seen) == 1


async def test_a_limit_of_failures_counts_what_is_refused_in_an_answer_with_status_200(make_http, broker, clock):
    limit = RateLimit(scope=LimitScope.APP, amount=2, period=timedelta(hours=1), failures_only=True)
    http, wrong = make_http([limit]), [True, False, True]

    def check(response):
        if wrong.pop():
            raise BrokerAPIError("Wrong password.")

    for refused in (True, False, True):
        if refused:
            with pytest.raises(BrokerAPIError):
                await http.request("log in", "POST", f"{broker.url}/", check=check)
        else:
            await http.request("log in", "POST", f"{broker.url}/", check=check)
    with pytest.raises(BrokerRateLimitError):
        await http.request("log in", "POST", f"{broker.url}/", check=check)
    assert len(broker.seen) == 3


async def test_a_short_wait_for_the_limit_is_slept_and_told(make_http, broker, clock, events):
    limit = RateLimit(scope=LimitScope.ACCOUNT, amount=1, period=timedelta(seconds=4))
    http = make_http([limit])
    for account in ("A1", "A1", "A2"):
        await http.request("list", "GET", f"{broker.url}/", account=account)
    assert clock.slept == [4]
    (waited,) = of(LimitWaited, events)
    assert (waited.operation, waited.scope, waited.wait) == ("list", "account", timedelta(seconds=4))


async def test_a_limit_per_endpoint_counts_each_operation(make_http, broker, clock):
    http = make_http([RateLimit(scope=LimitScope.ENDPOINT, amount=1, period=timedelta(seconds=4))])
    for operation in ("list", "detail", "list"):
        await http.request(operation, "GET", f"{broker.url}/")
    assert clock.slept == [4]


async def test_a_weight_is_passed_on(make_http, broker, clock):
    http = make_http([RateLimit(scope=LimitScope.APP, amount=3, period=timedelta(seconds=4))])
    await http.request("list", "GET", f"{broker.url}/", weight=3)
    await http.request("list", "GET", f"{broker.url}/")
    assert clock.slept == [4]


async def test_one_login_is_one_credential_in_all_connections_and_is_named_before_it_has_a_token(
    make_http, broker, clock
):
    limit = [RateLimit(scope=LimitScope.CREDENTIAL, amount=1, period=timedelta(seconds=4))]
    await make_http(limit).request("login", "POST", f"{broker.url}/", credential="user 7")
    await make_http(limit).request("list", "GET", f"{broker.url}/", auth=OTHER)
    assert clock.slept == []
    await make_http(limit).request("list", "GET", f"{broker.url}/", auth=LOGIN)
    assert clock.slept == [4]


async def test_a_dead_token_is_the_caller_s_where_nobody_renews_it(http, broker):
    broker.then(401)
    with pytest.raises(BrokerTokenExpiredError) as expired:
        await http.request("list", "GET", f"{broker.url}/", auth=LOGIN)
    assert (expired.value.provider, expired.value.operation, expired.value.status) == ("toy", "list", 401)


async def test_a_slot_is_held_by_each_attempt_and_by_nothing_between(make_http, broker, clock):
    limit = RateLimit(scope=LimitScope.APP, amount=1, kind=LimitKind.CONCURRENCY)
    broker.then(500, asks(3, 429))
    http = make_http([limit])
    await http.request("list", "GET", f"{broker.url}/", auth=LOGIN)
    await http.request("list", "GET", f"{broker.url}/")
    assert len(broker.seen) == 4
    assert not http._manners._limiter._slots["toy"]._under_way


async def test_a_login_that_is_renewed_first_finds_the_only_slot_free(make_http, broker):
    limit = RateLimit(scope=LimitScope.APP, amount=1, kind=LimitKind.CONCURRENCY)

    class Tokens:
        stale = True

        async def current(self, auth):
            if self.stale:
                self.stale = False
                await http.request("renew", "POST", f"{broker.url}/renew")
            return auth

    http = make_http([limit], tokens=Tokens())
    await http.request("list", "GET", f"{broker.url}/", auth=LOGIN)
    assert [seen.path for seen in broker.seen] == ["/renew", "/"]


async def test_what_is_kept_in_reserve_is_for_what_somebody_waits_for(make_http, broker, clock):
    limit = RateLimit(scope=LimitScope.APP, amount=2, reserve=1, period=timedelta(minutes=1))
    await make_http([limit]).request("list", "GET", f"{broker.url}/")
    with pytest.raises(BrokerRateLimitError):
        await make_http([limit]).request("list", "GET", f"{broker.url}/")
    await make_http([limit], pressing=True).request("list", "GET", f"{broker.url}/")
    assert clock.slept == []


@pytest.mark.parametrize("named", ["user 7", None])
async def test_the_calls_of_a_login_count_for_who_it_is_of(make_http, broker, clock, named):
    """Whatever the plugin calls it before its identity is known, and also where it names nobody."""
    limit = [RateLimit(scope=LimitScope.CREDENTIAL, amount=3, period=timedelta(seconds=4))]
    auth = AuthResult(identity="7")
    http = make_http(limit)
    http.begin_login()
    for _ in range(2):
        await http.request("login", "POST", f"{broker.url}/", credential=named)
    assert await http.logged_in(auth) is auth
    for _ in range(2):
        await make_http(limit).request("list", "GET", f"{broker.url}/", auth=auth)
    assert clock.slept == [4]


async def test_a_login_under_the_name_that_it_has_later_counts_once(make_http, broker, clock):
    limit = [RateLimit(scope=LimitScope.CREDENTIAL, amount=2, period=timedelta(seconds=4))]
    auth = AuthResult(identity="7")
    http = make_http(limit)
    http.begin_login()
    await http.request("login", "POST", f"{broker.url}/", credential="7")
    await http.logged_in(auth)
    await http.request("list", "GET", f"{broker.url}/", auth=auth)
    assert clock.slept == []


async def test_a_login_takes_of_no_limit_twice_but_its_own(make_http, broker, clock):
    limits = [
        RateLimit(scope=LimitScope.APP, amount=2, period=timedelta(seconds=4)),
        RateLimit(scope=LimitScope.CREDENTIAL, amount=1, period=timedelta(seconds=4), failures_only=True),
        RateLimit(scope=LimitScope.CREDENTIAL, amount=1, period=timedelta(seconds=4), operations=("order",)),
    ]
    auth = AuthResult(identity="7")
    http = make_http(limits)
    http.begin_login()
    await http.request("login", "POST", f"{broker.url}/", credential="user 7")
    await http.logged_in(auth)
    await http.request("list", "GET", f"{broker.url}/", auth=auth)
    assert clock.slept == []
