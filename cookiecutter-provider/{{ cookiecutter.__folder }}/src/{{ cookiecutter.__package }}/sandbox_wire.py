"""How the simulated broker refuses: its errors, its limits, and faults that a test asks for."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime

from aiohttp import web

from brokersync.plugin import SandboxSettings
{% if cookiecutter.auth_kind == "api_key" %}
from {{ cookiecutter.__package }}.client import KEY_HEADER
{% endif %}
from {{ cookiecutter.__package }}.sandbox_facts import LIMITS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RefusedError(Exception):
    """Ends the handling of a request."""

    def __init__(self, status: int, code: str, retry_after: int | None = None, **facts: object) -> None:
        super().__init__(code)
        self._status, self._retry_after = status, retry_after
        self._facts = {"error": code, **facts}

    # FILL IN: the form of an error, and how the broker says when to come back; of a date give a `Date` beside it, too
    def answer(self) -> web.Response:
        headers = {} if self._retry_after is None else {"Retry-After": str(self._retry_after)}
        return web.json_response(self._facts, status=self._status, headers=headers)


class Meter:
    """Counts the latest calls of each login; those that are refused do not count."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._most = max((most for most, _ in LIMITS), default=0)
        self._calls: dict[str, deque[datetime]] = {}

    def count(self, login: str) -> None:
        now = self._settings.now()
        calls = self._calls.setdefault(login, deque(maxlen=self._most))
        free = [calls[-most] + period for most, period in LIMITS if len(calls) >= most]
        if self._settings.keeps_limits and free and max(free) > now:
            wait = max(free) - now
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
{% if cookiecutter.auth_kind == "api_key" %}


def key_in(request: web.Request) -> str:
    return request.headers.get(KEY_HEADER, "")
{% elif cookiecutter.auth_kind != "signed" %}


def bearer(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")
{% endif %}
