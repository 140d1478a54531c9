"""The address on this machine that a broker sends the browser back to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from aiohttp import web

from brokersync.errors import BrokerAuthError, BrokerConfigError, Fault

_PAGE: Final = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>brokersync</title></head>
<body><p>brokersync has the answer. You can close this page and go back to the terminal.</p></body></html>"""
# the address holds what logs in: it is neither kept nor passed on
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'",
}


class Callback:
    """Waits for one answer at `uri`; any web page can reach this machine's ports, so all else is turned away."""

    def __init__(self, uri: SplitResult) -> None:
        self._uri, self._state = uri, ""
        self._answer = asyncio.get_running_loop().create_future()

    @property
    def uri(self) -> str:
        """What the broker is told."""
        return urlunsplit(self._uri)

    def listens_at(self, port: int) -> None:
        """The port that was free."""
        host = f"[{self._uri.hostname}]" if ":" in (self._uri.hostname or "") else self._uri.hostname
        self._uri = self._uri._replace(netloc=f"{host}:{port}")

    async def answer(self, state: str, within: timedelta) -> dict[str, str]:
        """The query of the answer, which repeats `state` where that is not empty. Raises `BrokerAuthError`."""
        self._state = state
        try:
            async with asyncio.timeout(within.total_seconds()):
                return dict(await self._answer)
        except TimeoutError:
            raise BrokerAuthError(
                "No answer came back from the broker's page in time, so nothing was changed.",
                remedy="Run the command again, and answer in the browser before its time is over.",
                code="timeout",
            ) from None

    async def hear(self, request: web.Request) -> web.Response:
        if request.host != self._uri.netloc or (self._state and request.query.get("state") != self._state):
            return web.Response(status=400, text="This is no answer that brokersync waits for.", headers=_HEADERS)
        if not self._answer.done():
            self._answer.set_result(dict(request.query))
        return web.Response(text=_PAGE, content_type="text/html", headers=_HEADERS)


@asynccontextmanager
async def listening(redirect_uri: str) -> AsyncIterator[Callback]:
    """Listens on this machine and nowhere else; port 0 takes a free one."""
    parts = urlsplit(redirect_uri)
    parts = parts._replace(path=parts.path or "/")
    callback, application = Callback(parts), web.Application()
    application.router.add_get(parts.path, callback.hear, allow_head=False)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        callback.listens_at(await _listen(runner, parts))
        yield callback
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, parts: SplitResult) -> int:
    try:
        port = 80 if parts.port is None else parts.port
        await web.TCPSite(runner, parts.hostname, port).start()
    except (OSError, OverflowError, ValueError) as error:
        raise BrokerConfigError(
            f"Nothing can listen at {parts.geturl()} for the broker's answer: {error}.",
            remedy="Name an address of this machine with a free port, registered with the broker, by --redirect-uri.",
            fault=Fault.USER,
        ) from None
    return int(runner.addresses[0][1])
