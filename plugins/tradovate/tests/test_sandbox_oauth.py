"""The simulated consent page and its tokens, asked over loopback as the real ones are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from brokersync.plugin import SandboxSettings
from brokersync_tradovate.sandbox import create

NOON = datetime(2026, 6, 10, 17, 0, tzinfo=UTC)
CALLBACK = "http://127.0.0.1:8765/"


class Clock:
    now = NOON

    def __call__(self) -> datetime:
        return self.now


class Desk:
    def __init__(self, broker: Any, base: str, http: aiohttp.ClientSession, clock: Clock) -> None:
        self.hosts, self.app = broker.hosts(base), dict(broker.operator_fields)
        self.fields, self.http, self.clock = broker.logins[1].fields, http, clock

    def query(self, **changes: str) -> dict[str, str]:
        asked = {"response_type": "code", "client_id": self.app["client_id"], "redirect_uri": CALLBACK, "state": "s-1"}
        return asked | changes

    async def decide(self, answer: str = "allow", *, password: str = "", **changes: str) -> tuple[int, dict[str, str]]:
        form = {"username": self.fields["username"], "password": password or self.fields["password"], "answer": answer}
        url, query = self.hosts["consent"], self.query(**changes)
        async with self.http.post(url, params=query, data=form, allow_redirects=False) as page:
            return page.status, dict(parse_qsl(urlsplit(page.headers.get("Location", "")).query))

    async def code(self) -> str:
        return (await self.decide())[1]["code"]

    async def token(self, **form: str) -> dict[str, Any]:
        async with self.http.post(f"{self.hosts['oauth']}/oauthtoken", data=self.app | form) as answer:
            assert answer.status == 200
            told: dict[str, Any] = json.loads(await answer.text())
            return told

    async def by_code(self, code: str, **changes: str) -> dict[str, Any]:
        asked = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
        return await self.token(**(asked | changes))

    async def by_refresh(self, token: str) -> dict[str, Any]:
        return await self.token(grant_type="refresh_token", refresh_token=token)

    async def status(self, access_token: str) -> int:
        headers = {"Authorization": f"Bearer {access_token}"}
        async with self.http.get(f"{self.hosts['demo']}/account/list", headers=headers) as answer:
            return answer.status


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    clock = Clock()
    broker = create(SandboxSettings(now=clock, days=3))
    async with TestServer(broker.application()) as server, aiohttp.ClientSession() as http:
        yield Desk(broker, f"http://127.0.0.1:{server.port}", http, clock)


async def test_the_page_asks_and_sends_back_with_a_code_and_the_state(desk: Desk) -> None:
    async with desk.http.get(desk.hosts["consent"], params=desk.query()) as page:
        assert (page.status, page.content_type) == (200, "text/html")
    status, query = await desk.decide()
    assert (status, query["state"]) == (302, "s-1")
    granted = await desk.by_code(query["code"])
    assert (granted["expires_in"], granted["refresh_token_expires_in"]) == (4800, 93_600)
    assert "apiHosts" not in granted
    assert await desk.status(granted["access_token"]) == 200


async def test_who_denies_is_sent_back_without_a_code(desk: Desk) -> None:
    assert await desk.decide("deny") == (302, {"error": "access_denied", "state": "s-1"})


async def test_a_wrong_password_shows_the_page_again(desk: Desk) -> None:
    assert await desk.decide(password="wrong") == (200, {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "1"},
        {"response_type": "token"},
        {"redirect_uri": "http://evil.example/"},
        {"redirect_uri": "http://127.0.0.1.evil.example/"},
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_registered(desk: Desk, wrong: dict[str, str]) -> None:
    assert await desk.decide(**wrong) == (400, {})


async def test_a_code_is_good_once_for_its_address_and_for_five_minutes(desk: Desk) -> None:
    code = await desk.code()
    assert "access_token" in await desk.by_code(code)
    assert (await desk.by_code(code))["error"] == "invalid_grant"
    assert (await desk.by_code(await desk.code(), redirect_uri="https://another.example/"))["error"] == "invalid_grant"
    code = await desk.code()
    desk.clock.now += timedelta(minutes=5)
    assert (await desk.by_code(code))["error"] == "invalid_grant"


async def test_an_app_with_another_secret_gets_nothing(desk: Desk) -> None:
    assert (await desk.by_code(await desk.code(), client_secret="wrong"))["error"] == "invalid_client"


async def test_a_refresh_token_rotates_and_its_life_is_prolonged(desk: Desk) -> None:
    first = await desk.by_code(await desk.code())
    for _ in range(3):
        desk.clock.now += timedelta(hours=20)
        second = await desk.by_refresh(first["refresh_token"])
        assert await desk.status(second["access_token"]) == 200
        assert await desk.status(first["access_token"]) == 401
        assert (await desk.by_refresh(first["refresh_token"]))["error"] == "invalid_token"
        first = second
    desk.clock.now += timedelta(hours=26)
    assert (await desk.by_refresh(first["refresh_token"]))["error"] == "invalid_token"


async def test_a_session_that_others_have_closed_is_opened_anew_by_its_refresh_token(desk: Desk) -> None:
    first = await desk.by_code(await desk.code())
    for _ in range(2):
        await desk.by_code(await desk.code())
    assert await desk.status(first["access_token"]) == 408
    assert await desk.status((await desk.by_refresh(first["refresh_token"]))["access_token"]) == 200
