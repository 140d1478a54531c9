"""A token server with refresh tokens of one use, which counts, fails, falls silent, and has processes killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
from aiohttp import web

FAULTS = ("503", "lost before", "lost after", "silent before", "silent after", "kill before", "kill after")
"""What happens to a renewal; after means that the tokens were replaced, and nobody was told."""

_USES = 500  # a token expires when it was used so often: some two seconds after it was made


@attrs.define(eq=False)
class Pair:
    """An access token and the refresh token that came with it."""

    access: str
    refresh: str
    parent: Pair | None
    uses: int = 0
    dead: bool = False
    spent: bool = False
    renewed: int = 0
    unheard: int = 0

    @property
    def expired(self) -> bool:
        return self.uses >= _USES


class TokenServer:
    """The old refresh token works until an access token that came of it is used; used later, it ends everything.

    Every second renewal meets one of the `FAULTS`, in an order drawn from `seed`. It serves until `expiries` tokens
    have expired and every fault was met.
    """

    def __init__(self, seed: int, expiries: int) -> None:
        self._chance, self._wanted = random.Random(seed), expiries
        self._pairs: dict[str, Pair] = {}
        self._faults: list[str] = []
        self._renewals = 0
        self.met: Counter[str] = Counter()
        self.logins = self.revoked = 0
        self.needless: list[str] = []

    @property
    def expiries(self) -> int:
        return sum(pair.expired for pair in set(self._pairs.values()))

    @property
    def too_often(self) -> list[str]:
        """Tokens renewed more than once for their expiry and once more for each answer that nobody got."""
        return [
            f"{pair.access}: {pair.renewed} renewals, {pair.unheard} unheard"
            for pair in set(self._pairs.values())
            if pair.renewed > 1 + pair.unheard
        ]

    @property
    def done(self) -> bool:
        return self.expiries >= self._wanted and len(self.met) == len(FAULTS)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        application = web.Application()
        application.router.add_post("/token", self._token)
        application.router.add_get("/data", self._data)
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        if form["grant_type"] == "code":
            self.logins += 1
            if self.logins > 1:
                return web.json_response({"error": "invalid_grant"}, status=400)
            return self._answer(self._issue(None))
        pair = self._pairs.get(str(form["refresh_token"]))
        if pair is None or pair.spent:
            self._revoke()
            return web.json_response({"error": "invalid_grant"}, status=400)
        fault = self._next_fault()
        if fault == "503":
            return web.Response(status=503)
        if fault is not None and fault.endswith("before"):
            return await self._unanswered(fault, request)
        if not pair.expired:
            self.needless.append(pair.access)
        pair.renewed += 1
        child = self._issue(pair)
        if fault is not None:
            pair.unheard += 1
            return await self._unanswered(fault, request)
        return self._answer(child)

    async def _data(self, request: web.Request) -> web.StreamResponse:
        pair = self._pairs.get(request.headers["Authorization"].removeprefix("Bearer "))
        if pair is None or pair.dead or pair.expired:
            return web.Response(status=401)
        pair.uses += 1
        if pair.uses == 1 and pair.parent is not None:
            self._end_grace(pair, pair.parent)
        return web.json_response({"go_on": not self.done})

    def _next_fault(self) -> str | None:
        self._renewals += 1
        if self._renewals % 2:
            return None
        if not self._faults:
            self._faults = list(FAULTS)
            self._chance.shuffle(self._faults)
        fault = self._faults.pop()
        self.met[fault] += 1
        return fault

    async def _unanswered(self, fault: str, request: web.Request) -> web.StreamResponse:
        if fault.startswith("kill"):
            os.kill(int(request.headers["X-Process"]), signal.SIGKILL)
        if fault.startswith("silent"):
            await asyncio.sleep(60)  # until the client hangs up, which ends this handler
        with contextlib.suppress(AttributeError):  # the killed process has closed it already
            request.transport.abort()  # type: ignore[union-attr]  # see above
        return web.Response()

    def _issue(self, parent: Pair | None) -> Pair:
        number = len(self._pairs)
        pair = Pair(f"access-{number}", f"refresh-{number}", parent)
        self._pairs[pair.access] = self._pairs[pair.refresh] = pair
        return pair

    def _answer(self, pair: Pair) -> web.Response:
        return web.json_response({"access": pair.access, "refresh": pair.refresh})

    def _end_grace(self, pair: Pair, parent: Pair) -> None:
        parent.spent = True
        for other in self._pairs.values():
            if other.parent is parent and other is not pair:
                other.dead = other.spent = True

    def _revoke(self) -> None:
        self.revoked += 1
        for pair in self._pairs.values():
            pair.dead = pair.spent = True
