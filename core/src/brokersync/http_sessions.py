"""Sessions: how requests are sent, which of them share connections, and which never do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, final

from brokersync.errors import BrokerConfigError

if TYPE_CHECKING:
    import aiohttp

OnSent: TypeAlias = Callable[[], Awaitable[None]]


def open_session(*, keeps: bool = True) -> aiohttp.ClientSession:
    """A session as every broker gets it: no cookies, no proxies or passwords from the environment, no second sending.

    The limiter bounds what is open at a time, so the pool does not. One that `keeps` none opens a connection a request.
    """
    import aiohttp  # costs 150 ms that nobody pays before something is sent

    traces = aiohttp.TraceConfig()
    traces.on_request_headers_sent.append(_tell_sent)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=not keeps),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=[traces],
    )


def check_session(session: aiohttp.ClientSession) -> None:
    """Raises `BrokerConfigError` for a session that would mix logins or give away what is not the broker's.

    Redirects, decompression, repetitions and bounds are set with each request, whatever the session's own.
    """
    import aiohttp  # whoever has a session has paid for it

    wrong = [
        what
        for what, is_so in (
            (
                "keeps cookies, which would mix the logins of users",
                not isinstance(session.cookie_jar, aiohttp.DummyCookieJar),
            ),
            ("takes proxies and passwords from the environment", session.trust_env),
            ("sends a password of its own", session.auth is not None),
            ("sends headers of its own", bool(session.headers)),
        )
        if is_so
    ]
    if wrong:
        raise BrokerConfigError(
            f"The session {' and '.join(wrong)}.", remedy="Make the session with brokersync.http.open_session()."
        )


@final
class Sessions:
    """The session that was given, or two that all runs of a process share: one keeps connections, the other none.

    To open a connection takes longer than most requests, so what may be sent twice uses one that is open already. What
    may not gets a connection of its own: a kept one may be dying as it is written to, and then nobody can say whether
    the broker has seen the request. What is sent again gets one, too. A session that was given is used for all, and
    stays open.
    """

    def __init__(self, given: aiohttp.ClientSession | None = None) -> None:
        if given is not None:
            check_session(given)
        self._given = given
        self._opened: dict[bool, aiohttp.ClientSession] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self, *, keeps: bool) -> aiohttp.ClientSession:
        """One that keeps its connections for others, or one that does not."""
        if self._given is not None:
            return self._given
        self._forget_other_loops()
        if keeps not in self._opened:
            self._opened[keeps] = open_session(keeps=keeps)
        return self._opened[keeps]

    async def aclose(self) -> None:
        """Close what was opened here; whoever asks again gets new ones."""
        self._forget_other_loops()
        opened, self._opened = self._opened, {}
        for session in opened.values():
            await session.close()

    def _forget_other_loops(self) -> None:
        """A loop that has ended took its connections with it."""
        if self._loop is not (loop := asyncio.get_running_loop()):
            self._loop, self._opened = loop, {}


async def _tell_sent(_: aiohttp.ClientSession, context: Any, __: aiohttp.TraceRequestHeadersSentParams) -> None:
    """To open a connection may take longer than a limit forgives, so what is sent says when it leaves."""
    on_sent: OnSent | None = context.trace_request_ctx
    if on_sent is not None:
        await on_sent()
