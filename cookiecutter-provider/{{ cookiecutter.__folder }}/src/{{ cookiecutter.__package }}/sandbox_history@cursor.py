"""The history of the simulated broker: a span of an account, in pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from aiohttp import web

from brokersync.plugin import SandboxSettings
from {{ cookiecutter.__package }}.sandbox_books import Account, Books, Execution, User
from {{ cookiecutter.__package }}.sandbox_wire import Handler, RefusedError

# FILL IN: how many rows the broker gives at once, and what its cursors are made of
_PAGE_ROWS = 50


class History:
    """All that was ever executed, of which a client asks for a span, page by page."""

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
            page, following = _page(found, request.query.get("cursor"))
            return web.json_response({"executions": [one.row() for one in page], "next": following})

        return (("GET", "/accounts/{id}/executions", executions),)


def _page(found: list[Execution], cursor: str | None) -> tuple[list[Execution], str | None]:
    """The rows behind the one that the cursor names, which never goes away, and the cursor to the next page."""
    if cursor is not None:
        names = [str(one.id) for one in found]
        if cursor not in names:
            raise RefusedError(400, "unknown_cursor")
        found = found[names.index(cursor) + 1 :]
    page = found[:_PAGE_ROWS]
    return page, str(page[-1].id) if len(found) > len(page) else None


def _account(user: User, account_id: str) -> Account:
    for account in user.accounts:
        if str(account.id) == account_id:
            return account
    raise RefusedError(404, "unknown_account")
