"""The fault server shows what it is asked to, by script and by seed, and knows what went through it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import attrs
import pytest
from aiohttp import web

from brokersync.testing import FAULTS, FaultServer
from brokersync.testing.fault_server import Sent
from brokersync.testing.faults import ASKED_WAIT, FOREIGN_URL, PASSING, STATUSES, Answered

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
BODY = b'{"rows": [{"id": 1, "price": 1.10}, {"id": 2, "price": 2.20}]}'


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async def answer(request: web.Request) -> web.Response:
        body = BODY if request.path != "/echo" else await request.read() + request.query_string.encode()
        return web.Response(body=body, content_type="application/json", headers={"X-Host": request.host})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made = FaultServer(f"http://127.0.0.1:{runner.addresses[0][1]}", lambda: NOW)
    async with made.running():
        yield made
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as made:
        yield made


async def ask(session: aiohttp.ClientSession, server: FaultServer, path: str = "/rows") -> tuple[int, bytes]:
    async with session.get(server.base_url + path, allow_redirects=False) as answer:
        return answer.status, await answer.read()


async def test_without_a_word_all_is_passed_on_as_it_is(session: aiohttp.ClientSession, server: FaultServer) -> None:
    url = f"{server.base_url}/echo?a=1%262&b=%2B"
    async with session.post(url, data=b"body ", headers={"X-Mine": "yes"}) as answer:
        assert await answer.read() == b"body a=1%262&b=%2B"
        assert answer.headers["X-Host"] == server.base_url.removeprefix("http://")
    (exchange,) = server.exchanges
    assert str(exchange) == "request 1: POST /echo, answered 200"
    assert exchange.sent.holds("yes")
    assert exchange.sent.at == NOW


@pytest.mark.parametrize("code", STATUSES)
async def test_each_status_is_shown_once(session: aiohttp.ClientSession, server: FaultServer, code: int) -> None:
    server.show(f"status_{code}")

    assert await ask(session, server) == (code, b"")
    assert await ask(session, server) == (200, BODY)
    assert [one.fault for one in server.exchanges] == [f"status_{code}", ""]


async def test_a_wait_is_asked_for_in_both_forms(session: aiohttp.ClientSession, server: FaultServer) -> None:
    for fault in ("too_many_seconds", "too_many_date"):
        server.show(fault)
        async with session.get(server.base_url) as answer:
            said = answer.headers["Retry-After"]
        wait = timedelta(seconds=int(said)) if said.isdigit() else parsedate_to_datetime(said) - NOW
        assert wait == ASKED_WAIT


@pytest.mark.parametrize(
    ("fault", "body"),
    [
        ("empty", b""),
        ("truncated", BODY[: len(BODY) // 2]),
        ("wrong_type", b"[7]"),
        ("not_text", b"\xff\xfe\x00\x01" * 16),
        ("wrong_clock", BODY),
    ],
)
async def test_a_body_is_spoilt_under_status_200(
    session: aiohttp.ClientSession, server: FaultServer, fault: str, body: bytes
) -> None:
    server.show(fault)

    assert await ask(session, server) == (200, body)


async def test_a_page_of_html_comes_with_200(session: aiohttp.ClientSession, server: FaultServer) -> None:
    server.show("html")
    async with session.get(server.base_url) as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert b"<html>" in await answer.read()


async def test_a_redirect_leads_to_a_foreign_host(session: aiohttp.ClientSession, server: FaultServer) -> None:
    server.show("redirect")
    async with session.get(f"{server.base_url}/rows", allow_redirects=False) as answer:
        assert answer.headers["Location"] == f"{FOREIGN_URL}rows"


async def test_a_bomb_is_small_on_the_wire(session: aiohttp.ClientSession, server: FaultServer) -> None:
    server.show("gzip_bomb")
    _, body = await ask(session, server)

    assert len(body) < 100_000
    assert len(gzip.decompress(body)) == 48 * 1024 * 1024


@pytest.mark.parametrize("fault", ["cut", "reset"])
async def test_a_connection_is_lost(session: aiohttp.ClientSession, server: FaultServer, fault: str) -> None:
    server.show(fault, times=2)  # a client may ask again by itself

    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError)):
        await ask(session, server)


@pytest.mark.parametrize("fault", ["silence", "drip"])
async def test_an_answer_does_not_come_to_its_end(
    session: aiohttp.ClientSession, server: FaultServer, fault: str
) -> None:
    server.show(fault)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(session, server), 0.1)


async def test_a_fault_waits_for_its_turn_and_its_match(session: aiohttp.ClientSession, server: FaultServer) -> None:
    server.show("status_503", match=lambda sent: sent.path == "/two", after=1, times=2)

    codes = [(await ask(session, server, path))[0] for path in ("/two", "/one", "/two", "/two", "/two")]
    assert codes == [200, 200, 503, 503, 200]


async def test_the_same_seed_draws_the_same_faults(session: aiohttp.ClientSession, server: FaultServer) -> None:
    drawn = []
    for seed in (7, 7, 8):
        server.show_by_seed(seed, share=0.5, faults=("status_500", "status_503"))
        drawn.append([(await ask(session, server))[0] for _ in range(20)])

    assert drawn[0] == drawn[1] != drawn[2]
    assert {*drawn[0]} == {200, 500, 503}


async def test_answers_are_changed_and_what_they_made_is_changed_back(
    session: aiohttp.ClientSession, server: FaultServer
) -> None:
    def alter(_: Sent, given: Answered) -> Answered:
        return attrs.evolve(given, body=given.body.replace(b"1", b"9"))

    server.alter(alter)
    server.rewrite(lambda text: text.replace("9", "1"))

    assert await ask(session, server, "/echo?id=9") == (200, b"id=9")
    server.clear()
    assert await ask(session, server, "/echo?id=9") == (200, b"id=9")


async def test_a_fault_that_there_is_not_is_an_error(server: FaultServer) -> None:
    with pytest.raises(KeyError, match="unheard"):
        server.show("unheard")
    assert {*PASSING} <= {*FAULTS}
