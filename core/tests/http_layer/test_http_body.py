"""Bodies: whole or an error, bounded in size and time, in memory or in a file."""

from __future__ import annotations

import asyncio
import gzip
import io
from datetime import timedelta

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from brokersync.config import HttpSettings, RetrySettings
from brokersync.errors import (
    BrokerAPIError,
    BrokerConfigError,
    BrokerResponseError,
    BrokerTimeoutError,
    BrokerUnavailableError,
)
from brokersync.http_body import _Gunzip
from brokersync.http_classify import Failed

ONCE = RetrySettings(attempts=1)
SMALL = HttpSettings(max_body_bytes=100_000, max_spooled_bytes=300_000)


def packed(content: bytes) -> web.Response:
    return web.Response(body=gzip.compress(content), headers={"Content-Encoding": "gzip"})


async def test_a_body_up_to_the_bound_is_read(make_http, broker):
    broker.then(web.Response(body=b"x" * 100_000))
    response = await make_http(settings=SMALL).request("list", "GET", f"{broker.url}/")
    assert len(response.body) == 100_000


@pytest.mark.parametrize(("spool", "size"), [(False, 100_001), (True, 300_001)])
@pytest.mark.parametrize("make", [lambda body: web.Response(body=body), packed], ids=["plain", "gzip"])
async def test_a_body_over_the_bound_is_refused(make_http, broker, make, spool, size):
    broker.then(make(b"x" * size))
    with pytest.raises(BrokerResponseError, match="bound"):
        await make_http(settings=SMALL).request("list", "GET", f"{broker.url}/", spool=spool)


async def test_a_gzip_bomb_is_stopped_long_before_it_is_unpacked(make_http, broker, monkeypatch):
    unpacked = []
    inflate = _Gunzip._inflate
    monkeypatch.setattr(_Gunzip, "_inflate", lambda self, data: unpacked.append(inflate(self, data)) or unpacked[-1])
    broker.then(packed(b"\0" * 50_000_000))
    with pytest.raises(BrokerResponseError, match="bound"):
        await make_http(settings=SMALL).request("list", "GET", f"{broker.url}/")
    assert sum(map(len, unpacked)) <= 200_000


async def test_a_compressed_body_is_unpacked(http, broker):
    content = b"0123456789" * 100_000
    broker.then(packed(content))
    response = await http.request("list", "GET", f"{broker.url}/")
    assert response.body == content
    assert broker.seen[0].headers["accept-encoding"] == "gzip"


async def test_a_compressed_body_that_stops_early_is_not_taken_for_a_whole_one(make_http, broker):
    cut = gzip.compress(b"0123456789" * 100)[:-9]
    broker.then(web.Response(body=cut, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(BrokerUnavailableError, match="broke off"):
        await make_http(retry=ONCE).request("list", "GET", f"{broker.url}/")


async def test_a_compression_nobody_asked_for_is_refused(http, broker):
    broker.then(web.Response(body=b"?", headers={"Content-Encoding": "br"}))
    with pytest.raises(BrokerResponseError, match="not asked for"):
        await http.request("list", "GET", f"{broker.url}/")


async def test_an_answer_without_a_body_may_say_it_is_compressed(http, broker):
    broker.then(web.Response(headers={"Content-Encoding": "gzip"}))
    assert (await http.request("list", "HEAD", f"{broker.url}/")).body == b""


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=3), st.integers(1, 50), st.integers(0, 5))
def test_any_gzip_comes_out_whole_however_it_is_cut_into_parts(members, step, padding):
    stream = b"".join(map(gzip.compress, members)) + b"\0" * padding
    gunzip, out = _Gunzip("Toy Broker"), io.BytesIO()
    for start in range(0, len(stream), step):
        gunzip.feed(stream[start : start + step], out.write)
    gunzip.finish()
    assert out.getvalue() == b"".join(members)


@given(st.binary(max_size=300), st.data())
def test_a_gzip_cut_anywhere_is_never_whole(content, data):
    stream = gzip.compress(content)
    gunzip, out = _Gunzip("Toy Broker"), io.BytesIO()
    gunzip.feed(stream[: data.draw(st.integers(1, len(stream) - 1))], out.write)
    with pytest.raises(Failed):
        gunzip.finish()


async def test_a_spooled_body_is_in_a_file_and_its_head_beside_it(http, broker):
    content = bytes(range(256)) * 10_000
    broker.then(web.Response(body=content))
    response = await http.request("statement", "GET", f"{broker.url}/", spool=True)
    assert response.body == content[: 64 * 1024]
    assert response.file.tell() == 0
    assert response.file.read() == content
    response.file.close()


async def test_check_may_read_the_file_and_the_caller_still_gets_it_from_its_start(http, broker):
    broker.then(web.Response(body=b"statement"))
    response = await http.request("s", "GET", f"{broker.url}/", spool=True, check=lambda answer: answer.file.read())
    assert response.file.read() == b"statement"
    response.file.close()


@pytest.mark.parametrize("trouble", [BrokerAPIError("No."), ZeroDivisionError()], ids=["refused", "bug"])
async def test_the_file_of_a_refused_answer_is_closed(http, broker, trouble):
    seen = []

    def check(response):
        seen.append(response.file)
        raise trouble

    with pytest.raises(type(trouble)):
        await http.request("statement", "GET", f"{broker.url}/", spool=True, check=check)
    assert [file.closed for file in seen] == [True]


async def test_the_file_of_an_attempt_that_is_made_again_is_closed(http, broker):
    seen = []
    broker.then(500, web.Response(text="whole"))
    response = await http.request(
        "statement", "GET", f"{broker.url}/", spool=True, check=lambda answer: seen.append(answer.file)
    )
    assert [file.closed for file in seen] == [True, False]
    response.file.close()


async def test_a_full_disk_is_the_operator_s_to_mend(http, broker, monkeypatch):
    class Full(io.BytesIO):
        def write(self, piece):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("brokersync.http_wire._spool", Full)
    with pytest.raises(BrokerConfigError, match="No space left"):
        await http.request("statement", "GET", f"{broker.url}/", spool=True)


async def drip(request: web.Request) -> web.StreamResponse:
    """A body that never ends, a byte at a time."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.01)


async def stall(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "10"})
    await response.prepare(request)
    await response.write(b"x")
    await asyncio.Event().wait()
    return response


async def silence(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


SHORT = timedelta(seconds=0.1)


@pytest.mark.parametrize(
    ("answer", "bounds"),
    [
        (drip, HttpSettings(total=SHORT)),
        (stall, HttpSettings(read=SHORT)),
        (silence, HttpSettings(read=SHORT)),
        (silence, HttpSettings(total=SHORT)),
    ],
)
async def test_the_timeouts_cover_the_whole_body(make_http, broker, answer, bounds):
    broker.then(answer)
    with pytest.raises(BrokerTimeoutError):
        await make_http(settings=bounds, retry=ONCE).request("list", "GET", f"{broker.url}/")


async def test_a_request_can_have_a_total_of_its_own(make_http, broker):
    broker.then(silence)
    with pytest.raises(BrokerTimeoutError):
        await make_http(retry=ONCE).request("list", "GET", f"{broker.url}/", total_timeout=SHORT)


async def test_a_request_that_may_take_long_may_be_silent_for_as_long(make_http, broker):
    async def think(request):
        await asyncio.sleep(0.3)
        return web.Response()

    broker.then(think)
    http = make_http(settings=HttpSettings(read=SHORT), retry=ONCE)
    response = await http.request("report", "GET", f"{broker.url}/", total_timeout=timedelta(seconds=30))
    assert response.status == 200


async def test_a_timeout_of_what_must_not_be_repeated_says_that_the_outcome_is_unknown(make_http, broker):
    broker.then(silence)
    with pytest.raises(BrokerTimeoutError, match="not known") as unknown:
        await make_http(settings=HttpSettings(total=SHORT)).request("order", "POST", f"{broker.url}/")
    assert "before it is sent again" in unknown.value.remedy
    assert len(broker.seen) == 1


async def test_a_cancelled_download_leaves_no_file_open(http, broker, monkeypatch):
    begun = asyncio.Event()

    class File(io.BytesIO):
        def write(self, piece):
            begun.set()
            return super().write(piece)

    file = File()
    monkeypatch.setattr("brokersync.http_wire._spool", lambda: file)
    broker.then(stall)
    task = asyncio.create_task(http.request("statement", "GET", f"{broker.url}/", spool=True))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert file.closed
