"""How the simulated broker refuses: its codes, its limit, and faults that a test asks for."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from aiohttp import web

from brokersync.plugin import SandboxSettings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_MINUTE = timedelta(minutes=1)


class RefusedError(Exception):
    """Ends the handling of a request."""

    def __init__(self, status: int, code: str, retry_after: int | None = None, **facts: object) -> None:
        super().__init__(code)
        self._status, self._retry_after = status, retry_after
        self._body = {"error": code, **facts}

    def answer(self) -> web.Response:
        headers = {} if self._retry_after is None else {"Retry-After": str(self._retry_after)}
        return web.json_response(self._body, status=self._status, headers=headers)


class Meter:
    """Counts the calls of the last minute for each login; those that are refused do not count."""

    def __init__(self, settings: SandboxSettings, calls_a_minute: int) -> None:
        self._settings, self._most = settings, calls_a_minute
        self._calls: dict[str, deque[datetime]] = {}

    def count(self, login: str) -> None:
        now = self._settings.now()
        calls = self._calls.setdefault(login, deque())
        while calls and calls[0] <= now - _MINUTE:
            calls.popleft()
        if self._settings.keeps_limits and len(calls) >= self._most:
            wait = calls[0] + _MINUTE - now
            raise RefusedError(429, "too_many", retry_after=int(wait.total_seconds()) + 1)
        calls.append(now)


class Faults:
    """What the next requests show: a fault, or nothing."""

    def __init__(self) -> None:
        self._armed: deque[str | None] = deque()

    def arm(self, fault: str, *, times: int, after: int) -> None:
        """Behind the next `after` requests, and behind what is armed already."""
        self._armed.extend([None] * (after - len(self._armed)))
        self._armed.extend([fault] * times)

    def next(self) -> str | None:
        return self._armed.popleft() if self._armed else None
{% if cookiecutter.auth_kind != "signed" %}


def bearer(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")
{% endif %}
