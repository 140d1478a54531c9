"""A server made of the published description and of nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from .answers import Broker
from .requests import violations
from .table import OPERATIONS

TOKEN = "token-of-the-published"


class Published:
    """Answers what is asked in order, and keeps what was wrong with the rest."""

    def __init__(self, seed: int, began: datetime, now: datetime) -> None:
        self.sides = {side: Broker(f"{seed}:{side}", began, now) for side in ("live", "demo")}
        self.wrong: list[str] = []
        self.asked: set[str] = set()
        self._now = now

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Mapping[str, str]]:
        """The base URLs of the two trading hosts."""
        application = web.Application()
        application.router.add_route("*", "/{side}/v1{path:/.*}", self._answer)
        async with TestServer(application, host="127.0.0.1") as server:
            yield {side: f"http://127.0.0.1:{server.port}/{side}/v1" for side in self.sides}

    async def _answer(self, request: web.Request) -> web.Response:
        path, broker = request.match_info["path"], self.sides[request.match_info["side"]]
        found = list(violations(request.method, path, request.query, await request.text(), request.headers))
        if found:
            self.wrong += found
            return web.Response(status=400)
        self.asked.add(path.lower())
        shape = OPERATIONS[request.method, path.lower()].gives
        if shape == "OAuthMeResponse":
            return _json(broker.user())
        if not shape.startswith("["):
            return _json(broker.login(TOKEN, self._now + timedelta(minutes=80)))
        shape = shape.strip("[]")
        if "ids" not in request.query:
            return _json(broker.listed(shape))
        rows = broker.items(shape, [int(one) for one in request.query["ids"].split(",")])
        return _json(rows) if rows else web.Response(status=404)


def _json(value: Any) -> web.Response:
    return web.Response(text=_written(value), content_type="application/json")


def _written(value: Any) -> str:
    """JSON with a number's own digits, as a server that knows doubles may write them."""
    if isinstance(value, Decimal):
        return format(value, "E") if value < Decimal("0.001") else format(value, "f")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(name)}:{_written(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value)
