"""The made-up broker's side: what it answers to each request, as far as its ledger is booked by now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from brokersync.errors import BrokerAPIError, BrokerAuthError, BrokerError, BrokerTokenExpiredError
from brokersync.plugin import AuthResult, HttpResponse
from brokersync.provider import Check, Clock

from .ledger import ACCOUNTS, DAY, START, Row, as_executed

JOURNAL_PAGE = 6


class RefusalError(Exception):
    """An answer with an HTTP status that is not 200."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class Server:
    """One broker. `calls` are the requests for trades so far; a `deaf` one takes no token, however new."""

    def __init__(self, ledger: list[Row], clock: Clock, accounts: tuple[str, ...] = ACCOUNTS) -> None:
        self.ledger, self.clock = ledger, clock
        self.accounts = dict.fromkeys(accounts, START)
        self.password, self.tokens = "right", {"t-0"}
        self.calls: list[tuple[str, Mapping[str, str]]] = []
        self.on_call: Callable[[int], None] = lambda number: None
        self.reports: dict[str, Mapping[str, Any]] = {}
        self.reprocessed = 0
        self.deaf = False
        self._faults: dict[int, Exception] = {}

    def fail(self, *errors: Exception, after: int = 0) -> None:
        """The requests for trades that follow the next `after` ones raise these."""
        for place, error in enumerate(errors, len(self.calls) + after + 1):
            self._faults[place] = error

    def heal(self) -> None:
        self._faults.clear()

    def booked(self) -> list[Row]:
        """The rows that the login may see by now."""
        now = self.clock.now()
        return [row for row in self.ledger if row.booked_at <= now and row.account in self.visible()]

    def visible(self) -> list[str]:
        return [account for account, since in self.accounts.items() if since <= self.clock.now()]

    def answer(self, path: str, asked: Mapping[str, str], bearer: str | None) -> Any:
        """The JSON of an answer. Raises `RefusalError`, or the error that `fail` ordered."""
        if path == "/login":
            return self._log_in(asked)
        if self.deaf or bearer not in self.tokens:
            raise RefusalError(401, "token")
        if path == "/accounts":
            return [{"id": account, "opened": START.isoformat()} for account in self.visible()]
        self.count(path, asked)
        shown = getattr(self, f"_show_{path.strip('/')}")(asked)
        return {"accounts": self.visible()} | shown

    def count(self, path: str, asked: Mapping[str, str]) -> None:
        self.calls.append((path, dict(asked)))
        self.on_call(len(self.calls))
        if len(self.calls) in self._faults:
            raise self._faults[len(self.calls)]

    def _log_in(self, asked: Mapping[str, str]) -> Any:
        if asked["password"] != self.password:
            raise RefusalError(403, "password")
        token = f"t-{len(self.tokens)}"
        self.tokens.add(token)
        return {"token": token, "login": asked["user"]}

    def executed(self, asked: Mapping[str, str]) -> list[Row]:
        """The rows by their execution: of an account, a symbol and a span, where these are given."""
        start, end = datetime.fromisoformat(asked["start"]), datetime.fromisoformat(asked["end"])
        return [
            row
            for row in as_executed(self.booked())
            if start <= row.executed_at < end
            and asked.get("account", row.account) == row.account
            and asked.get("symbol", row.symbol) == row.symbol
        ]

    def _show_fills(self, asked: Mapping[str, str]) -> Any:
        return {"rows": [wire(row) for row in self.executed(asked)]}

    def _show_symbols(self, asked: Mapping[str, str]) -> Any:
        return {"symbols": sorted({row.symbol for row in self.executed(asked)})}

    def _show_session(self, asked: Mapping[str, str]) -> Any:
        midnight = floor(self.clock.now())
        return {"rows": [wire(row) for row in self.booked() if row.booked_at >= midnight]}

    def _show_journal(self, asked: Mapping[str, str]) -> Any:
        start, end = datetime.fromisoformat(asked["start"]), datetime.fromisoformat(asked["end"])
        rows = [row for row in self.booked() if start <= row.booked_at < end and row.account == asked["account"]]
        marker, _, place = asked.get("token", "page-0").partition("-")
        if marker != "page" or not place.isdecimal() or int(place) > len(rows):
            return {"error": "bad token"}
        first, last = int(place), int(place) + JOURNAL_PAGE
        return {"rows": [wire(row) for row in rows[first:last]], "next": f"page-{last}" if last < len(rows) else None}

    def _show_since(self, asked: Mapping[str, str]) -> Any:
        if not asked["id"].isdecimal() or int(asked["id"]) > max((row.number for row in self.ledger), default=0):
            return {"error": "no such id"}
        rows = [row for row in self.booked() if row.number > int(asked["id"])]
        return {"rows": [wire(row) for row in rows[:JOURNAL_PAGE]], "more": len(rows) > JOURNAL_PAGE}

    def _show_order(self, asked: Mapping[str, str]) -> Any:
        start, end = datetime.fromisoformat(asked["start"]), datetime.fromisoformat(asked["end"])
        ticket = f"report-{len(self.reports)}"
        rows = [wire(row) for row in self.booked() if start <= row.booked_at < end]
        # every other report takes long
        ready = self.clock.now() + timedelta(seconds=2 if len(self.reports) % 2 else 90)
        self.reports[ticket] = {"rows": rows, "ready": ready, "asked": dict(asked)}
        return {"ticket": ticket, "ready": ready.isoformat()}

    def _show_report(self, asked: Mapping[str, str]) -> Any:
        report = self.reports.get(asked["ticket"])
        if report is None:
            return {"error": "unknown ticket"}
        if report["ready"] > self.clock.now():
            return {"ready": report["ready"].isoformat()}
        return {"rows": report["rows"]}

    def _show_activities(self, asked: Mapping[str, str]) -> Any:
        complete, final = floor(self.clock.now() - timedelta(hours=6)), floor(self.clock.now() - DAY)
        rows = [row for row in self.executed(asked) if row.executed_at < complete]
        shown = []
        for row in rows:
            settled = row.executed_at < final
            uid = f"{'final' if settled else 'early'}-{self.reprocessed}-{row.row_id}"
            facts = wire(row) | {
                "id": uid,
                "ref": row.execution,
                "row": row.number + 1000 * (settled + self.reprocessed),
            }
            shown.append(facts | ({"early": False} if settled else {"early": True, "fee": None}))
        return {"rows": shown, "complete_through": complete.isoformat(), "final_through": final.isoformat()}


def wire(row: Row) -> dict[str, Any]:
    """A row as the broker writes it; amounts are text, so that no reader makes floats of them."""
    return {
        "row": row.number,
        "id": row.row_id,
        "of": row.execution,
        "kind": row.kind,
        "account": row.account,
        "symbol": row.symbol,
        "side": row.side,
        "quantity": str(row.quantity),
        "price": str(row.price),
        "fee": None if row.fee is None else str(row.fee),
        "executed": row.executed_at.isoformat(),
    }


def floor(moment: datetime) -> datetime:
    return datetime.combine(moment.date(), datetime.min.time(), UTC)


@attrs.frozen
class Line:
    """`Http` without a network: each request is answered by the server at once."""

    server: Server

    async def request(
        self,
        operation: str,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        auth: AuthResult | None = None,
        check: Check | None = None,
        **_: Any,
    ) -> HttpResponse:
        await asyncio.sleep(0)  # a real request gives others their turn, and can be cancelled there
        bearer = auth.access_token.reveal() if auth and auth.access_token else None
        try:
            answer, status = (
                self.server.answer("/" + url.rpartition("/")[2], {**(params or {}), **(form or {})}, bearer),
                200,
            )
        except RefusalError as refusal:
            raise _of_status(refusal) from None
        response = HttpResponse(status=status, headers={}, body=json.dumps(answer).encode(), url=url)
        if check is not None:
            check(response)
        return response


def _of_status(refusal: RefusalError) -> BrokerError:
    if refusal.status == 401:
        return BrokerTokenExpiredError("The token is not valid.")
    if refusal.status == 403:
        return BrokerAuthError("The broker refuses the password.")
    return BrokerAPIError(f"The broker refuses the request ({refusal.code}).")
