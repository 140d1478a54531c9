"""A proxy on loopback in front of a sandbox: it shows faults by script or by seed, and knows what went through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import TypeAlias, final

import aiohttp
import attrs
from aiohttp import web

from brokersync.testing.faults import FAULTS, PASSING, Answered, Fault

_LOOPBACK = "127.0.0.1"
# of one connection only, made anew with the body, or of no use to who changes bodies
_NOT_PASSED_ON = frozenset(
    {"accept-encoding", "connection", "content-length", "keep-alive", "te", "transfer-encoding", "upgrade"}
)


@attrs.frozen(kw_only=True)
class Sent:
    """A request as it came in; `number` counts from 1, and the names of headers are lower case."""

    number: int
    at: datetime
    method: str
    path: str
    query: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"request {self.number}: {self.method} {self.path}"

    def holds(self, text: str) -> bool:
        """Whether the text stands anywhere in it."""
        inside = (self.path, self.query, *self.headers.values(), self.body.decode("utf-8", "replace"))
        return any(text in one for one in inside)


@attrs.define
class Exchange:
    """A request, the fault it met, and the status it was answered with."""

    sent: Sent
    fault: str = ""
    status: int | None = None
    answered: Answered | None = attrs.field(default=None, repr=False)

    def __str__(self) -> str:
        met = f", met with {self.fault}" if self.fault else ""
        return f"{self.sent}{met}, answered {self.status}"


Match: TypeAlias = Callable[[Sent], bool]
Alter: TypeAlias = Callable[[Sent, Answered], Answered]
Rewrite: TypeAlias = Callable[[str], str]


@attrs.define
class _Rule:
    match: Match
    fault: Fault
    after: int
    times: int | None


def any_request(_: Sent) -> bool:
    """The match of every request."""
    return True


@final
class FaultServer:
    """In front of the sandbox at `target`; `exchanges` are all requests so far.

    Without a word it passes everything on. `show` scripts a fault, `show_by_seed` draws one now and then; `alter`
    changes the answers that are passed on.
    """

    def __init__(self, target: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.base_url = ""
        self.exchanges: list[Exchange] = []
        self._target, self._now = target, now
        self._rules: list[_Rule] = []
        self._alters: list[Alter] = []
        self._rewrite: Rewrite | None = None
        self._drawn: tuple[Random, float, tuple[Fault, ...]] | None = None
        self._session: aiohttp.ClientSession | None = None

    def show(self, fault: str | Fault, *, match: Match = any_request, after: int = 0, times: int | None = 1) -> None:
        """The requests that match, but the first `after` of them, meet a fault, `times` of them or all.

        Raises `KeyError` for a fault that there is not.
        """
        made = FAULTS[fault] if isinstance(fault, str) else fault
        self._rules.append(_Rule(match, made, after, times))

    def show_by_seed(self, seed: object, *, share: float = 0.2, faults: Iterable[str] = PASSING) -> None:
        """Each request meets one of these faults with this probability; the same seed draws the same."""
        drawn = Random(f"{seed}")  # noqa: S311  draws of a test are repeated by their seed
        self._drawn = drawn, share, tuple(FAULTS[name] for name in faults)

    def expire(self, token: str) -> None:
        """From now on every request that holds this token, of whichever kind, is answered with 401."""
        self.show("status_401", match=lambda sent: sent.holds(token), times=None)

    def alter(self, alter: Alter) -> None:
        """Change what the sandbox answers, in the order in which alterations are given."""
        self._alters.append(alter)

    def rewrite(self, rewrite: Rewrite) -> None:
        """Change path, query and body of what is passed on to the sandbox, such as the ids that an alteration made."""
        self._rewrite = rewrite

    def clear(self) -> None:
        """No faults and alterations any more; what went through stays known."""
        self._rules.clear()
        self._alters.clear()
        self._rewrite = self._drawn = None

    def told(self, last: int = 8) -> str:
        """The latest requests, one a line."""
        return "\n".join(f"  {one}" for one in self.exchanges[-last:])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FaultServer]:
        """Serve on a free port until the block ends."""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, _LOOPBACK, 0).start()
            self.base_url = f"http://{_LOOPBACK}:{runner.addresses[0][1]}"
            jar = aiohttp.DummyCookieJar()
            async with aiohttp.ClientSession(cookie_jar=jar, auto_decompress=False) as self._session:
                yield self
        finally:
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        sent = Sent(
            number=len(self.exchanges) + 1,
            at=self._now(),
            method=request.method,
            path=request.rel_url.raw_path,
            query=request.rel_url.raw_query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        exchange = Exchange(sent)
        self.exchanges.append(exchange)
        occasion = _Occasion(request, sent, self)
        fault = self._due(sent)
        if fault is None:
            given = exchange.answered = await occasion.answer()
            exchange.status = given.status
            return web.Response(status=given.status, body=given.body, headers=dict(given.headers))
        exchange.fault = fault.name
        response = await fault.show(occasion)
        exchange.status = response.status
        return response

    def _due(self, sent: Sent) -> Fault | None:
        for rule in self._rules:
            if not rule.match(sent):
                continue
            if rule.after > 0:
                rule.after -= 1
            elif rule.times is None or rule.times > 0:
                rule.times = None if rule.times is None else rule.times - 1
                return rule.fault
        if self._drawn is not None:
            random, share, faults = self._drawn
            if random.random() < share:
                return random.choice(faults)
        return None

    async def _ask(self, sent: Sent) -> Answered:
        assert self._session is not None
        rewrite = self._rewrite or _as_it_is
        # the sandbox may name its own address in an answer, which is to be this one
        headers = {name: value for name, value in sent.headers.items() if name not in _NOT_PASSED_ON}
        url = self._target + rewrite(sent.path) + (f"?{rewrite(sent.query)}" if sent.query else "")
        body = rewrite(sent.body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        async with self._session.request(
            sent.method,
            url,
            headers=headers,
            data=body or None,
            allow_redirects=False,
            skip_auto_headers=("Accept-Encoding", "Content-Type", "User-Agent"),
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED_ON}
            given = Answered(status=answer.status, headers=kept, body=await answer.read())
        for alter in self._alters:
            given = alter(sent, given)
        return given


@attrs.frozen
class _Occasion:
    request: web.Request
    _sent: Sent
    _server: FaultServer

    def now(self) -> datetime:
        return self._server._now()  # noqa: SLF001  it is the server's own

    async def answer(self) -> Answered:
        return await self._server._ask(self._sent)  # noqa: SLF001  it is the server's own


def _as_it_is(text: str) -> str:
    return text
