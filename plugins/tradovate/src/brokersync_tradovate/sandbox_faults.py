"""Faults of the simulated broker, armed by tests and demos."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from brokersync_tradovate.sandbox_wire import Answer, Json, RefusedError, answer, dump, error_text, load_object

_PAGE = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
INSTEAD = {
    "rate_limit": Answer(429),
    "locked": Answer(423),
    "permission_denied": Answer(401, "Access is denied", "text/plain"),
    "server_error": Answer(500, "Internal Server Error", "text/plain"),
    "timeout": Answer(408, "Request Timeout", "text/plain"),
    "maintenance_text": error_text("The trading system is closed for maintenance."),
    "maintenance": Answer(503, _PAGE.format("Service unavailable"), "text/html"),
    "oauth_refused": answer({"error": "invalid_token", "error_description": "The refresh token is not valid."}),
    "html": Answer(200, _PAGE.format("Welcome"), "text/html"),
}
"""Faults that answer instead of the broker."""

_HOSTS = {
    "live": "live-b.tradovateapi.com",
    "demo": "demo-firm.tradovateapi.com",
    "reportingLive": "rpt-live-b.tradovateapi.com",
    "reportingDemo": "rpt-demo-firm.tradovateapi.com",
    "mdLive": "md.tradovateapi.com",
    "userContext": "context.tradovateapi.com",
}
_HOSTILE_HOSTS = {
    "live": "live.tradovateapi.com@evil.example",
    "demo": "https://evil.example/v1",
    "reportingLive": "live.tradovateapi.com.evil.example",
    "reportingDemo": "127.0.0.1/..",
}
_ON_LOGIN: Mapping[str, Mapping[str, Json]] = {
    "api_hosts": {"apiHosts": _HOSTS},
    "api_hosts_hostile": {"apiHosts": _HOSTILE_HOSTS},
    "user_closed": {"userStatus": "Closed"},
}
_GRANTS = ("auth/accesstokenrequest", "auth/renewaccesstoken", "auth/oauthtoken")
_ONLY_OF = {"oauth_refused": "auth/oauthtoken", "accounts_hidden": "account/list"}
_ON_TOKEN = ("expired_token", "session_closed")
PENALTIES = {"penalty_ticket": 1, "penalty_ticket_long": 15}
"""Faults that ask for so many seconds."""

_OTHERS = ("penalty_captcha", "redirect", "slow", "truncated", "cut", "wrong_shape")
NAMES = tuple(sorted({*INSTEAD, *PENALTIES, *_ONLY_OF, *_ON_LOGIN, *_ON_TOKEN, *_OTHERS}))
# Not those after which the broker wants an hour of silence.
OVERCOME_IN_SECONDS = ("server_error", "cut", "penalty_ticket", "expired_token")


@attrs.define
class _Armed:
    name: str
    times: int
    after: int
    operation: str | None

    def concerns(self, operation: str, has_token: bool) -> bool:
        if self.operation is not None and self.operation != operation:
            return False
        if self.name in _ONLY_OF:
            return operation == _ONLY_OF[self.name]
        if self.name in _ON_LOGIN:
            return operation in _GRANTS
        return has_token or self.name not in _ON_TOKEN


class Faults:
    """The faults to come. Only requests that a fault concerns count: those with a token for `expired_token` and
    `session_closed`, logins and renewals for those that change their answer, one operation where it is named."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def arm(self, order: Mapping[str, object]) -> None:
        """Raises `RefusedError` with the list of names for an unknown fault or for numbers that make no sense."""
        name, operation = order.get("fault"), order.get("operation")
        times, after = _count(order.get("times", 1)), _count(order.get("after", 0))
        if name not in NAMES or not times or after is None:
            text = dump({"error": "Give a known fault, times from 1 and after from 0.", "faults": NAMES})
            raise RefusedError(Answer(400, text))
        self._armed.append(_Armed(str(name), times, after, None if operation is None else str(operation).lower()))

    def clear(self) -> None:
        self._armed.clear()

    def take(self, operation: str, has_token: bool) -> str | None:
        """The fault this request shows, if any."""
        chosen: _Armed | None = None
        for armed in self._armed:
            if not armed.concerns(operation, has_token):
                continue
            if armed.after:
                armed.after -= 1
            elif chosen is None:
                chosen = armed
        if chosen is None:
            return None
        chosen.times -= 1
        if not chosen.times:
            self._armed.remove(chosen)
        return chosen.name


def spoil(fault: str | None, proper: Answer) -> Answer:
    """The proper answer as the fault leaves it."""
    if fault == "truncated":
        return attrs.evolve(proper, text=proper.text[: len(proper.text) // 2])
    if fault == "wrong_shape" and proper.text:
        wrong = f'{{"rows":{proper.text}}}' if proper.text.startswith("[") else f"[{proper.text}]"
        return attrs.evolve(proper, text=wrong)
    if (
        fault is not None
        and fault in _ON_LOGIN
        and any(f'"{name}"' in proper.text for name in ("accessToken", "access_token"))
    ):
        return answer({**load_object(proper.text), **_ON_LOGIN[fault]})
    return proper


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
