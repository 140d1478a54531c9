"""Tradovate under brokersync's contract suite, for our tests and for `brokersync verify`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from brokersync.plugin import SandboxSettings, StatementHints
from brokersync.testing import Bypass, ProviderContract
from brokersync_tradovate.sandbox_ledger import Book
from brokersync_tradovate.sandbox_logins import invent_users
from brokersync_tradovate.sandbox_market import Catalogue, opens, session_of, trading_day
from brokersync_tradovate.sandbox_reports import export
from brokersync_tradovate.sandbox_views import View

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)

_UNTIL = date(2027, 1, 31)
_FEES = "fees are joined by the second of a fill, so a row more in it leaves those of its day in doubt, as it should"
_RIGHT = (
    "a report that is denied right after the accounts were listed lacks a right, and its token is as good as it was"
)


class Suite(ProviderContract):
    key = "tradovate"
    requests_file = Path(__file__).with_name("requests.jsonl")
    bypasses = (
        *(
            Bypass(name, reason=_FEES, until=_UNTIL)
            for name in ("test_equal_fills_stay_two", "test_an_odd_row_takes_no_other_along")
        ),
        Bypass("test_a_fault_is_told_as_what_it_is[status_401]", reason=_RIGHT, until=_UNTIL),
    )

    def statements(self) -> Iterable[tuple[bytes, StatementHints]]:
        """What the simulated web application lets a user download."""
        settings = SandboxSettings(now=lambda: NOW, days=45)
        first = trading_day(session_of(NOW) - timedelta(days=settings.days))
        (user, *_) = users = invent_users(settings, opens(first))
        accounts = [one for each in users for one in each.accounts if one.environment == "demo"]
        book = Book(settings, accounts, first)
        view = View(user=user, environment="demo", book=book, catalogue=Catalogue("demo"), now=NOW)
        yield export(view, "Fills", 0).encode(), StatementHints(environment="demo")
