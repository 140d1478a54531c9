"""The address on this machine that a broker's answer comes to: it takes that answer, and nothing else."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta

import aiohttp
import pytest

from brokersync.cli.callback import listening
from brokersync.errors import BrokerAuthError, BrokerConfigError

SOON = timedelta(seconds=20)
STATE = "state-of-the-test"


async def get(url: str, **options: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(url, headers=options or None) as response:
        assert response.headers["Cache-Control"] == "no-store"
        assert STATE not in await response.text()
        return response.status


@pytest.mark.parametrize("uri", ["http://127.0.0.1:0/", "http://127.0.0.1:0", "http://127.0.0.1:0/call/back"])
async def test_the_answer_is_taken_once(uri: str) -> None:
    async with listening(uri) as callback:
        waiting = asyncio.create_task(callback.answer(STATE, SOON))
        await asyncio.sleep(0)
        assert await get(f"{callback.uri}?code=one&state={STATE}") == 200
        assert await get(f"{callback.uri}?code=two&state={STATE}") == 200, "a page that is loaded again"
        assert await waiting == {"code": "one", "state": STATE}


async def test_what_other_pages_send_here_ends_no_waiting() -> None:
    async with listening("http://127.0.0.1:0/") as callback:
        waiting = asyncio.create_task(callback.answer(STATE, SOON))
        await asyncio.sleep(0)
        assert await get(f"{callback.uri}?code=evil&state=guessed") == 400
        assert await get(f"{callback.uri}?code=evil") == 400
        assert await get(f"{callback.uri}?code=evil&state={STATE}", Host="evil.example") == 400
        assert not waiting.done()
        assert await get(f"{callback.uri}?error=access_denied&state={STATE}") == 200
        assert await waiting == {"error": "access_denied", "state": STATE}


async def test_the_time_is_limited_and_that_is_no_fault_of_the_login() -> None:
    async with listening("http://127.0.0.1:0/") as callback:
        with pytest.raises(BrokerAuthError, match="nothing was changed") as caught:
            await callback.answer(STATE, timedelta(milliseconds=1))
    assert caught.value.code == "timeout"


async def test_nothing_listens_any_more_afterwards_and_never_on_other_addresses() -> None:
    async with listening("http://127.0.0.1:0/") as callback:
        port = int(callback.uri.rsplit(":", 1)[1].strip("/"))
        with socket.socket() as other:
            other.bind(("127.0.0.2", port))  # would be taken by one that listens on all
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


@pytest.mark.parametrize("uri", ["http://127.0.0.1:99999/", "http://localhost.invalid:0/"])
async def test_an_address_that_can_not_be_listened_at_is_named(uri: str) -> None:
    with pytest.raises(BrokerConfigError, match="--redirect-uri"):
        async with listening(uri):
            pass
