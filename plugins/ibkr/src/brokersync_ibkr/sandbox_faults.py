"""The faults that the sandbox shows on request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime

import attrs
from aiohttp import web

from brokersync_ibkr.sandbox_service import CODES, GET, SEND, Answer, FlexService

_NAMED_CODES = {
    "too_many_requests": 1018,
    "not_ready": 1019,
    "expired_token": 1012,
    "heavy_load": 1009,
    "unavailable": 1001,
    "service_inactive": 1011,
    "ip_restriction": 1013,
    "unknown_reference": 1017,
}
_CODES = _NAMED_CODES | {f"code_{code}": code for code in sorted(CODES - set(_NAMED_CODES.values()))}
_BROKEN = ("truncated", "cut", "slow")
_REPLACED = ("rate_limit", "rate_limit_date", "server_error", "maintenance", "html", "csv")
FAULTS = tuple(sorted((*_CODES, *_BROKEN, *_REPLACED)))
# Not those after which the service itself wants to be left alone for a minute.
DEMO_FAULTS = ("rate_limit", "cut")

_WAIT = timedelta(seconds=2)
_DRIPS = 10
_DRIP_SECONDS = 0.1
_CSV = (
    b'"ClientAccountID","CurrencyPrimary","AssetClass","Symbol","TradeID","Date/Time","Quantity","TradePrice"\n'
    b'"U7000001","USD","STK","AURL","1000000001","20250106;101500","10","41.8"\n'
)


@attrs.define
class _Armed:
    name: str
    times: int
    after: int
    operation: str | None


class FaultPlan:
    """Which of the next requests show which fault."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def arm(self, wish: object) -> None:
        """Takes `{"fault": NAME, "times": N, "after": M}`, and `"operation"` to hit only one step; else ValueError."""
        if not isinstance(wish, Mapping) or wish.get("fault") not in FAULTS:
            raise ValueError("the sandbox does not know this fault")
        times, after, operation = wish.get("times", 1), wish.get("after", 0), wish.get("operation")
        if type(times) is not int or times < 1 or type(after) is not int or after < 0:
            raise ValueError("times is a whole number from 1 on, after is one from 0 on")
        if operation not in (None, SEND, GET):
            raise ValueError(f"operation is {SEND} or {GET}")
        self._armed.append(_Armed(str(wish["fault"]), times, after, operation))

    def disarm(self) -> None:
        self._armed.clear()

    def take(self, operation: str) -> str | None:
        """The fault of this request; where several are due, the one armed first."""
        due: _Armed | None = None
        for armed in self._armed:
            if armed.operation not in (None, operation):
                continue
            if armed.after > 0:
                armed.after -= 1
            elif due is None:
                due = armed
        if due is None:
            return None
        due.times -= 1
        self._armed = [left for left in self._armed if left.times > 0]
        return due.name


def faulty_answer(name: str, service: FlexService, now: datetime) -> Answer | None:
    """What comes in place of the real answer; None where the fault spoils the real one on its way."""
    if name in _CODES:
        return service.refusal(_CODES[name])
    makers: dict[str, Callable[[], Answer]] = {
        "rate_limit": lambda: _page(429, "Too many requests", {"Retry-After": str(int(_WAIT.total_seconds()))}),
        "rate_limit_date": lambda: _page(429, "Too many requests", {"Retry-After": _http_date(now + _WAIT)}),
        "server_error": lambda: _page(500, "Internal server error", {}),
        "maintenance": lambda: _page(503, "Down for scheduled maintenance", {}),
        "html": lambda: _page(200, "Log in", {}),
        "csv": lambda: Answer(body=_CSV, content_type="text/plain"),
    }
    maker = makers.get(name)
    return maker() if maker else None


async def send(request: web.Request, answer: Answer, fault: str | None) -> web.StreamResponse:
    """Sends an answer: whole, cut in its middle under correct or broken framing, or dripping for a second."""
    body = answer.body[: len(answer.body) // 2] if fault == "truncated" else answer.body
    if fault not in ("cut", "slow"):
        return web.Response(
            body=body, status=answer.status, content_type=answer.content_type, headers=dict(answer.headers)
        )
    response = web.StreamResponse(status=answer.status, headers=dict(answer.headers))
    response.content_type = answer.content_type
    response.content_length = len(body)
    await response.prepare(request)
    if fault == "cut":
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response
    step = -(-len(body) // _DRIPS)
    for start in range(0, len(body), step):
        await response.write(body[start : start + step])
        await asyncio.sleep(_DRIP_SECONDS)
    return response


def _page(status: int, title: str, headers: Mapping[str, str]) -> Answer:
    page = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Answer(body=page.encode(), status=status, content_type="text/html", headers=headers)


def _http_date(moment: datetime) -> str:
    """Whole seconds, rounded up so that the wait is never too short."""
    if moment.microsecond:
        moment = moment.replace(microsecond=0) + timedelta(seconds=1)
    return format_datetime(moment, usegmt=True)
