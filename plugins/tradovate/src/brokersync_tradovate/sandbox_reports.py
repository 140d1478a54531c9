"""The Reporting API of the simulated broker: CSV for a span of days and an account."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

from brokersync_tradovate.sandbox_report_rows import REPORTS, Span
from brokersync_tradovate.sandbox_views import View
from brokersync_tradovate.sandbox_wire import MALFORMED, Answer, Json, RefusedError, Row, answer, error_text

_LONGEST_DAYS = 63
_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/((?:19|20|21)\d\d)")
_INTERNAL_ERROR = Answer(500, "Internal Server Error", "text/plain")


def definitions() -> Answer:
    """The answer of requestReportDefinitions."""
    params: list[Row] = [
        {"name": "startDate", "paramType": "Date", "optional": False},
        {"name": "endDate", "paramType": "Date", "optional": False},
        {"name": "account", "paramType": "accounts", "optional": True},
    ]
    return answer(
        {
            "reports": [
                {"name": name, "params": params, "fields": header.split(","), "templates": [], "pdfEnabled": False}
                for name, (header, _) in REPORTS.items()
            ]
        }
    )


def names_an_account(body: Mapping[str, Json]) -> bool:
    """Whether the report is one of those that answer quickly."""
    return bool(_params(body).get("account"))


def report(view: View, body: Mapping[str, Json]) -> Answer:
    """The answer of requestReport: `data`, or `errorText`, each with status 200.

    Raises `RefusedError` for a time zone that is no number (400) and for dates not written M/D/YYYY (500).
    """
    known = REPORTS.get(str(body.get("name")))
    if known is None:
        return error_text("Unknown report")
    if body.get("representationType") != "csv":
        return error_text("Unknown representation type")
    params = _params(body)
    minutes = _minutes(body.get("timezone"))
    first, last = _day(params.get("startDate")), _day(params.get("endDate"))
    if (last - first).days + 1 > _LONGEST_DAYS:
        return error_text("Too long range")
    accounts = tuple(account for account in view.accounts() if account.name == params.get("account"))
    if not accounts and "account" in params:
        return error_text("account is not found (ID:0)")
    zone = timezone(timedelta(minutes=minutes))
    span = Span(
        view=view,
        accounts=accounts or tuple(view.accounts()),
        start=datetime.combine(first, time(), zone),
        end=datetime.combine(last, time(), zone) + timedelta(days=1),
        zone=zone,
    )
    header, rows = known
    return answer({"data": _csv(header, rows(span))})


def export(view: View, name: str, minutes: int) -> str:
    """What a user downloads: a report on the whole of the accounts on one side, in the zone that their clock is in."""
    zone = timezone(timedelta(minutes=minutes))
    start = min((account.created for account in view.accounts()), default=view.now)
    header, rows = REPORTS[name]
    accounts = tuple(view.accounts())
    return _csv(
        header, rows(Span(view=view, accounts=accounts, start=start, end=view.now + timedelta(days=1), zone=zone))
    )


def _params(body: Mapping[str, Json]) -> dict[str, Json]:
    params = body.get("params")
    if not isinstance(params, list) or not all(isinstance(param, dict) and "name" in param for param in params):
        raise RefusedError(MALFORMED)
    return {str(param["name"]): param.get("value") for param in params}


def _minutes(value: Json) -> int:
    number = int(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else None
    if number is None or abs(number) >= 24 * 60:
        raise RefusedError(Answer(400, '{"errorText":"JSON: illegal number in timezone"}'))
    return number


def _day(value: Json) -> date:
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise RefusedError(_INTERNAL_ERROR)
    month, day, year = (int(part) for part in match.groups())
    try:
        return date(year, month, day)
    except ValueError:
        raise RefusedError(_INTERNAL_ERROR) from None


def _csv(header: str, rows: Iterable[list[object]]) -> str:
    """The rows under their header; only a line break where there are none."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return f"{header}\r\n{text.getvalue()}" if text.getvalue() else "\r\n"
