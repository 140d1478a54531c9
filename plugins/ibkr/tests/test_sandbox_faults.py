"""The faults of the simulated Flex Web Service, over real HTTP."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from brokersync.plugin import SandboxSettings
from brokersync_ibkr import sandbox_faults
from brokersync_ibkr.sandbox import create

START = datetime(2026, 3, 11, 15, 0, tzinfo=UTC)


class World:
    """A sandbox on loopback whose clock goes on by ten seconds with each request, as its limits want."""

    def __init__(self) -> None:
        self.now = START
        self.broker = create(SandboxSettings(now=lambda: self.now, days=30))
        self.fields = self.broker.logins[0].fields
        self.client: TestClient[Any, Any] = TestClient(TestServer(self.broker.application()))

    async def get(self, operation: str, query_id: str | None = None) -> tuple[int, str]:
        self.now += timedelta(seconds=10)
        query = {"t": self.fields["token"], "v": "3", "q": query_id or self.fields["activity_query_id"], "p": "20"}
        async with self.client.get(f"/AccountManagement/FlexWebService/{operation}", params=query) as answer:
            return answer.status, await answer.text()

    async def code(self, operation: str) -> str | None:
        return ET.fromstring((await self.get(operation))[1]).findtext("ErrorCode")

    async def arm(self, fault: str, **more: object) -> None:
        async with self.client.post("/_sandbox/faults", json={"fault": fault, **more}) as answer:
            assert answer.status == 200


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    async with world.client:
        yield world


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("too_many_requests", "1018"),
        ("not_ready", "1019"),
        ("expired_token", "1012"),
        ("heavy_load", "1009"),
        ("unavailable", "1001"),
        ("service_inactive", "1011"),
        ("ip_restriction", "1013"),
        ("unknown_reference", "1017"),
        *((f"code_{code}", str(code)) for code in (1003, *range(1004, 1009), 1010, 1014, 1015, 1016, 1020, 1021)),
    ],
)
async def test_the_services_own_errors_come_on_request(world: World, fault: str, code: str) -> None:
    await world.arm(fault)
    assert await world.code("SendRequest") == code
    assert await world.code("SendRequest") is None


@pytest.mark.parametrize(
    ("fault", "status", "head"),
    [
        ("rate_limit", 429, "<!DOCTYPE html>"),
        ("server_error", 500, "<!DOCTYPE html>"),
        ("maintenance", 503, "<!DOCTYPE html>"),
        ("html", 200, "<!DOCTYPE html>"),
        ("csv", 200, '"ClientAccountID"'),
    ],
)
async def test_answers_that_are_no_flex_come_on_request(world: World, fault: str, status: int, head: str) -> None:
    await world.arm(fault)
    given, body = await world.get("SendRequest")
    assert (given, body[: len(head)]) == (status, head)
    assert await world.code("SendRequest") is None


async def test_a_rate_limit_names_its_wait_in_seconds_or_as_a_date(world: World) -> None:
    world.now += timedelta(milliseconds=250)
    await world.arm("rate_limit")
    await world.arm("rate_limit_date")
    async with world.client.get("/AccountManagement/FlexWebService/SendRequest") as answer:
        assert answer.headers["Retry-After"] == "2"
    async with world.client.get("/AccountManagement/FlexWebService/SendRequest") as answer:
        assert parsedate_to_datetime(answer.headers["Retry-After"]) == START + timedelta(seconds=3)


async def test_a_report_can_end_in_its_middle_or_drip(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_faults, "_DRIP_SECONDS", 0)
    sent = ET.fromstring((await world.get("SendRequest"))[1])
    reference = sent.findtext("ReferenceCode")
    _, whole = await world.get("GetStatement", reference)
    assert whole.startswith("<FlexQueryResponse")
    await world.arm("truncated")
    assert await world.get("GetStatement", reference) == (200, whole[: len(whole) // 2])
    await world.arm("slow")
    assert await world.get("GetStatement", reference) == (200, whole)
    await world.arm("cut")
    with pytest.raises(aiohttp.ClientPayloadError):
        await world.get("GetStatement", reference)


async def test_faults_wait_and_count_requests_whatever_other_faults_do(world: World) -> None:
    await world.arm("not_ready", times=2, after=1)
    await world.arm("heavy_load", after=2)
    await world.arm("unavailable", after=4)
    codes = [await world.code("SendRequest") for _ in range(6)]
    assert codes == [None, "1019", "1019", "1009", "1001", None]


async def test_a_fault_can_keep_to_one_step_until_all_are_taken_back(world: World) -> None:
    await world.arm("server_error", operation="GetStatement", times=9)
    assert await world.code("SendRequest") is None
    assert (await world.get("GetStatement"))[0] == 500
    async with world.client.delete("/_sandbox/faults") as answer:
        assert answer.status == 200
    assert (await world.get("GetStatement"))[0] == 200


@pytest.mark.parametrize(
    "wish",
    [
        "no json",
        "[]",
        "{}",
        *(
            json.dumps({"fault": "cut", **wrong})
            for wrong in ({"fault": "fire"}, {"times": 0}, {"times": "1"}, {"after": -1}, {"operation": "x"})
        ),
    ],
)
async def test_a_wish_that_is_not_understood_is_refused_with_the_list(world: World, wish: str) -> None:
    async with world.client.post("/_sandbox/faults", data=wish) as answer:
        assert answer.status == 400
        told = await answer.json()
    assert tuple(told["faults"]) == world.broker.faults
    assert re.fullmatch(r"\S.+", told["error"])
    assert await world.code("SendRequest") is None


async def test_the_demos_faults_are_among_all_faults(world: World) -> None:
    assert world.broker.demo_faults
    assert set(world.broker.demo_faults) < set(world.broker.faults)
