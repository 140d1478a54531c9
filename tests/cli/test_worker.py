"""`brokersync worker`: what it refuses before it begins."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from brokersync.errors import BrokerConfigError
from brokersync.queue.health import serving_health
from brokersync.queue.worker import Worker

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--concurrency", 0), "--concurrency must be at least 1"),
        (("--stop-within", -1), "--stop-within must not be below 0"),
        (("--health", "localhost"), "no place to listen at"),
        (("--health", "localhost:99999"), "no place to listen at"),
        (("--health", "127.0.0.1:http"), "no place to listen at"),
    ],
)
def test_words_that_mean_nothing_are_refused(
    brokersync: Run, empty_store: Path, words: tuple[object, ...], said: str
) -> None:
    answer = brokersync("worker", *words)
    assert answer.code == 2
    assert said in answer.err
    assert answer.out == ""


def test_a_place_without_a_store_is_not_made_one(brokersync: Run, tmp_path: Path) -> None:
    assert brokersync("worker").code == 7
    assert not (tmp_path / "store.db").exists()


def test_a_port_that_is_taken_is_told_and_nothing_begins(brokersync: Run, empty_store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = brokersync("worker", "--health", taken.getsockname()[1])
    assert answer.code == 3
    assert "can not be listened at" in answer.err
    assert "started" not in answer.err


def test_a_worker_whose_redis_is_away_does_not_say_that_it_has_started(
    brokersync: Run, empty_store: Path, tmp_path: Path
) -> None:
    config = tmp_path / "docket.toml"
    config.write_text('[fleet]\nredis = "redis://127.0.0.1:1/0"\n[queue]\nengine = "docket"\n')
    answer = brokersync("worker", "--config", config)
    assert answer.code == 7
    assert "does not answer" in answer.err
    assert "started" not in answer.err


@pytest.mark.parametrize(("places", "kept"), [(2, "1 is kept"), (4, "3 are kept")])
def test_a_reserve_that_the_option_leaves_no_room_for_is_told(
    brokersync: Run, empty_store: Path, tmp_path: Path, places: int, kept: str
) -> None:
    config = tmp_path / "reserve.toml"
    config.write_text('fleet.redis = "redis://127.0.0.1:1/0"\nqueue = {engine = "docket", reserve = 4}\n')
    answer = brokersync("worker", "--config", config, "--concurrency", places)
    assert f"queue.reserve is 4, and --concurrency {places}" in answer.err
    assert kept in answer.err


def test_an_error_is_the_one_document_of_json(brokersync: Run, empty_store: Path) -> None:
    answer = brokersync("worker", "--health", "nonsense", "--json")
    assert answer.document["error"]["error"] == "UsageError"


async def test_nonsense_at_the_health_port_is_refused_and_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serving_health(cast("Worker", None), "127.0.0.1", 0) as where:
        port = int(where.rpartition(":")[2])
        for nonsense in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET /" + b"a" * 100_000 + b" HTTP/9.9\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(nonsense)
            assert b" 400 " in await reader.readline()
            writer.close()
            await writer.wait_closed()
    assert caplog.text == ""


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_an_address_of_ipv6_is_shown_as_a_browser_takes_it() -> None:
    try:
        async with serving_health(cast("Worker", None), "::1", 0) as where:
            assert where.startswith("http://[::1]:")
    except BrokerConfigError:
        pytest.skip("this machine listens at no address of IPv6")
