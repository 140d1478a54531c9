"""A simulated broker that speaks the broker's protocol on loopback, for tests and demos.

What it leaves out or does otherwise than the broker does belongs here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
{% if cookiecutter.history_kind == "windows" %}
from datetime import datetime, timedelta
{% else %}
from datetime import datetime
{% endif %}

from aiohttp import web

from brokersync.plugin import CONTROL_PATH, SandboxLogin, SandboxSettings, SimulatedBroker
from {{ cookiecutter.__package }}.sandbox_books import Account, Books, Execution, User
{% if cookiecutter.auth_kind == "password" %}
from {{ cookiecutter.__package }}.sandbox_sessions import Sessions
{% endif %}
from {{ cookiecutter.__package }}.sandbox_wire import Faults, Meter, RefusedError, bearer

# FILL IN: what the broker does, as it does it: paths, codes, its limits, how much it gives at once
_CALLS_A_MINUTE = 60
{% if cookiecutter.history_kind == "windows" %}
_LONGEST_SPAN = timedelta(days=30)
{% else %}
_PAGE_ROWS = 50
{% endif %}

# faults by name: status, code, and the wait that is asked for
_REFUSALS: Mapping[str, tuple[int, str, int | None]] = {
    "busy": (503, "busy", None),
    "too_many": (429, "too_many", 1),
{% if cookiecutter.auth_kind == "api_key" %}
    "denied": (401, "denied", None),  # which says nothing of the key
    "revoked": (401, "unknown_key", None),
{% endif %}
}
{% if cookiecutter.auth_kind == "api_key" %}
OVERCOME = ("busy", "too_many", "denied")
{% else %}
OVERCOME = ("busy", "too_many", "expired_token")
{% endif %}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create(settings: SandboxSettings) -> SimulatedBroker:
    """A broker of its own; its history begins `settings.days` before `settings.now()` at this moment."""
    return _Sandbox(settings)


class _Sandbox:
{% if cookiecutter.auth_kind == "api_key" %}
    faults: tuple[str, ...] = (*OVERCOME, "revoked")
{% else %}
    faults: tuple[str, ...] = OVERCOME
{% endif %}
    demo_faults: tuple[str, ...] = OVERCOME

    def __init__(self, settings: SandboxSettings) -> None:
        self._books = Books(settings)
        self._faults = Faults()
        self._meter = Meter(settings, _CALLS_A_MINUTE)
{% if cookiecutter.auth_kind == "password" %}
        self._sessions = Sessions(settings.now)
{% endif %}
        self.logins = tuple(self._login(user) for user in self._books.users)

    def hosts(self, base_url: str) -> Mapping[str, str]:
        return {"api": base_url}

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post(f"{CONTROL_PATH}/faults", self._arm)
        application.router.add_get(f"{CONTROL_PATH}/ledger", self._ledger)
{% if cookiecutter.auth_kind == "api_key" %}
        application.router.add_get("/me", self._served(self._me))
{% else %}
        application.router.add_post("/login", self._served(self._log_in))
        application.router.add_post("/token", self._served(self._renew))
{% endif %}
        application.router.add_get("/accounts", self._served(self._accounts))
        application.router.add_get("/accounts/{id}/executions", self._served(self._executions))
        return application

    def _served(self, handler: _Handler) -> _Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            try:
                fault = self._faults.next()
                if fault is not None and fault in _REFUSALS:
                    raise RefusedError(*_REFUSALS[fault])
{% if cookiecutter.auth_kind == "password" %}
                if fault == "expired_token":
                    self._sessions.expire(bearer(request))
{% endif %}
                self._meter.count(bearer(request))
                return await handler(request)
            except RefusedError as refused:
                return refused.answer()

        return serve

{% if cookiecutter.auth_kind == "api_key" %}
    async def _me(self, request: web.Request) -> web.Response:
        return web.json_response({"id": self._user(request).id})

{% else %}
    async def _log_in(self, request: web.Request) -> web.Response:
        body = await request.json()
        for user in self._books.users:
            if (user.name, user.secret) == (body.get("username"), body.get("password")):
                return web.json_response(self._sessions.begin(user))
        raise RefusedError(401, "wrong_password")

    async def _renew(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response(self._sessions.renew(body.get("refreshToken")))

{% endif %}
    async def _accounts(self, request: web.Request) -> web.Response:
        rows = [
            {"id": one.id, "name": one.name, "currency": "USD", "openedAt": one.opened_at.isoformat()}
            for one in self._user(request).accounts
        ]
        return web.json_response({"accounts": rows})

    async def _executions(self, request: web.Request) -> web.Response:
        account = self._account(request)
        try:
            start, end = (datetime.fromisoformat(request.query[name]) for name in ("from", "to"))
            found = [one for one in self._books.executions(account) if start <= one.at < end]
        except (KeyError, ValueError, TypeError):
            raise RefusedError(400, "bad_span") from None
{% if cookiecutter.history_kind == "windows" %}
        if end - start > _LONGEST_SPAN:
            raise RefusedError(400, "span_too_long")
        return web.json_response({"executions": [one.row() for one in found]})
{% else %}
        page, following = _page(found, request.query.get("cursor"))
        return web.json_response({"executions": [one.row() for one in page], "next": following})
{% endif %}

    def _user(self, request: web.Request) -> User:
{% if cookiecutter.auth_kind == "api_key" %}
        for user in self._books.users:
            if user.secret == bearer(request):
                return user
        raise RefusedError(401, "unknown_key")
{% else %}
        return self._sessions.user(bearer(request))
{% endif %}

    def _account(self, request: web.Request) -> Account:
        for account in self._user(request).accounts:
            if str(account.id) == request.match_info["id"]:
                return account
        raise RefusedError(404, "unknown_account")

    def _login(self, user: User) -> SandboxLogin:
{% if cookiecutter.auth_kind == "api_key" %}
        fields = {"api_key": user.secret}
{% else %}
        fields = {"username": user.name, "password": user.secret}
{% endif %}
        trades = {str(account.id): len(self._books.executions(account)) for account in user.accounts}
        return SandboxLogin(environment="live", fields=fields, trades=trades)

    async def _arm(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("fault") not in self.faults:
            return web.json_response({"faults": self.faults}, status=400)
        self._faults.arm(body["fault"], times=body.get("times", 1), after=body.get("after", 0))
        return web.json_response({"armed": True})

    async def _ledger(self, _: web.Request) -> web.Response:
        accounts = [account for user in self._books.users for account in user.accounts]
        books = {str(one.id): [_trade(row) for row in self._books.executions(one)] for one in accounts}
        return web.json_response({"accounts": books})


{% if cookiecutter.history_kind == "cursor" %}
def _page(found: list[Execution], cursor: str | None) -> tuple[list[Execution], str | None]:
    """The rows behind the one that the cursor names, which never goes away, and the cursor to the next page."""
    if cursor is not None:
        names = [str(one.id) for one in found]
        if cursor not in names:
            raise RefusedError(400, "unknown_cursor")
        found = found[names.index(cursor) + 1 :]
    page = found[:_PAGE_ROWS]
    return page, str(page[-1].id) if len(found) > len(page) else None


{% endif %}
def _trade(execution: Execution) -> dict[str, str]:
    """As the plugin publishes it."""
    return {
        "trade_id": f"execution:{execution.id}",
        "side": execution.side.lower(),
        "quantity": str(execution.quantity),
        "price": str(execution.price),
        "executed_at": execution.at.isoformat(),
    }
