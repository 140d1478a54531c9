"""The token of each attempt, and its one renewal."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from aiohttp import web

from brokersync.errors import (
    BrokerAuthError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    LimitScope,
)
from brokersync.limits import RateLimit
from brokersync.ratelimit.slots import Free
from brokersync.secret import Secret
from brokersync.types import AuthResult

LOGIN = AuthResult(identity="user 7", access_token=Secret("given"))


@attrs.define(slots=False)
class Tokens:
    """Hands out one token until it is renewed, and writes down what is asked."""

    token: str = "t0"
    log: list[str] = attrs.field(factory=list)
    trouble: Exception | None = None

    async def current(self, auth: AuthResult) -> AuthResult:
        self.log.append("token")
        return attrs.evolve(auth, access_token=Secret(self.token))

    async def renew(self, stale: AuthResult) -> AuthResult:
        self.log.append(f"renew {stale.access_token.reveal()}")
        if self.trouble:
            raise self.trouble
        self.token = f"t{int(self.token[1:]) + 1}"
        return attrs.evolve(stale, access_token=Secret(self.token))


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


def sent_tokens(broker) -> list[str | None]:
    return [seen.headers.get("authorization") for seen in broker.seen]


async def test_each_attempt_asks_for_the_token_anew(make_http, broker, tokens):
    async def other_worker_renews(request):
        tokens.token = "t9"
        return web.Response(status=500)

    broker.then(other_worker_renews)
    await make_http(tokens=tokens).request("list", "GET", f"{broker.url}/", auth=LOGIN)
    assert sent_tokens(broker) == ["Bearer t0", "Bearer t9"]


async def test_without_a_login_no_token_is_asked_for(make_http, broker, tokens):
    await make_http(tokens=tokens).request("list", "GET", f"{broker.url}/")
    assert tokens.log == []


async def test_a_dead_token_is_renewed_and_the_request_made_again(make_http, broker, tokens, clock):
    broker.then(401)
    response = await make_http(tokens=tokens).request("list", "GET", f"{broker.url}/", auth=LOGIN)
    assert response.status == 200
    assert sent_tokens(broker) == ["Bearer t0", "Bearer t1"]
    assert tokens.log == ["token", "renew t0", "token"]
    assert clock.slept == []


async def test_a_write_is_made_again_too_since_it_was_not_carried_out(make_http, broker, tokens):
    broker.then(401)
    assert (await make_http(tokens=tokens).request("order", "POST", f"{broker.url}/", auth=LOGIN)).status == 200


async def test_a_plugin_may_say_that_the_token_is_dead(make_http, broker, tokens):
    def check(response):
        if b"expired" in response.body:
            raise BrokerTokenExpiredError("Expired.")

    broker.then(web.Response(text="expired"))
    await make_http(tokens=tokens).request("list", "GET", f"{broker.url}/", auth=LOGIN, check=check)
    assert sent_tokens(broker) == ["Bearer t0", "Bearer t1"]


async def test_a_renewal_is_not_a_failed_attempt(make_http, broker, tokens, clock):
    broker.then(500, 500, 401, 500)
    http = make_http(tokens=tokens)
    assert (await http.request("list", "GET", f"{broker.url}/", auth=LOGIN)).status == 200
    assert clock.slept == [1, 2, 4]


async def test_a_new_token_that_is_refused_too_is_for_the_user(make_http, broker, tokens):
    broker.then(401, 401)
    with pytest.raises(BrokerAuthError) as refused:
        await make_http(tokens=tokens).request("list", "GET", f"{broker.url}/", auth=LOGIN)
    assert not isinstance(refused.value, BrokerTokenExpiredError)
    assert (refused.value.provider, refused.value.operation, refused.value.status) == ("toy", "list", 401)
    assert tokens.log == ["token", "renew t0", "token"]


@pytest.mark.parametrize("trouble", [BrokerAuthError("Revoked."), BrokerUnavailableError("Down.")])
async def test_a_renewal_that_fails_ends_the_request_with_its_error(make_http, broker, tokens, trouble):
    tokens.trouble = trouble
    broker.then(401)
    with pytest.raises(type(trouble)) as raised:
        await make_http(tokens=tokens).request("list", "GET", f"{broker.url}/", auth=LOGIN)
    assert raised.value is trouble
    assert len(broker.seen) == 1


async def test_an_attempt_goes_limiter_then_token_then_prepare_then_the_wire_then_check(make_http, broker, tokens):
    class Limiter:
        async def acquire(self, *_, **__):
            tokens.log.append("limiter")
            return Free()

        async def came_through(self, *_):
            return ()

    async def wire(request):
        tokens.log.append("wire")
        return web.Response(status=500 if tokens.log.count("wire") == 1 else 200)

    broker.then(wire, wire)
    await make_http(tokens=tokens, limiter=Limiter()).request(
        "list",
        "GET",
        f"{broker.url}/",
        auth=LOGIN,
        prepare=lambda draft, previous: tokens.log.append(f"prepare after {type(previous).__name__}"),
        check=lambda response: tokens.log.append("check"),
    )
    assert tokens.log == [
        "limiter",
        "token",
        "prepare after NoneType",
        "wire",
        "check",
        "limiter",
        "token",
        "prepare after BrokerUnavailableError",
        "wire",
        "check",
    ]


async def test_the_token_is_asked_for_after_the_wait_for_the_limit(make_http, broker, tokens, clock):
    at = []
    tokens_current = tokens.current

    async def current(auth):
        at.append(clock.seconds)
        return await tokens_current(auth)

    tokens.current = current
    limit = RateLimit(scope=LimitScope.CREDENTIAL, amount=1, period=timedelta(seconds=4))
    http = make_http([limit], tokens=tokens)
    await http.request("list", "GET", f"{broker.url}/", auth=LOGIN)
    await http.request("list", "GET", f"{broker.url}/", auth=LOGIN)
    assert at == [0, 4]
