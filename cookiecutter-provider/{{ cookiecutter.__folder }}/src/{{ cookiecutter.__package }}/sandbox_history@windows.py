"""The history of the simulated broker: a span of an account, in one answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from aiohttp import web

from brokersync.plugin import SandboxSettings
from {{ cookiecutter.__package }}.sandbox_books import Account, Books, Execution, User
from {{ cookiecutter.__package }}.sandbox_facts import LONGEST_WINDOW
from {{ cookiecutter.__package }}.sandbox_wire import Handler, RefusedError


class History:
    """All that was ever executed, of which a client asks for a span."""

    def __init__(self, settings: SandboxSettings, books: Books) -> None:
        self._books = books

    def executions(self, account: Account) -> list[Execution]:
        """Those that a full import ends with."""
        return self._books.executions(account)

    # FILL IN: the path, the parameters and the answer of a history
    def routes(self, who: Callable[[web.Request], User]) -> Iterable[tuple[str, str, Handler]]:
        async def executions(request: web.Request) -> web.Response:
            account = _account(who(request), request.match_info["id"])
            try:
                start, end = (datetime.fromisoformat(request.query[name]) for name in ("from", "to"))
                found = [one for one in self._books.executions(account) if start <= one.at < end]
            except (KeyError, ValueError, TypeError):
                raise RefusedError(400, "bad_span") from None
            if end - start > LONGEST_WINDOW:
                raise RefusedError(400, "span_too_long")
            return web.json_response({"executions": [one.row() for one in found]})

        return (("GET", "/accounts/{id}/executions", executions),)


def _account(user: User, account_id: str) -> Account:
    for account in user.accounts:
        if str(account.id) == account_id:
            return account
    raise RefusedError(404, "unknown_account")
