"""A simulated Tradovate: the trading and reporting hosts under one address, with invented people and their history.

Prefixes of the path stand for the hosts. Who asks for them by their names, which takes a resolver and certificates of
its own, is told `apiHosts`, and sent on from a host that serves another organisation.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from aiohttp import web

from brokersync.plugin import CONTROL_PATH, SandboxLogin, SandboxSettings, SimulatedBroker
from brokersync_tradovate.sandbox_auth import Penalties, Sessions, penalty, penalty_key
from brokersync_tradovate.sandbox_calls import Call, call_of, host_of, operation_of
from brokersync_tradovate.sandbox_control import Controls
from brokersync_tradovate.sandbox_entities import entity_answer
from brokersync_tradovate.sandbox_faults import INSTEAD, NAMES, OVERCOME_IN_SECONDS, PENALTIES, Faults, spoil
from brokersync_tradovate.sandbox_hosts import api_hosts, moved_to, prefixed_hosts
from brokersync_tradovate.sandbox_ledger import Book, Fill
from brokersync_tradovate.sandbox_logins import Account, User, invent_users
from brokersync_tradovate.sandbox_market import Catalogue, opens, session_of, trading_day
from brokersync_tradovate.sandbox_oauth import OAuthPages
from brokersync_tradovate.sandbox_report_rows import REPORTS
from brokersync_tradovate.sandbox_reports import definitions, export, names_an_account, report
from brokersync_tradovate.sandbox_views import View
from brokersync_tradovate.sandbox_wire import (
    NOT_FOUND,
    Answer,
    RefusedError,
    Row,
    answer,
    load_object,
    response_of,
    stamp,
)

_STALE_HOST = "https://moved.example.invalid"


def create(settings: SandboxSettings) -> SimulatedBroker:
    """A broker of its own; its history begins `settings.days` before `settings.now()` at this moment."""
    return _Tradovate(settings)


class _Tradovate:
    faults: tuple[str, ...] = NAMES
    demo_faults: tuple[str, ...] = OVERCOME_IN_SECONDS

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        first = trading_day(session_of(settings.now()) - timedelta(days=settings.days))
        users = invent_users(settings, opens(first))
        self._users = users
        self._books = {
            environment: Book(
                settings, [a for user in users for a in user.accounts if a.environment == environment], first
            )
            for environment in ("live", "demo")
        }
        self._sessions = Sessions(users, settings.now)
        self._penalties = Penalties(settings.now)
        self._oauth = OAuthPages(settings, users, self._sessions)
        self.operator_fields: Mapping[str, str] = self._oauth.app
        self._armed = Faults()
        self._operations: Counter[str] = Counter()
        self._hosts: Counter[str] = Counter()
        counts = {account.id: len(fills) for account, fills in self._fills(settings.now()).items()}
        self.logins = tuple(_login(user, counts) for user in users)

    def hosts(self, base_url: str) -> dict[str, str]:
        return prefixed_hosts(base_url)

    def application(self) -> web.Application:
        application = web.Application()
        accounts = [account for user in self._users for account in user.accounts]
        told = {"ledger": self._ledger, "requests": self._requests}
        application.add_routes(Controls(self._armed, accounts, self._reset, told).routes())
        for path in ("/consent/oauth", "/oauth"):
            application.router.add_get(path, self._consent_page)
            application.router.add_post(path, self._consented)
        for path in ("/{host}/v1/{entity}/{operation}", "/{host:oauth}/{entity:auth}/{operation:oauthtoken}"):
            application.router.add_route("*", path, self._serve)
        for path in ("/v1/{entity}/{operation}", "/{entity:auth}/{operation:oauthtoken}"):
            application.router.add_route("*", path, self._serve)
        application.router.add_get(f"{CONTROL_PATH}/exports/{{login}}/{{environment}}/{{report}}", self._export)
        return application

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        host, operation = host_of(request), operation_of(request)
        if host is None:
            return response_of(NOT_FOUND)
        self._operations[operation] += 1
        self._hosts[request.match_info.get("host", request.host)] += 1
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or None
        fault = self._armed.take(operation, token is not None)
        if fault == "redirect":
            raise web.HTTPTemporaryRedirect(f"{_STALE_HOST}{request.rel_url}")
        if fault == "slow":
            await self._think()
        try:
            call = await call_of(request, host, token)
            if moved := self._moved(call):
                raise web.HTTPTemporaryRedirect(f"https://{moved}{request.rel_url}")
            proper = await self._answer(call, fault)
        except RefusedError as refusal:
            proper = refusal.answer
        if fault == "cut":
            return await _cut(request, proper)
        return response_of(spoil(fault, proper))

    async def _answer(self, call: Call, fault: str | None) -> Answer:
        key = penalty_key(call.remote, call.path, call.body)
        if fault in INSTEAD:
            return INSTEAD[fault]
        if fault == "accounts_hidden" and "userId" not in call.query:
            return answer([])
        if fault == "penalty_captcha":
            return penalty(captcha=True)
        if fault in PENALTIES:
            return self._penalties.ticket(key, PENALTIES[fault])
        if fault == "expired_token" and call.token:
            self._sessions.expire(call.token)
        if fault == "session_closed" and call.token:
            self._sessions.close(call.token)
        return self._penalties.check(key, call.body) or await self._proper(call)

    async def _proper(self, call: Call) -> Answer:
        if call.host.reporting:
            return await self._report(call)
        if call.operation.startswith("auth/"):
            return self._auth(call)
        entity, _, operation = call.operation.partition("/")
        return answer(entity_answer(self._view(call), entity, operation, call.query))

    def _auth(self, call: Call) -> Answer:
        if call.operation == "auth/accesstokenrequest":
            return self._with_hosts(call, self._sessions.log_in(call.body, call.remote))
        if call.operation == "auth/renewaccesstoken":
            return self._with_hosts(call, self._sessions.renew(call.token, call.remote))
        if call.operation == "auth/oauthtoken":
            return self._oauth.token(call.body)
        user = self._sessions.user(call.token)
        if call.operation != "auth/me" or call.host.environment != "live":
            return NOT_FOUND
        return answer(
            {
                "userId": user.id,
                "name": user.name,
                "fullName": user.name.replace("-", " ").title(),
                "email": f"{user.name}@example.com",
                "emailVerified": True,
                "isTrial": False,
                "organizationName": user.organisation,
            }
        )

    def _with_hosts(self, call: Call, granted: Answer) -> Answer:
        row = load_object(granted.text)
        if not call.by_name or "accessToken" not in row:
            return granted
        return answer({**row, "apiHosts": api_hosts(str(row.get("orgName", "")))})

    def _moved(self, call: Call) -> str | None:
        """The host that serves the organisation of who is logged in, where that is another one."""
        if call.token is None or not call.by_name:
            return None
        return moved_to(call.host, self._sessions.user(call.token).organisation)

    async def _consent_page(self, request: web.Request) -> web.Response:
        return response_of(self._oauth.page(request.query))

    async def _consented(self, request: web.Request) -> web.Response:
        decided = self._oauth.decide(request.query, await request.post())
        if isinstance(decided, str):
            raise web.HTTPFound(decided)
        return response_of(decided)

    async def _report(self, call: Call) -> Answer:
        view = self._view(call)
        if call.operation == "reports/requestreportdefinitions":
            return definitions()
        if call.operation != "reports/requestreport":
            return NOT_FOUND
        if not names_an_account(call.body):
            await self._think()
        return report(view, call.body)

    def _view(self, call: Call) -> View:
        return self._view_of(self._sessions.user(call.token), call.host.environment)

    def _view_of(self, user: User, environment: str) -> View:
        return View(
            user=user,
            environment=environment,
            book=self._books[environment],
            catalogue=Catalogue(environment),
            now=self._settings.now(),
        )

    async def _think(self) -> None:
        await asyncio.sleep(self._settings.think.total_seconds())

    def _fills(self, now: datetime) -> dict[Account, list[Fill]]:
        fills: dict[Account, list[Fill]] = {account: [] for user in self._users for account in user.accounts}
        for book in self._books.values():
            for session in book.sessions(opens(book.first), now):
                for fill in session.fills:
                    if fill.at <= now:
                        fills[fill.account].append(fill)
        return fills

    def _requests(self) -> Row:
        sessions = {"logins": self._sessions.logins, "closed": self._sessions.closed}
        return {"operations": self._operations, "hosts": self._hosts, **sessions}

    async def _export(self, request: web.Request) -> web.Response:
        """What the user of a login, counted from 0, downloads in the web application in the time zone of his clock."""
        login, environment, name = (request.match_info[one] for one in ("login", "environment", "report"))
        users = {str(number): user for number, user in enumerate(self._users)}
        if login not in users or environment not in self._books or name not in REPORTS:
            return response_of(NOT_FOUND)
        view = self._view_of(users[login], environment)
        return web.Response(text=export(view, name, int(request.query.get("timezone", "0"))), content_type="text/csv")

    def _ledger(self) -> Row:
        fills = self._fills(self._settings.now())
        holders = {str(a.id): {"environment": a.environment, "name": a.name} for a in fills}
        books = {str(account.id): [_trade(fill) for fill in own] for account, own in fills.items()}
        return {"accounts": books, "holders": holders}

    def _reset(self, account: Account) -> None:
        account.begins = self._settings.now()


def _login(user: User, counts: Mapping[int, int]) -> SandboxLogin:
    return SandboxLogin(
        environment=user.environment,
        fields={"username": user.name, "password": user.password, "cid": str(user.cid), "sec": user.sec},
        trades={str(account.id): counts[account.id] for account in user.accounts},
        page={"username": user.name, "password": user.password, "answer": "allow"},
    )


def _trade(fill: Fill) -> Row:
    product = fill.contract.product
    return {
        "trade_id": f"fill:{fill.id}",
        "order_id": str(fill.order.id),
        "symbol": fill.contract.name,
        "side": fill.side.lower(),
        "quantity": str(fill.quantity),
        "price": format(fill.price, "f"),
        "executed_at": stamp(fill.at),
        "trade_date": fill.session.isoformat(),
        "multiplier": format(product.value_per_point, "f"),
        "currency": product.currency,
        "fees": {kind: format(amount, "f") for kind, amount in fill.fees.items()},
    }


async def _cut(request: web.Request, proper: Answer) -> web.StreamResponse:
    """The connection ends in the middle of the body."""
    body = proper.text.encode() or b"{}"
    response = web.StreamResponse(status=proper.status, headers={"Content-Type": proper.content_type})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
