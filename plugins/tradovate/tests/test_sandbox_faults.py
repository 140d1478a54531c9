from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from brokersync.plugin import SandboxSettings
from brokersync_tradovate.sandbox import create
from brokersync_tradovate.sandbox_auth import Penalties

NOON = datetime(2026, 6, 10, 17, 0, tzinfo=UTC)


class Desk:
    def __init__(self, base: str, http: aiohttp.ClientSession, login: dict[str, Any]) -> None:
        self.base, self.http, self.login = base, http, login
        self.token = ""

    async def log_in(self) -> dict[str, Any]:
        _, text = await self.send("live/v1/auth/accesstokenrequest", body=self.login)
        granted: dict[str, Any] = json.loads(text)
        self.token = granted.get("accessToken", self.token)
        return granted

    async def send(self, path: str = "live/v1/account/list", body: Any = None, method: str = "") -> tuple[int, str]:
        async with self.http.request(
            method or ("GET" if body is None else "POST"),
            f"{self.base}/{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.token}"} if self.token else {},
            allow_redirects=False,
        ) as response:
            location = response.headers.get("Location", "")
            return response.status, location or await response.text()

    async def fault(self, name: str, **order: Any) -> tuple[int, str]:
        return await self.send("_sandbox/faults", body={"fault": name, **order})


class Clock:
    now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def desk(clock: Clock) -> AsyncIterator[Desk]:
    broker = create(SandboxSettings(now=clock, days=3, think=timedelta(seconds=0.3)))
    fields = broker.logins[0].fields
    login = {
        "name": fields["username"],
        "password": fields["password"],
        "cid": int(fields["cid"]),
        "sec": fields["sec"],
    }
    async with TestServer(broker.application()) as server, aiohttp.ClientSession() as http:
        desk = Desk(f"http://127.0.0.1:{server.port}", http, {**login, "cid": int(fields["cid"])})
        await desk.log_in()
        yield desk


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ("rate_limit", 429, ""),
        ("locked", 423, ""),
        ("permission_denied", 401, "Access is denied"),
        ("server_error", 500, "Internal Server Error"),
        ("timeout", 408, "Request Timeout"),
        ("maintenance", 503, "<!DOCTYPE html>"),
        ("html", 200, "<!DOCTYPE html>"),
        ("redirect", 307, "https://moved.example.invalid/live/v1/account/list"),
        ("wrong_shape", 200, '{"rows":[{"id":'),
        ("penalty_captcha", 200, '"p-captcha":true'),
    ],
)
async def test_a_fault_is_shown_as_often_as_asked_and_then_no_more(
    desk: Desk, fault: str, status: int, text: str
) -> None:
    proper = await desk.send()
    await desk.fault(fault, times=2, after=2)

    assert [await desk.send() for _ in range(2)] == [proper, proper]
    for _ in range(2):
        shown = await desk.send()
        assert shown[0] == status
        assert shown[1].startswith(text) or (fault == "penalty_captcha" and text in shown[1])
        assert bool(shown[1]) is bool(text)
    assert await desk.send() == proper


async def test_a_truncated_answer_is_the_proper_one_without_its_end(desk: Desk) -> None:
    _, proper = await desk.send()
    await desk.fault("truncated")
    status, cut = await desk.send()

    assert status == 200
    assert 0 < len(cut) < len(proper)
    assert proper.startswith(cut)
    with pytest.raises(ValueError):
        json.loads(cut)


async def test_a_connection_can_be_lost_in_the_middle_of_the_answer(desk: Desk) -> None:
    await desk.fault("cut")

    with pytest.raises(aiohttp.ClientPayloadError):
        await desk.send()
    assert (await desk.send())[0] == 200


async def test_a_slow_answer_is_the_proper_one(desk: Desk) -> None:
    proper = await desk.send()
    await desk.fault("slow", times=2)

    assert await desk.send() == proper
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(desk.send(), 0.05)


async def test_an_expired_token_stays_expired_and_a_new_login_helps(desk: Desk) -> None:
    await desk.fault("expired_token")

    for _ in range(2):
        assert await desk.send() == (401, "Expired Access Token")
    assert await desk.send("live/v1/auth/renewaccesstoken") == (401, "Expired Access Token")
    await desk.log_in()
    assert (await desk.send())[0] == 200


async def test_faults_of_a_token_wait_for_a_request_that_shows_one(desk: Desk) -> None:
    token, desk.token = desk.token, ""
    await desk.fault("session_closed")

    assert (await desk.send())[0] == 401
    desk.token = token
    assert (await desk.send())[0] == 408


@pytest.mark.parametrize(
    ("fault", "key", "value"),
    [
        ("api_hosts", "reportingDemo", "rpt-demo-firm.tradovateapi.com"),
        ("api_hosts_hostile", "live", "live.tradovateapi.com@evil.example"),
    ],
)
async def test_a_login_names_hosts_only_where_asked(desk: Desk, fault: str, key: str, value: str) -> None:
    await desk.fault(fault)
    await desk.send()

    assert (await desk.log_in())["apiHosts"][key] == value
    assert "apiHosts" not in await desk.log_in()


async def test_a_user_can_be_closed(desk: Desk) -> None:
    await desk.fault("user_closed")

    assert (await desk.log_in())["userStatus"] == "Closed"


async def test_a_fault_may_concern_one_operation(desk: Desk) -> None:
    await desk.fault("server_error", operation="fill/list")

    assert (await desk.send())[0] == 200
    assert (await desk.send("live/v1/Fill/List"))[0] == 500


async def test_faults_stand_in_line_and_can_be_taken_back(desk: Desk) -> None:
    await desk.fault("locked")
    await desk.fault("rate_limit")
    await desk.fault("server_error")

    assert [(await desk.send())[0] for _ in range(2)] == [423, 429]
    await desk.send("_sandbox/faults", method="DELETE")
    assert (await desk.send())[0] == 200


@pytest.mark.parametrize("order", [{"fault": "nonsense"}, {"fault": "cut", "times": 0}, {"fault": "cut", "after": -1}])
async def test_an_order_that_makes_no_sense_is_refused_with_the_list(desk: Desk, order: dict[str, Any]) -> None:
    broker = create(SandboxSettings(now=lambda: NOON, days=1))
    status, text = await desk.send("_sandbox/faults", body=order)

    assert status == 400
    assert json.loads(text)["faults"] == list(broker.faults)
    assert set(broker.demo_faults) < set(broker.faults)


async def test_a_penalised_login_must_come_again_with_its_ticket(desk: Desk, clock: Clock) -> None:
    await desk.fault("penalty_ticket")
    _, text = await desk.send("live/v1/auth/accesstokenrequest", body=desk.login)
    penalty = json.loads(text)
    assert (penalty["p-time"], penalty["p-captcha"]) == (1, False)
    clock.now += timedelta(seconds=1)

    assert "p-ticket" in await desk.log_in()
    clock.now += timedelta(seconds=1)
    desk.login["p-ticket"] = penalty["p-ticket"]
    second = await desk.log_in()
    clock.now += timedelta(seconds=1)
    desk.login["p-ticket"] = second["p-ticket"]
    assert "accessToken" in await desk.log_in()


@pytest.mark.parametrize("with_ticket", [True, False])
async def test_a_penalised_request_without_a_body_may_come_again_with_or_without_the_ticket(
    desk: Desk, clock: Clock, with_ticket: bool
) -> None:
    await desk.fault("penalty_ticket")
    ticket = json.loads((await desk.send())[1])["p-ticket"]
    assert json.loads((await desk.send("demo/v1/account/list"))[1]) != {}
    clock.now += timedelta(seconds=1)

    _, text = await desk.send(body={"p-ticket": ticket} if with_ticket else None)

    assert isinstance(json.loads(text), list)


@pytest.mark.parametrize(("by_clock", "by_machine", "passes"), [(0.9, 0.9, False), (1, 0, True), (0, 1, True)])
def test_a_penalty_is_over_when_either_clock_says_so(by_clock: float, by_machine: float, passes: bool) -> None:
    clock, machine = Clock(), [5.0]
    penalties = Penalties(clock, lambda: machine[0])
    ticket = json.loads(penalties.ticket("request").text)["p-ticket"]
    clock.now += timedelta(seconds=by_clock)
    machine[0] += by_machine

    refused = penalties.check("request", {"p-ticket": ticket})

    assert (refused is None) is passes
    assert penalties.check("another request", {}) is None
