"""The faults that a broker can show, as a fault server shows them in place of what a sandbox answers."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import cache
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

import attrs
from aiohttp import web

FOREIGN_URL: Final = "https://elsewhere.invalid/"
ASKED_WAIT: Final = timedelta(seconds=85_092)

_PAGE = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head><body><h1>Log in</h1></body></html>\n"
_BOMB_BYTES = 48 * 1024 * 1024
_LASTS = 1.5
_DRIP = 0.05
_NONE: Mapping[str, str] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class Answered:
    """What the sandbox answered, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "application/octet-stream")


class Occasion(Protocol):
    """One request that a fault meets; `answer` has the sandbox answer it, which it never sees else."""

    @property
    def request(self) -> web.Request: ...

    def now(self) -> datetime: ...

    async def answer(self) -> Answered: ...


_Show: TypeAlias = Callable[[Occasion], Awaitable[web.StreamResponse]]


@attrs.frozen(repr=False)
class Fault:
    """One fault by its name; `show` answers a request with it."""

    name: str
    show: _Show = attrs.field(eq=False)

    def __repr__(self) -> str:
        return self.name


def status(code: int, *, body: bytes = b"", headers: Mapping[str, str] = _NONE, name: str = "") -> Fault:
    """An answer with this status in place of the sandbox's, which does not see the request."""

    async def show(_: Occasion) -> web.StreamResponse:
        return web.Response(status=code, body=body, headers=dict(headers))

    return Fault(name or f"status_{code}", show)


def altered(name: str, alter: Callable[[Answered], Answered]) -> Fault:
    """The sandbox's own answer, changed on its way."""

    async def show(occasion: Occasion) -> web.StreamResponse:
        given = alter(await occasion.answer())
        return web.Response(status=given.status, body=given.body, headers=dict(given.headers))

    return Fault(name, show)


async def _too_many_until(occasion: Occasion) -> web.StreamResponse:
    until = (occasion.now() + ASKED_WAIT).replace(microsecond=0)
    return web.Response(status=429, headers={"Retry-After": format_datetime(until, usegmt=True)})


async def _redirect(occasion: Occasion) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": FOREIGN_URL + occasion.request.path.lstrip("/")})


async def _gzip_bomb(occasion: Occasion) -> web.StreamResponse:
    given = await occasion.answer()
    headers = {"Content-Type": given.content_type, "Content-Encoding": "gzip"}
    return web.Response(status=given.status, body=_bomb(), headers=headers)


@cache
def _bomb() -> bytes:
    return gzip.compress(bytes(_BOMB_BYTES), compresslevel=9)


async def _cut(occasion: Occasion) -> web.StreamResponse:
    response, body = await _begun(occasion)
    await response.write(body[: len(body) // 2])
    return _closed(occasion, response)


async def _reset(occasion: Occasion) -> web.StreamResponse:
    return _closed(occasion, web.StreamResponse())


async def _silence(occasion: Occasion) -> web.StreamResponse:
    await asyncio.sleep(_LASTS)
    return _closed(occasion, web.StreamResponse())


async def _drip(occasion: Occasion) -> web.StreamResponse:
    response, body = await _begun(occasion)
    for place in range(min(len(body) // 2, int(_LASTS / _DRIP))):
        await response.write(body[place : place + 1])
        await asyncio.sleep(_DRIP)
    return _closed(occasion, response)


async def _begun(occasion: Occasion) -> tuple[web.StreamResponse, bytes]:
    given = await occasion.answer()
    response = web.StreamResponse(status=given.status, headers=dict(given.headers))
    response.content_length = len(given.body)
    await response.prepare(occasion.request)
    return response, given.body


def _closed(occasion: Occasion, response: web.StreamResponse) -> web.StreamResponse:
    if occasion.request.transport is not None:
        occasion.request.transport.close()
    return response


async def _other_clock(occasion: Occasion) -> web.StreamResponse:
    given = await occasion.answer()
    wrong = format_datetime((occasion.now() + timedelta(days=400)).replace(microsecond=0), usegmt=True)
    return web.Response(status=given.status, body=given.body, headers={**given.headers, "Date": wrong})


def _with_body(name: str, body: bytes | Callable[[bytes], bytes], content_type: str | None = None) -> Fault:
    def alter(given: Answered) -> Answered:
        made = body(given.body) if callable(body) else body
        headers = {**given.headers, "Content-Type": content_type or given.content_type}
        return attrs.evolve(given, body=made, headers=headers, status=200)

    return altered(name, alter)


def _halved(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _of_another_type(body: bytes) -> bytes:
    """A list for an object and an object for anything else: well-formed, and not what is documented."""
    try:
        told = json.loads(body)
    except ValueError:
        return b"[7]"
    return b"[7]" if isinstance(told, dict) else b'{"unheard": 7}'


STATUSES: Final = (400, 401, 403, 404, 408, 409, 418, 423, 425, 429, 451, 500, 501, 502, 503, 504, 520, 599)

_MADE = (
    *(status(code) for code in STATUSES),
    status(300, name="status_300"),
    status(429, headers={"Retry-After": str(int(ASKED_WAIT.total_seconds()))}, name="too_many_seconds"),
    Fault("too_many_date", _too_many_until),
    status(429, headers={"Retry-After": "soon"}, name="too_many_nonsense"),
    status(503, headers={"Retry-After": "120"}, name="maintenance_seconds"),
    _with_body("html", _PAGE, "text/html"),
    _with_body("empty", b""),
    _with_body("truncated", _halved),
    _with_body("wrong_type", _of_another_type),
    _with_body("not_text", b"\xff\xfe\x00\x01" * 16, "application/octet-stream"),
    Fault("redirect", _redirect),
    Fault("gzip_bomb", _gzip_bomb),
    Fault("cut", _cut),
    Fault("reset", _reset),
    Fault("silence", _silence),
    Fault("drip", _drip),
    Fault("wrong_clock", _other_clock),
)

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType({fault.name: fault for fault in _MADE})
"""Every fault by its name."""

PASSING: Final = ("status_500", "status_502", "status_503", "status_504", "reset", "cut")
"""Those that are over when the request is made again."""
