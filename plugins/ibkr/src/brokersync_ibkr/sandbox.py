"""A simulated Flex Web Service with invented accounts, for demos and tests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

from brokersync.plugin import CONTROL_PATH, SandboxLogin, SandboxSettings, SimulatedBroker
from brokersync_ibkr.sandbox_calendar import newest_stated_day
from brokersync_ibkr.sandbox_faults import DEMO_FAULTS, FAULTS, FaultPlan, faulty_answer, send
from brokersync_ibkr.sandbox_ledger import Account, Login, live_trades, open_logins
from brokersync_ibkr.sandbox_service import GET, SEND, FlexService

_BASE_PATH = "/AccountManagement/FlexWebService"


def create(settings: SandboxSettings) -> SimulatedBroker:
    """A simulated Interactive Brokers with its own accounts, state and clock."""
    return _FlexSandbox(settings)


class _TradeCounts(Mapping[str, int]):
    """Trades per account by the sandbox's clock, so a count read after an import is as new as the import."""

    def __init__(self, settings: SandboxSettings, accounts: tuple[Account, ...]) -> None:
        self._settings = settings
        self._accounts = {account.number: account for account in accounts}

    def __getitem__(self, number: str) -> int:
        return len(live_trades(self._accounts[number].told_by(self._settings.now())))

    def __iter__(self) -> Iterator[str]:
        return iter(self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)

    def __repr__(self) -> str:
        return repr(dict(self))


class _FlexSandbox:
    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._books = open_logins(settings)
        self._service = FlexService(settings, self._books)
        self._plan = FaultPlan()
        self.faults: tuple[str, ...] = FAULTS
        self.demo_faults: tuple[str, ...] = DEMO_FAULTS
        self.logins: tuple[SandboxLogin, ...] = tuple(self._login(login) for login in self._books)

    def application(self) -> web.Application:
        """A new application over this broker's state."""
        application = web.Application()
        for operation in (SEND, GET):
            application.router.add_get(f"{_BASE_PATH}/{operation}", self._step(operation), allow_head=False)
        application.router.add_post(f"{CONTROL_PATH}/faults", self._arm)
        application.router.add_delete(f"{CONTROL_PATH}/faults", self._disarm)
        application.router.add_get(f"{CONTROL_PATH}/ledger", self._ledger)
        application.router.add_get(f"{CONTROL_PATH}/requests", self._requests)
        application.router.add_patch(f"{CONTROL_PATH}/queries/{{query}}", self._set_up)
        return application

    def hosts(self, base_url: str) -> Mapping[str, str]:
        """The manifest's roles at this base URL."""
        return {"flex": f"{base_url.rstrip('/')}{_BASE_PATH}"}

    def _login(self, login: Login) -> SandboxLogin:
        counts = _TradeCounts(self._settings, login.accounts)
        return SandboxLogin(environment=login.environment, fields=login.fields, trades=counts)

    def _step(self, operation: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            admitted = self._service.meter(operation, request.query)
            fault = self._plan.take(operation)
            answer = faulty_answer(fault, self._service, self._settings.now()) if fault else None
            if answer is None:
                agent = request.headers.get("User-Agent", "")
                url = f"{request.scheme}://{request.host}{_BASE_PATH}/{GET}"
                answer = self._service.answer(operation, request.query, agent, admitted=admitted, url=url)
            return await send(request, answer, fault)

        return handle

    async def _arm(self, request: web.Request) -> web.Response:
        try:
            self._plan.arm(json.loads(await request.text()))
        except ValueError as refused:
            return web.json_response({"error": str(refused), "faults": self.faults}, status=400)
        return web.json_response({"armed": True})

    async def _disarm(self, _: web.Request) -> web.Response:
        self._plan.disarm()
        return web.json_response({"armed": False})

    async def _set_up(self, request: web.Request) -> web.Response:
        try:
            self._service.set_up(request.match_info["query"], json.loads(await request.text()))
        except ValueError as refused:
            return web.json_response({"error": str(refused)}, status=400)
        return web.json_response({"set_up": True})

    async def _ledger(self, _: web.Request) -> web.Response:
        now = self._settings.now()
        stated = newest_stated_day(now)
        accounts = {
            account.number: [trade.facts(stated) for trade in live_trades(account.told_by(now))]
            for login in self._books
            for account in login.accounts
        }
        return web.json_response({"accounts": accounts})

    async def _requests(self, _: web.Request) -> web.Response:
        return web.json_response(self._service.usage())
