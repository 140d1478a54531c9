"""What a test or a demo tells the simulated broker, and asks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from aiohttp import web

from brokersync.plugin import CONTROL_PATH
from brokersync_tradovate.sandbox_faults import Faults
from brokersync_tradovate.sandbox_logins import Account
from brokersync_tradovate.sandbox_wire import MALFORMED, RefusedError, Row, answer, load_object, response_of

_FLAGS = ("active", "closed", "archived", "listed")


class Controls:
    """The routes below `CONTROL_PATH`; `told` makes the answer of each that only tells something.

    `POST accounts` with an `id` changes what the broker says of an account from then on: its `name`, whether it is
    `active`, `closed`, `archived` or `listed`; with `reset` its books begin anew.
    """

    def __init__(
        self,
        armed: Faults,
        accounts: Iterable[Account],
        reset: Callable[[Account], None],
        told: Mapping[str, Callable[[], Row]],
    ) -> None:
        self._armed, self._reset, self._told = armed, reset, told
        self._accounts = {account.id: account for account in accounts}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{CONTROL_PATH}/faults", self._arm),
            web.delete(f"{CONTROL_PATH}/faults", self._disarm),
            web.post(f"{CONTROL_PATH}/accounts", self._change),
            web.get(f"{CONTROL_PATH}/{{name}}", self._tell),
        ]

    async def _arm(self, request: web.Request) -> web.Response:
        try:
            self._armed.arm(load_object(await request.text()))
        except RefusedError as refusal:
            return response_of(refusal.answer)
        return response_of(answer({"armed": True}))

    async def _disarm(self, request: web.Request) -> web.Response:
        self._armed.clear()
        return response_of(answer({"armed": False}))

    async def _change(self, request: web.Request) -> web.Response:
        try:
            order = load_object(await request.text())
        except RefusedError as refusal:
            return response_of(refusal.answer)
        number = order.get("id")
        account = self._accounts.get(number) if isinstance(number, int) else None
        if account is None or not order.keys() <= {"id", "name", "reset", *_FLAGS}:
            return response_of(MALFORMED)
        account.name = str(order.get("name", account.name))
        for flag in _FLAGS:
            setattr(account, flag, bool(order.get(flag, getattr(account, flag))))
        if order.get("reset"):
            self._reset(account)
        return response_of(answer({"changed": account.id}))

    async def _tell(self, request: web.Request) -> web.Response:
        told = self._told.get(request.match_info["name"])
        if told is None:
            raise web.HTTPNotFound
        return response_of(answer(told()))
