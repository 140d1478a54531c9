from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from brokersync.plugin import SandboxSettings, SimulatedBroker
from brokersync_tradovate.sandbox import create

NOW = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)
ACCOUNT = "IFUND-50K-0002"
MAY = ("5/1/2026", "5/31/2026")


class Archive:
    """A client of the Reporting API that shows what it gets."""

    def __init__(self, broker: SimulatedBroker, base: str, http: aiohttp.ClientSession) -> None:
        self.broker, self.base, self.http = broker, base, http

    async def token(self, login: int = 1) -> str:
        fields = self.broker.logins[login].fields
        body = {"name": fields["username"], "password": fields["password"], "sec": fields["sec"]}
        granted = await self.send("live/v1/auth/accesstokenrequest", "", body | {"cid": int(fields["cid"])})
        return str(json.loads(granted[1])["accessToken"])

    async def send(self, path: str, token: str = "", body: Any = None) -> tuple[int, str]:
        method, headers = "GET" if body is None else "POST", {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.request(method, f"{self.base}/{path}", json=body, headers=headers) as response:
            return response.status, await response.text()

    async def report(self, token: str, host: str, name: str, days: tuple[str, str], **changes: Any) -> Any:
        body = order(name, days, changes.pop("account", ACCOUNT)) | changes
        status, text = await self.send(f"{host}/v1/reports/requestReport", token, body)
        assert status == 200, text
        return json.loads(text)


def order(name: str, days: tuple[str, str], account: Any) -> dict[str, Any]:
    values = {"startDate": days[0], "endDate": days[1], "account": account}
    params = [{"name": key, "value": value} for key, value in values.items()]
    return {"name": name, "representationType": "csv", "timezone": 0, "params": params}


def table(answered: Mapping[str, str]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answered["data"], newline="")))


def american(day: date) -> str:
    return f"{day.month}/{day.day}/{day.year}"


@pytest.fixture
async def archive() -> AsyncIterator[Archive]:
    broker = create(SandboxSettings(now=lambda: NOW, days=120, trades_per_day=5.0, think=timedelta(0)))
    async with TestServer(broker.application()) as server, aiohttp.ClientSession() as http:
        yield Archive(broker, f"http://127.0.0.1:{server.port}", http)


async def test_the_reports_hold_just_what_the_ledger_says(archive: Archive) -> None:
    ledger = json.loads((await archive.send("_sandbox/ledger"))[1])
    for number, login in enumerate(archive.broker.logins):
        token = await archive.token(number)
        for account_id, count in login.trades.items():
            holder, trades = ledger["holders"][account_id], ledger["accounts"][account_id]
            rows = await _history(archive, token, f"reporting-{holder['environment']}", holder["name"])
            assert len(rows) == count == len(trades) > 300
            assert [_as_trade(row) for row in rows] == [_bare(trade) for trade in trades]


async def _history(archive: Archive, token: str, host: str, account: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    first = date(2026, 2, 1)
    for _ in range(3):
        last = first + timedelta(days=62)
        rows += table(await archive.report(token, host, "Fills", (american(first), american(last)), account=account))
        first = last + timedelta(days=1)
    return rows


def _as_trade(row: Mapping[str, str]) -> dict[str, str]:
    side = {"0": "buy", "1": "sell"}[row["_action"]]
    assert row["B/S"] == f" {side.title()}"
    names = {"order_id": "_orderId", "symbol": "Contract", "quantity": "_qty", "price": "_price"}
    names |= {"trade_date": "_tradeDate", "commission": "commission"}
    return {name: row[column] for name, column in names.items()} | {
        "trade_id": f"fill:{row['_id']}",
        "side": side,
        "executed_at": row["_timestamp"].replace(" ", "T"),
    }


def _bare(trade: Mapping[str, Any]) -> dict[str, str]:
    rest = {name: value for name, value in trade.items() if name not in ("fees", "multiplier", "currency")}
    return rest | {"commission": trade["fees"]["commission"]}


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (order("Fills", ("3/1/2026", "5/2/2026"), ACCOUNT), 200, "_tradeDate"),
        (order("Fills", ("03/01/2026", "05/02/2026"), ACCOUNT), 200, "_tradeDate"),
        (order("Fills", ("3/1/2026", "5/3/2026"), ACCOUNT), 200, '{"errorText":"Too long range"}'),
        (order("Fills", MAY, "210000000102"), 200, '{"errorText":"account is not found (ID:0)"}'),
        (order("Fills", MAY, 210000000102), 200, '{"errorText":"account is not found (ID:0)"}'),
        (order("Fills", ("1/1/2025", "1/31/2025"), ACCOUNT), 200, r'{"data":"\r\n"}'),
        (order("fills", MAY, ACCOUNT), 200, '{"errorText":"Unknown report"}'),
        (order("Fills", ("2026-05-01", "2026-05-31"), ACCOUNT), 500, ""),
        (order("Fills", ("13/13/2026", "5/31/2026"), ACCOUNT), 500, ""),
        (order("Fills", MAY, ACCOUNT) | {"timezone": "UTC"}, 400, "illegal number"),
        (order("Fills", MAY, ACCOUNT) | {"timezone": "0"}, 400, "illegal number"),
        (order("Fills", MAY, ACCOUNT) | {"params": {"startDate": "5/1/2026"}}, 400, ""),
    ],
)
async def test_a_report_is_refused_as_the_broker_refuses_it(
    archive: Archive, body: Any, status: int, text: str
) -> None:
    answered = await archive.send("reporting-demo/v1/REPORTS/requestreport", await archive.token(), body)

    assert answered[0] == status
    assert text in answered[1]


async def test_a_fills_report_is_windows_text_with_quotes_and_leading_spaces(archive: Archive) -> None:
    token = await archive.token()
    data = (await archive.report(token, "reporting-demo", "Fills", MAY))["data"]
    header, *lines = data.removesuffix("\r\n").split("\r\n")

    assert "\n" not in header + "".join(lines)
    assert len(header.split(",")) == 25
    assert all(", Buy," in line or ", Sell," in line for line in lines)
    assert any('"Micro NASDAQ, 100 shares"' in line for line in lines)
    notes = [row for row in table({"data": data}) if row["Product"] == "ZN"]
    assert notes
    assert all("'" in row["Price"] and Decimal(row["_price"]) % Decimal("0.015625") == 0 for row in notes)


async def test_the_days_and_local_times_of_a_report_are_those_of_the_zone_asked_for(archive: Archive) -> None:
    token = await archive.token()
    day = ("5/12/2026", "5/12/2026")
    rows = table(await archive.report(token, "reporting-demo", "Fills", day, timezone=-300))

    stamps = [datetime.fromisoformat(row["_timestamp"]) for row in rows]
    assert stamps
    assert {(stamp - timedelta(hours=5)).date() for stamp in stamps} == {date(2026, 5, 12)}
    assert [row["Timestamp"] for row in rows] == [f"{s - timedelta(hours=5):%m/%d/%Y %H:%M:%S}" for s in stamps]
    assert {row["Date"] for row in rows} == {"5/12/26"}


async def test_an_account_is_found_only_in_its_environment_and_by_its_own_login(archive: Archive) -> None:
    for login, host in ((1, "reporting-live"), (0, "reporting-demo")):
        answered = await archive.report(await archive.token(login), host, "Fills", MAY)
        assert answered == {"errorText": "account is not found (ID:0)"}


async def test_cash_history_and_performance_agree_with_the_balance(archive: Archive) -> None:
    token = await archive.token()
    cash, profits = [], Decimal(0)
    for days in (("2/1/2026", "3/31/2026"), ("4/1/2026", "5/31/2026"), ("6/1/2026", "6/30/2026")):
        cash += table(await archive.report(token, "reporting-demo", "Cash History", days))
        for row in table(await archive.report(token, "reporting-demo", "Performance", days)):
            text = row["pnl"].replace("$", "").replace(",", "")
            profits += -Decimal(text[1:-1]) if text.startswith("(") else Decimal(text)
    balances = json.loads((await archive.send("demo/v1/cashBalance/list", token))[1], parse_float=Decimal)

    kinds = {row["Cash Change Type"] for row in cash}
    assert {" Fund Transaction", " Trade Paired", " Exchange Fee", " Nfa Fee", " Commission"} <= kinds
    account = str(next(iter(archive.broker.logins[1].trades)))
    for code, number in (("USD", 1), ("EUR", 14)):
        total = sum(Decimal(row["Delta"].replace(",", "")) for row in cash if row["Currency"] == code)
        amounts = [b["amount"] for b in balances if str(b["accountId"]) == account and b["currencyId"] == number]
        assert amounts == [total]
    paired = [Decimal(row["Delta"].replace(",", "")) for row in cash if row["Cash Change Type"] == " Trade Paired"]
    assert abs(sum(paired) - profits) <= Decimal("0.005") * len(paired)  # Performance shows cents


async def test_a_report_without_an_account_holds_all_of_the_login(archive: Archive) -> None:
    body = order("Fills", MAY, None)
    body["params"] = [param for param in body["params"] if param["name"] != "account"]
    _, text = await archive.send("reporting-demo/v1/reports/requestReport", await archive.token(), body)

    assert {row["Account"] for row in table(json.loads(text))} == {"IFUND-50K-0002", "IFUND-50K-0003"}


async def test_report_definitions_name_what_can_be_asked_for(archive: Archive) -> None:
    answered = await archive.send("reporting-live/v1/reports/requestReportDefinitions", await archive.token())

    assert [definition["name"] for definition in json.loads(answered[1])["reports"]] == [
        "Fills",
        "Cash History",
        "Performance",
        "Orders",
        "Position History",
    ]


async def test_the_orders_report_sums_up_what_the_fills_tell(archive: Archive) -> None:
    token = await archive.token()
    fills, orders = [table(await archive.report(token, "reporting-demo", one, MAY)) for one in ("Fills", "Orders")]
    filled: dict[str, int] = {}
    for fill in fills:
        filled[fill["_orderId"]] = filled.get(fill["_orderId"], 0) + int(fill["_qty"])

    assert {row["orderId"]: int(row["filledQty"]) for row in orders if row["filledQty"]} == filled
    assert {row["Status"] for row in orders} == {" Filled", " Canceled"}


async def test_the_position_history_tells_the_pairs_of_the_performance(archive: Archive) -> None:
    token = await archive.token()
    pairs, history = [
        table(await archive.report(token, "reporting-demo", one, MAY)) for one in ("Performance", "Position History")
    ]

    assert [(row["Buy Fill ID"], row["Sell Fill ID"], row["Paired Qty"]) for row in history] == [
        (row["buyFillId"], row["sellFillId"], row["qty"]) for row in pairs
    ]
    assert [Decimal(row["P/L"]) for row in history] == [money(row["pnl"]) for row in pairs]


def money(text: str) -> Decimal:
    return Decimal(text.replace("$(", "-").strip("$)").replace(",", ""))


@pytest.mark.parametrize("name", ["Fills", "Orders", "Performance", "Position History", "Cash History"])
async def test_an_export_is_the_report_on_all_days_in_the_users_time(archive: Archive, name: str) -> None:
    _, text = await archive.send(f"_sandbox/exports/1/demo/{name}?timezone=-300")
    [header, *rows] = csv.reader(io.StringIO(text, newline=""))
    reported = table(await archive.report(await archive.token(), "reporting-demo", name, MAY, timezone=-300))
    exported = [dict(zip(header, row, strict=True)) for row in rows]

    assert len(exported) > len(reported) > 0
    assert all(row in exported for row in reported)


@pytest.mark.parametrize("path", ["exports/1/demo/Nonsense", "exports/9/demo/Fills", "exports/1/mars/Fills"])
async def test_an_export_of_nobody_or_nothing_is_not_found(archive: Archive, path: str) -> None:
    assert (await archive.send(f"_sandbox/{path}"))[0] == 404


async def test_what_others_charge_is_booked_a_while_after_the_fill() -> None:
    now = [NOW]
    broker = create(SandboxSettings(now=lambda: now[0], days=9, trades_per_day=5.0, think=timedelta(0)))
    async with TestServer(broker.application()) as server, aiohttp.ClientSession() as http:
        archive = Archive(broker, f"http://127.0.0.1:{server.port}", http)
        ledger = json.loads((await archive.send("_sandbox/ledger"))[1])["accounts"]
        last = datetime.fromisoformat(ledger[str(next(iter(broker.logins[1].trades)))][-1]["executed_at"])
        kinds = []
        for minutes in (1, 11):
            now[0] = last + timedelta(minutes=minutes)
            days = (american(last.date()), american(last.date()))
            rows = table(await archive.report(await archive.token(), "reporting-demo", "Cash History", days))
            second = f"{last:%m/%d/%Y %H:%M:%S}"
            kinds.append({row["Cash Change Type"] for row in rows if row["Timestamp"] == second})
        assert kinds[1] - kinds[0] >= {" Exchange Fee"}
        assert " Commission" in kinds[0]
