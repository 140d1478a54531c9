"""A simulated broker that speaks the broker's protocol on loopback, for tests and demos.

What it leaves out or does otherwise than the broker does belongs here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiohttp import web

from brokersync.plugin import CONTROL_PATH, SandboxLogin, SandboxSettings, SimulatedBroker
from {{ cookiecutter.__package }}.sandbox_books import Books, Execution, User
from {{ cookiecutter.__package }}.sandbox_facts import ENVIRONMENTS
from {{ cookiecutter.__package }}.sandbox_history import History
from {{ cookiecutter.__package }}.sandbox_logins import Logins
from {{ cookiecutter.__package }}.sandbox_wire import Faults, Handler, Meter, RefusedError

# FILL IN: what the broker answers when it is busy, and when it is asked too often: status, code, and the wait asked for
_REFUSALS: Mapping[str, tuple[int, str, int | None]] = {
    "busy": (503, "busy", None),
    "too_many": (429, "too_many", 1),
}
OVERCOME = (*_REFUSALS, *Logins.overcome)
_ENVIRONMENT = f"{{ '{{' }}environment:{'|'.join(ENVIRONMENTS)}{{ '}}' }}"


def create(settings: SandboxSettings) -> SimulatedBroker:
    """A broker of its own; its history begins `settings.days` before `settings.now()` at this moment."""
    return _Sandbox(settings)


class _Sandbox:
    faults: tuple[str, ...] = (*OVERCOME, *Logins.asks_user)
    demo_faults: tuple[str, ...] = OVERCOME

    def __init__(self, settings: SandboxSettings) -> None:
        self._books = Books(settings)
        self._faults = Faults()
        self._meter = Meter(settings)
        self._logins = Logins(settings, self._books.users)
        self._history = History(settings, self._books)
{% if cookiecutter.auth_kind == "oauth2" %}
        self.operator_fields: Mapping[str, str] = self._logins.app
{% endif %}
        self.logins = tuple(self._login(user) for user in self._books.users)

    def hosts(self, base_url: str) -> Mapping[str, str]:
        return {environment: f"{base_url}/{environment}" for environment in ENVIRONMENTS}

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post(f"{CONTROL_PATH}/faults", self._arm)
        application.router.add_get(f"{CONTROL_PATH}/ledger", self._ledger)
        for method, path, handler in self._routes():
            application.router.add_route(method, f"/{_ENVIRONMENT}{path}", self._served(handler))
        return application

    # FILL IN: the paths of these two; those of logins and of the history stand beside their handlers
    def _routes(self) -> Iterator[tuple[str, str, Handler]]:
        yield "GET", "/me", self._me
        yield "GET", "/accounts", self._accounts
        yield from self._logins.routes()
        yield from self._history.routes(self._user)

    def _served(self, handler: Handler) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            try:
                fault = self._faults.next()
                if fault is not None and fault in _REFUSALS:
                    raise RefusedError(*_REFUSALS[fault])
                if fault is not None:
                    self._logins.show(fault, request)
                self._meter.count(self._logins.caller(request))
                return await handler(request)
            except RefusedError as refused:
                return refused.answer()

        return serve

    def _user(self, request: web.Request) -> User:
        return self._logins.user(request, request.match_info["environment"])

    # FILL IN: what the broker tells of who is logged in
    async def _me(self, request: web.Request) -> web.Response:
        user = self._user(request)
{% if cookiecutter.auth_kind == "password" %}
        return web.json_response({"id": user.id})
{% else %}
        return web.json_response({"id": user.id, "rights": user.rights})
{% endif %}

    # FILL IN: what the broker tells of an account
    async def _accounts(self, request: web.Request) -> web.Response:
        rows = [
            {"id": one.id, "name": one.name, "currency": "USD", "openedAt": one.opened_at.isoformat()}
            for one in self._user(request).accounts
        ]
        return web.json_response({"accounts": rows})

    def _login(self, user: User) -> SandboxLogin:
        trades = {str(account.id): len(self._history.executions(account)) for account in user.accounts}
{% if cookiecutter.auth_kind == "oauth2" %}
        return SandboxLogin(environment=user.environment, fields={}, trades=trades, page=self._logins.page_of(user))
{% else %}
        return SandboxLogin(environment=user.environment, fields=self._logins.fields_of(user), trades=trades)
{% endif %}

    async def _arm(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("fault") not in self.faults:
            return web.json_response({"faults": self.faults}, status=400)
        self._faults.arm(body["fault"], times=body.get("times", 1), after=body.get("after", 0))
        return web.json_response({"armed": True})

    async def _ledger(self, _: web.Request) -> web.Response:
        accounts = [account for user in self._books.users for account in user.accounts]
        books = {str(one.id): [_trade(row) for row in self._history.executions(one)] for one in accounts}
        return web.json_response({"accounts": books})


def _trade(execution: Execution) -> dict[str, object]:
    """As the plugin publishes it."""
    return {
        "trade_id": f"execution:{execution.id}",
        "order_id": str(execution.order_id),
        "side": execution.side.lower(),
        "quantity": str(execution.quantity),
        "price": str(execution.price),
        "multiplier": "1",
        "currency": "USD",
        "fees": {"commission": str(execution.commission)},
        "executed_at": execution.at.isoformat(),
    }
