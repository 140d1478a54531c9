"""The sandbox's reading of the Flex Web Service: which request gets which answer, without any HTTP server."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from html import escape

import attrs

from brokersync.plugin import SandboxSettings
from brokersync_ibkr.sandbox_calendar import NEW_YORK, business_days, is_business_day, local_day, newest_stated_day
from brokersync_ibkr.sandbox_flex import ACTIVITY, CONFIRMATIONS, StatementOrder, StatementPrinter
from brokersync_ibkr.sandbox_ledger import Login
from brokersync_ibkr.sandbox_query import QuerySettings

SEND = "SendRequest"
GET = "GetStatement"

_DAY = timedelta(days=1)
_LONGEST_DAYS = 365
_REFERENCE_LIFE = timedelta(hours=1)
# Not the locale's names: the service writes English.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_MESSAGES = {
    1001: "Statement could not be generated at this time. Please try again shortly.",
    1003: "Statement is not available.",
    1004: "Statement is incomplete at this time. Please try again shortly.",
    1005: "Settlement data is not ready at this time. Please try again shortly.",
    1006: "FIFO P/L data is not ready at this time. Please try again shortly.",
    1007: "MTM P/L data is not ready at this time. Please try again shortly.",
    1008: "MTM and FIFO P/L data is not ready at this time. Please try again shortly.",
    1009: "The server is under heavy load. Statement could not be generated at this time. Please try again shortly.",
    1010: "Legacy Flex Queries are no longer supported. Please convert over to Activity Flex.",
    1011: "Service account is inactive.",
    1012: "Token has expired.",
    1013: "IP restriction.",
    1014: "Query is invalid.",
    1015: "Token is invalid.",
    1016: "Account is invalid.",
    1017: "Reference code is invalid.",
    1018: "Too many requests have been made from this token. Please try again shortly.",
    1019: "Statement generation in progress. Please try again shortly.",
    1020: "Invalid request or unable to validate request.",
    1021: "Statement could not be retrieved at this time. Please try again shortly.",
}
CODES = frozenset(_MESSAGES)
_WARNINGS = frozenset({1001, *range(1004, 1010), 1019, 1021})


@attrs.frozen(kw_only=True)
class Answer:
    """What goes back over the wire."""

    body: bytes
    status: int = 200
    content_type: str = "text/xml"
    headers: Mapping[str, str] = attrs.field(factory=dict)


class _RefusalError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(_MESSAGES[code])
        self.code = code


class Meter:
    """Counts one token's requests over rolling seconds and minutes: one and ten are let through.

    A tenth of a second is forgiven, since requests that leave a client a second apart do not arrive so.
    """

    _WINDOWS = ((timedelta(seconds=1), 1), (timedelta(seconds=60), 10))
    _GRACE = timedelta(milliseconds=100)

    def __init__(self) -> None:
        self.most = [0 for _ in self._WINDOWS]
        self._arrived: deque[datetime] = deque()
        self._let_through: deque[datetime] = deque()

    def admit(self, now: datetime) -> bool:
        """Whether the limits allow this request; one that they refuse uses up nothing."""
        self._arrived.append(now)
        for place, (period, _) in enumerate(self._WINDOWS):
            self.most[place] = max(self.most[place], self._within(self._arrived, period, now))
        for period, amount in self._WINDOWS:
            if self._within(self._let_through, period, now) >= amount:
                return False
        self._let_through.append(now)
        return True

    def _within(self, times: deque[datetime], period: timedelta, now: datetime) -> int:
        longest = self._WINDOWS[-1][0]
        while times and times[0] <= now - longest:
            times.popleft()
        return sum(moment > now - period + self._GRACE for moment in times)


@attrs.frozen(kw_only=True)
class _Report:
    login: Login
    order: StatementOrder
    ready_at: datetime


class FlexService:
    """Answers both steps of the protocol for these logins, by the sandbox's clock."""

    def __init__(self, settings: SandboxSettings, logins: Sequence[Login]) -> None:
        self._settings = settings
        self._by_token = {login.token: login for login in logins}
        self._meters = {login.token: Meter() for login in logins}
        self._reports: dict[str, _Report] = {}
        self._ordered = 0
        self._printer = StatementPrinter()
        ids = (query_id for one in logins for query_id in (one.activity_query_id, one.confirmations_query_id))
        self._queries = dict.fromkeys(ids, QuerySettings())
        self._requests: Counter[str] = Counter({SEND: 0, GET: 0})

    def meter(self, operation: str, query: Mapping[str, str]) -> bool:
        """Counts an arriving request; says whether its token's limits allow it."""
        self._requests[operation] += 1
        meter = self._meters.get(query.get("t", ""))
        return meter is None or meter.admit(self._settings.now()) or not self._settings.keeps_limits

    def set_up(self, query_id: str, wish: object) -> None:
        """Changes settings of a query, as its user does in Client Portal. Raises `ValueError` for unknown ones."""
        if query_id not in self._queries:
            raise ValueError("the sandbox has no such query")
        self._queries[query_id] = self._queries[query_id].changed(wish)

    def usage(self) -> dict[str, object]:
        """What arrived so far, and the most of it in any second and any minute, for each token by its accounts."""
        tokens = [
            {
                "accounts": [account.number for account in login.accounts],
                "most_in_1s": self._meters[token].most[0],
                "most_in_60s": self._meters[token].most[1],
            }
            for token, login in self._by_token.items()
        ]
        return {"operations": dict(self._requests), "tokens": tokens}

    def answer(self, operation: str, query: Mapping[str, str], agent: str, *, admitted: bool, url: str) -> Answer:
        """The answer to one request. `url` is where this service tells clients to fetch the report."""
        if not agent:
            # Our choice: that such a request is turned away is known, how is not.
            page = b"<html><body><h1>Access denied</h1></body></html>\n"
            return Answer(body=page, status=403, content_type="text/html")
        try:
            login = self._login(query, admitted=admitted)
            return self._ordered_report(login, query, url) if operation == SEND else self._report(login, query["q"])
        except _RefusalError as refusal:
            return self.refusal(refusal.code)

    def refusal(self, code: int) -> Answer:
        """The service's own error, which comes with HTTP status 200."""
        status = "Warn" if code in _WARNINGS else "Fail"
        message = escape(_MESSAGES[code])
        return self._response(
            f"<Status>{status}</Status>\n<ErrorCode>{code}</ErrorCode>\n<ErrorMessage>{message}</ErrorMessage>\n"
        )

    def _response(self, children: str) -> Answer:
        now = self._settings.now().astimezone(NEW_YORK)
        half = "PM" if now.hour >= 12 else "AM"
        stamp = f"{now:%d} {_MONTHS[now.month - 1]}, {now.year} {now:%I:%M} {half} {now.tzname()}"
        text = f"<FlexStatementResponse timestamp='{stamp}'>\n{children}</FlexStatementResponse>\n"
        return Answer(body=text.encode())

    def _login(self, query: Mapping[str, str], *, admitted: bool) -> Login:
        if query.get("v") != "3" or not query.get("t") or not query.get("q"):
            raise _RefusalError(1020)
        login = self._by_token.get(query["t"])
        if login is None:
            raise _RefusalError(1015)
        if self._settings.now() >= login.token_ends:
            raise _RefusalError(1012)
        if not admitted:
            raise _RefusalError(1018)
        return login

    def _ordered_report(self, login: Login, query: Mapping[str, str], url: str) -> Answer:
        kinds = {login.activity_query_id: ACTIVITY, login.confirmations_query_id: CONFIRMATIONS}
        kind = kinds.get(query["q"])
        if kind is None:
            raise _RefusalError(1014)
        now = self._settings.now()
        order = _statement_order(kind, query, opened=min(account.opened for account in login.accounts), now=now)
        settings = self._queries[query["q"]]
        order = attrs.evolve(order, query=settings)
        ready_at = now + settings.generated_in(self._settings.think, (order.last - order.first).days + 1)
        oldest = now - _REFERENCE_LIFE
        self._reports = {name: report for name, report in self._reports.items() if report.ready_at > oldest}
        self._ordered += 1
        reference = str(1_000_000_000 + self._ordered * 7919)
        self._reports[reference] = _Report(login=login, order=order, ready_at=ready_at)
        return self._response(
            f"<Status>Success</Status>\n<ReferenceCode>{reference}</ReferenceCode>\n<Url>{escape(url)}</Url>\n"
        )

    def _report(self, login: Login, reference: str) -> Answer:
        report, now = self._reports.get(reference), self._settings.now()
        if report is None or report.login is not login or report.ready_at <= now - _REFERENCE_LIFE:
            raise _RefusalError(1017)
        if now < report.ready_at:
            raise _RefusalError(1019)
        left_out = report.order.query.left_out
        selected = tuple(account for account in login.accounts if account.number not in left_out)
        body = self._printer.print(report.order, selected)
        return Answer(body=body, content_type="text/plain" if report.order.query.format == "CSV" else "text/xml")


def _statement_order(kind: str, query: Mapping[str, str], *, opened: date, now: datetime) -> StatementOrder:
    """The days that the statement will hold: what was asked, cut to the accounts' life and to business days.

    Our choices where the broker's way is not known: 1020 for dates that make no sense and for spans over 365 days, both
    ends counted; 1003 for a span that is not over, lies before the opening or holds no business day; 1005 for Activity
    of yesterday while it is not made.
    """
    first, last, period = _asked(kind, query, now)
    today = local_day(now)
    if last < opened or last > today or (kind == ACTIVITY and last == today):
        raise _RefusalError(1003)
    if last > _newest(kind, now):
        raise _RefusalError(1005)
    first = max(first, opened)
    days = business_days(first, last)
    if not days and kind == ACTIVITY:
        raise _RefusalError(1003)
    first, last = (days[0], days[-1]) if days else (first, last)
    return StatementOrder(kind=kind, first=first, last=last, period=period, as_of=now)


def _newest(kind: str, now: datetime) -> date:
    return local_day(now) if kind == CONFIRMATIONS else newest_stated_day(now)


def _asked(kind: str, query: Mapping[str, str], now: datetime) -> tuple[date, date, str]:
    """The asked span: `fd` and `td`, else `p`, else the period saved with the query, which is but one day."""
    if "fd" in query or "td" in query:
        first, last = _date(query.get("fd", "")), _date(query.get("td", ""))
        if not 0 <= (last - first).days < _LONGEST_DAYS:
            raise _RefusalError(1020)
        return first, last, ""
    newest = _newest(kind, now)
    if "p" in query:
        text = query["p"]
        count = int(text) if text.isascii() and text.isdigit() else 0
        if not 1 <= count <= _LONGEST_DAYS:
            raise _RefusalError(1020)
        return newest - _DAY * (count - 1), newest, f"Last{count}CalendarDays"
    if kind == CONFIRMATIONS:
        return newest, newest, "Today"
    while not is_business_day(newest):
        newest -= _DAY
    return newest, newest, "LastBusinessDay"


def _date(text: str) -> date:
    if len(text) != 8 or not (text.isascii() and text.isdigit()):
        raise _RefusalError(1020)
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        raise _RefusalError(1020) from None
