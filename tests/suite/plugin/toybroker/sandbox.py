"""The invented broker, simulated."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from brokersync.plugin import CONTROL_PATH, SandboxLogin, SandboxSettings, SimulatedBroker

_PAGE = 40
_TOKEN_LIFE = 1800
_CALLS_A_SECOND = 20
_CONTRACTS = {
    "ACME": {"symbol": "ACME", "kind": "STK", "multiplier": 1, "currency": "USD"},
    "WIDX": {"symbol": "WIDX", "kind": "FUT", "multiplier": 37, "currency": "USD"},
}
_Handler = Callable[[web.Request], Awaitable[web.Response]]


def create(settings: SandboxSettings) -> SimulatedBroker:
    return _Toy(settings)


class _Toy:
    faults: tuple[str, ...] = ()
    demo_faults: tuple[str, ...] = ()

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings, self._opened = settings, settings.now() - timedelta(days=settings.days)
        self._accounts = {
            f"user-{login}": [1000 * login + number for number in range(1, settings.accounts_per_login + 1)]
            for login in range(1, settings.logins + 1)
        }
        self._books = {one: self._history(one) for some in self._accounts.values() for one in some}
        self._tokens: dict[str, tuple[str, datetime]] = {}
        self._refreshes: dict[str, str] = {}
        self._codes: dict[str, str] = {}
        self._calls: list[datetime] = []
        self.logins = tuple(
            SandboxLogin(
                environment="live",
                fields={"username": user, "password": f"password-of-{user}"},
                trades={str(one): len(_standing(self._books[one])) for one in accounts},
                page={"user": user},
            )
            for user, accounts in self._accounts.items()
        )

    def hosts(self, base_url: str) -> Mapping[str, str]:
        return {"api": base_url}

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get(f"{CONTROL_PATH}/ledger", self._ledger)
        for method, path, handler in (
            ("POST", "/login", self._log_in),
            ("POST", "/renew", self._renew),
            ("POST", "/authorize", self._authorize),
            ("POST", "/exchange", self._exchange),
            ("GET", "/accounts", self._list_accounts),
            ("GET", "/contracts", self._list_contracts),
            ("GET", "/accounts/{id}/fills", self._list_fills),
        ):
            application.router.add_route(method, path, self._metered(handler))
        return application

    def _metered(self, handler: _Handler) -> _Handler:
        async def serve(request: web.Request) -> web.Response:
            now = self._settings.now()
            self._calls = [one for one in self._calls if one > now - timedelta(seconds=1)]
            if self._settings.keeps_limits and len(self._calls) >= _CALLS_A_SECOND:
                return _refused(429, "too_many")
            self._calls.append(now)
            return await handler(request)

        return serve

    async def _log_in(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("password") != f"password-of-{body.get('user')}" or body["user"] not in self._accounts:
            return _refused(401, "wrong_password")
        return self._grant(body["user"])

    async def _renew(self, request: web.Request) -> web.Response:
        user = self._refreshes.pop(str((await request.json()).get("refresh")), None)
        return _refused(400, "session_ended") if user is None else self._grant(user)

    async def _authorize(self, request: web.Request) -> web.Response:
        code = secrets.token_urlsafe(12)
        self._codes[code] = str((await request.post())["user"])
        back = {"code": code, "state": request.query.get("state", "")}
        location = f"{request.query['redirect_uri']}?{urlencode(back)}"
        return web.Response(status=302, headers={"Location": location})

    async def _exchange(self, request: web.Request) -> web.Response:
        user = self._codes.pop(str((await request.json()).get("code")), None)
        return _refused(400, "code_refused") if user is None else self._grant(user)

    def _grant(self, user: str) -> web.Response:
        token, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._tokens[token] = user, self._settings.now() + timedelta(seconds=_TOKEN_LIFE)
        self._refreshes[refresh] = user
        return web.json_response({"token": token, "refresh": refresh, "expires_in": _TOKEN_LIFE, "user": user})

    def _user(self, request: web.Request) -> str | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        user, ends = self._tokens.get(token, ("", datetime.min.replace(tzinfo=UTC)))
        return user if ends > self._settings.now() else None

    async def _list_accounts(self, request: web.Request) -> web.Response:
        user = self._user(request)
        if user is None:
            return _refused(401, "token_expired")
        rows = [
            {"id": one, "name": f"Account {one}", "opened": self._opened.isoformat()} for one in self._accounts[user]
        ]
        return web.json_response({"accounts": rows})

    async def _list_contracts(self, request: web.Request) -> web.Response:
        if self._user(request) is None:
            return _refused(401, "token_expired")
        wanted = request.query.get("symbols", "").split(",")
        return web.json_response({"contracts": [_CONTRACTS[one] for one in wanted if one in _CONTRACTS]})

    async def _list_fills(self, request: web.Request) -> web.Response:
        user, account = self._user(request), int(request.match_info["id"])
        if user is None:
            return _refused(401, "token_expired")
        if account not in self._accounts[user]:
            return _refused(404, "unknown_account")
        start, end = (datetime.fromisoformat(request.query[name]) for name in ("from", "to"))
        rows = [row for row in self._books[account] if start <= datetime.fromisoformat(row["at"]) < end]
        after = request.query.get("after")
        if after is not None:
            places = [place for place, row in enumerate(rows) if str(row["id"]) == after]
            if not places:
                return _refused(400, "unknown_cursor")
            rows = rows[places[0] + 1 :]
        more = str(rows[_PAGE - 1]["id"]) if len(rows) > _PAGE else None
        return web.json_response({"fills": rows[:_PAGE], "next": more})

    async def _ledger(self, _: web.Request) -> web.Response:
        books = {str(account): [_trade(row) for row in _standing(rows)] for account, rows in self._books.items()}
        return web.json_response({"accounts": books})

    def _history(self, account: int) -> list[dict[str, Any]]:
        random = Random(f"{self._settings.seed} {account}")
        count = int(self._settings.days * self._settings.trades_per_day)
        seconds = int((self._settings.now() - self._opened).total_seconds()) - 7200
        moments = sorted(random.randrange(seconds) for _ in range(count))
        rows = [self._row(random, account, number, moment) for number, moment in enumerate(moments)]
        for number, row in enumerate(list(rows)[5::23]):
            at = datetime.fromisoformat(row["at"]) + timedelta(minutes=5)
            change = {"id": row["id"] + 500_000_000, "kind": "cancel", "of": row["id"], "at": at.isoformat()}
            rows.append({**row, **change, "note": f"cancel {number}"})
        return sorted(rows, key=lambda row: (row["at"], row["id"]))

    def _row(self, random: Random, account: int, number: int, moment: int) -> dict[str, Any]:
        symbol, side = random.choice(("ACME", "WIDX")), random.choice(("BUY", "SELL"))
        quantity, price = Decimal(random.randrange(1, 900)), Decimal(random.randrange(10_000, 90_000)).scaleb(-3)
        fee = Decimal(random.randrange(1, 199)).scaleb(-2) * random.choice((1, 1, -1))
        paid = quantity * price * (1 if side == "SELL" else -1)
        pair = number % 17 in (3, 4)
        return {
            "id": account * 10_000_000 + number,
            "order": 10_000_000_000 + account * 100_000 + number // 2,
            "group": f"G{account}-{number // 17}" if pair else None,
            "leg": number % 17 - 2 if pair else None,
            "kind": "fill",
            "of": None,
            "symbol": symbol,
            "side": side,
            "quantity": str(quantity),
            "price": str(price),
            "fee": str(fee),
            "cash": str(paid - fee) if symbol == "ACME" else None,
            "at": (self._opened + timedelta(seconds=moment)).isoformat(),
            "note": f"Strategy {number % 5}",
        }


def _standing(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    cancelled = {row["of"] for row in rows if row["kind"] == "cancel"}
    return [row for row in rows if row["kind"] == "fill" and row["id"] not in cancelled]


def _trade(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "trade_id": f"fill:{row['id']}",
        "order_id": str(row["order"]),
        "side": row["side"].lower(),
        "quantity": row["quantity"],
        "price": row["price"],
        "executed_at": row["at"],
        "fees": {"commission": row["fee"]},
    }


def _refused(status: int, code: str) -> web.Response:
    return web.json_response({"code": code}, status=status)
