"""The history of the simulated broker: a file that a user downloads, and nothing over its API."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable

from aiohttp import web

from brokersync.plugin import SandboxSettings
from {{ cookiecutter.__package }}.sandbox_books import Account, Books, Execution, User
from {{ cookiecutter.__package }}.sandbox_facts import ENVIRONMENTS
from {{ cookiecutter.__package }}.sandbox_wire import Handler


class History:
    """All that was ever executed; a client can ask for none of it."""

    def __init__(self, settings: SandboxSettings, books: Books) -> None:
        self._books = books

    def executions(self, account: Account) -> list[Execution]:
        """Those that a full import ends with."""
        return self._books.executions(account)

    def routes(self, who: Callable[[web.Request], User]) -> Iterable[tuple[str, str, Handler]]:
        return ()


# FILL IN: the file as the broker writes it: its columns, its order, how it ends
def statement(settings: SandboxSettings, environment: str = ENVIRONMENTS[0]) -> bytes:
    """What a user downloads at the broker's web site: all accounts of their login, newest first."""
    books = Books(settings)
    user = next(one for one in books.users if one.environment == environment)
    rows = [{"accountId": account.id, **one.row()} for account in user.accounts for one in books.executions(account)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["accountId"], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(reversed(rows))
    return text.getvalue().encode()
