"""The history of the simulated broker: the running session of all accounts, and nothing before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from aiohttp import web

from brokersync.plugin import SandboxSettings
from {{ cookiecutter.__package }}.sandbox_books import Account, Books, Execution, User
from {{ cookiecutter.__package }}.sandbox_facts import SESSION_BEGINS, SESSION_ZONE
from {{ cookiecutter.__package }}.sandbox_wire import Handler


class History:
    """What was executed since the session began; the next one empties the list."""

    def __init__(self, settings: SandboxSettings, books: Books) -> None:
        self._now, self._books = settings.now, books

    def executions(self, account: Account) -> list[Execution]:
        """Those that a full import ends with."""
        begins = _began(self._now())
        return [one for one in self._books.executions(account) if one.at >= begins]

    # FILL IN: the path and the answer of a session
    def routes(self, who: Callable[[web.Request], User]) -> Iterable[tuple[str, str, Handler]]:
        async def session(request: web.Request) -> web.Response:
            accounts = who(request).accounts
            rows = [{"accountId": account.id, **one.row()} for account in accounts for one in self.executions(account)]
            begins = _began(self._now()).isoformat()
            return web.json_response(
                {"begins": begins, "accounts": [account.id for account in accounts], "executions": rows}
            )

        return (("GET", "/session", session),)


def _began(now: datetime) -> datetime:
    """The latest beginning of a session."""
    local = now.astimezone(SESSION_ZONE)
    begins = datetime.combine(local, SESSION_BEGINS, SESSION_ZONE)
    return (begins if begins <= local else begins - timedelta(days=1)).astimezone(UTC)
