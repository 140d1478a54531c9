"""The simulated Flex Web Service over real HTTP: its protocol, its limits, its ledger."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from brokersync.plugin import SandboxSettings
from brokersync_ibkr.sandbox import create

START = datetime(2026, 3, 11, 15, 0, tzinfo=UTC)  # a Wednesday, 11:00 in New York
TODAY = date(2026, 3, 11)
YESTERDAY = date(2026, 3, 10)
DAYS = 90
OPENED = TODAY - timedelta(days=DAYS)


class World:
    """A sandbox on loopback with a clock that only the test moves."""

    def __init__(self) -> None:
        self.now = START
        self.broker = create(SandboxSettings(now=lambda: self.now, days=DAYS, think=timedelta(seconds=3)))
        self.login = self.broker.logins[0]
        self.client: TestClient[Any, Any] = TestClient(TestServer(self.broker.application()))

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    async def get(self, operation: str, **query: str) -> tuple[int, str]:
        base = self.broker.hosts(str(self.client.make_url("/")))["flex"]
        async with self.client.session.get(f"{base}/{operation}", params=query) as answer:
            return answer.status, await answer.text()

    async def step(self, operation: str, **query: str) -> ET.Element:
        """One request ten seconds after the last, as the limits want; the parsed answer."""
        self.wait(10)
        known = {"t": self.login.fields["token"], "v": "3", "q": self.login.fields["activity_query_id"]}
        status, body = await self.get(operation, **(known | query))
        assert status == 200
        return ET.fromstring(body)

    async def code(self, operation: str, **query: str) -> int | None:
        """The service's error code, None for an answer without one."""
        text = (await self.step(operation, **query)).findtext("ErrorCode")
        return int(text) if text else None

    async def statement(self, query: str = "activity_query_id", **period: str) -> ET.Element:
        sent = await self.step("SendRequest", q=self.login.fields[query], **period)
        return await self.step("GetStatement", q=sent.findtext("ReferenceCode") or sent.findtext("ErrorCode") or "")

    async def control(self, name: str) -> Any:
        async with self.client.get(f"/_sandbox/{name}") as answer:
            return await answer.json()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    async with world.client:
        yield world


def span(first: date, last: date) -> Mapping[str, str]:
    return {"fd": f"{first:%Y%m%d}", "td": f"{last:%Y%m%d}"}


WEEK = span(date(2026, 3, 2), date(2026, 3, 6))


async def test_a_report_is_ordered_then_fetched_once_it_is_made(world: World) -> None:
    sent = await world.step("SendRequest", **WEEK)
    assert sent.tag == "FlexStatementResponse"
    assert [(child.tag, bool(child.text)) for child in sent] == [
        ("Status", True),
        ("ReferenceCode", True),
        ("Url", True),
    ]
    assert sent.findtext("Status") == "Success"
    reference, url = sent.findtext("ReferenceCode", ""), sent.findtext("Url", "")
    assert reference.isdigit()
    assert url == str(world.client.make_url("/AccountManagement/FlexWebService/GetStatement"))

    world.wait(2.9)
    query = {"t": world.login.fields["token"], "q": reference, "v": "3"}
    early = ET.fromstring((await world.get("GetStatement", **query))[1])
    assert (early.findtext("Status"), early.findtext("ErrorCode")) == ("Warn", "1019")

    report = await world.step("GetStatement", q=reference)
    assert (report.tag, report.get("type")) == ("FlexQueryResponse", "AF")
    assert await world.code("GetStatement", q=reference) is None


async def test_errors_are_stamped_with_new_yorks_time_in_english_words(world: World) -> None:
    _, body = await world.get("SendRequest", t="1", q="1", v="3")
    assert body.startswith("<FlexStatementResponse timestamp='11 March, 2026 11:00 AM EDT'>")
    world.now = datetime(2026, 1, 5, 17, 5, tzinfo=UTC)
    _, body = await world.get("SendRequest", t="1", q="1", v="3")
    assert "timestamp='05 January, 2026 12:05 PM EST'" in body


@pytest.mark.parametrize(
    ("code", "query"),
    [
        (1020, {"v": "2"}),
        (1020, {"t": ""}),
        (1020, {"q": ""}),
        (1015, {"t": "123"}),
        (1014, {"q": "999"}),
        (1020, {"fd": "20260302"}),
        (1020, {"td": "20260302"}),
        (1020, {"fd": "2026-03-02", "td": "2026-03-03"}),
        (1020, {"fd": "20260230", "td": "20260303"}),
        (1020, {"fd": "20260304", "td": "20260303"}),
        (1020, span(YESTERDAY - timedelta(days=365), YESTERDAY)),
        (None, span(YESTERDAY - timedelta(days=364), YESTERDAY)),
        (1020, {"p": "0"}),
        (1020, {"p": "366"}),
        (None, {"p": "x", **WEEK}),
        (1003, span(YESTERDAY, TODAY)),
        (1003, span(OPENED - timedelta(days=9), OPENED - timedelta(days=1))),
        (1003, span(date(2026, 3, 7), date(2026, 3, 8))),
    ],
)
async def test_requests_that_are_wrong_get_the_documented_code(
    world: World, code: int | None, query: Mapping[str, str]
) -> None:
    assert await world.code("SendRequest", **query) == code


async def test_a_request_without_a_user_agent_is_turned_away(world: World) -> None:
    url = world.broker.hosts(str(world.client.make_url("/")))["flex"] + "/SendRequest"
    async with (
        aiohttp.ClientSession(skip_auto_headers=["User-Agent"]) as session,
        session.get(url, params={"t": world.login.fields["token"], "q": "1", "v": "3"}) as answer,
    ):
        assert answer.status == 403


async def test_a_token_dies_after_a_year(world: World) -> None:
    world.now = START + timedelta(days=365, seconds=-11)
    assert await world.code("SendRequest") is None
    assert await world.code("SendRequest") == 1012


async def test_a_reference_belongs_to_its_token_and_does_not_live_for_ever(world: World) -> None:
    reference = (await world.step("SendRequest", **WEEK)).findtext("ReferenceCode", "")
    other = world.broker.logins[1].fields["token"]
    assert await world.code("GetStatement", q=reference, t=other) == 1017
    assert await world.code("GetStatement", q=reference) is None
    world.wait(3600)
    assert await world.code("GetStatement", q=reference) == 1017


async def test_a_token_may_ask_once_a_second_and_ten_times_a_minute_over_both_steps(world: World) -> None:
    async def code(operation: str) -> str | None:
        query = {"t": world.login.fields["token"], "q": world.login.fields["activity_query_id"], "v": "3"}
        return ET.fromstring((await world.get(operation, **query))[1]).findtext("ErrorCode")

    assert await code("SendRequest") is None
    world.wait(0.8)
    assert await code("GetStatement") == "1018"
    world.wait(0.2)
    assert await code("GetStatement") == "1017"
    for _ in range(8):
        world.wait(2)
        assert await code("SendRequest") is None
    world.wait(2)
    assert await code("SendRequest") == "1018"
    world.wait(60 - 1 - 18)
    assert await code("SendRequest") is None

    usage = await world.control("requests")
    assert usage["operations"] == {"SendRequest": 11, "GetStatement": 2}
    first, second = usage["tokens"]
    assert (first["accounts"], first["most_in_1s"], first["most_in_60s"]) == (["U7000001", "U7000002"], 2, 12)
    assert (second["most_in_1s"], second["most_in_60s"]) == (0, 0)
    assert world.login.fields["token"] not in str(usage)


def edges(report: ET.Element) -> set[tuple[str, str, str]]:
    found = report.iter("FlexStatement")
    return {(each.get("fromDate", ""), each.get("toDate", ""), each.get("period", "?")) for each in found}


async def test_statements_tell_the_business_days_that_they_really_hold(world: World) -> None:
    assert edges(await world.statement(**span(date(2026, 2, 28), date(2026, 3, 8)))) == {("20260302", "20260306", "")}
    early = await world.statement(**span(date(2025, 6, 1), date(2025, 12, 25)))
    assert edges(early) == {(f"{OPENED:%Y%m%d}", "20251224", "")}
    assert edges(await world.statement()) == {("20260310", "20260310", "LastBusinessDay")}
    assert edges(await world.statement(p="7")) == {("20260304", "20260310", "Last7CalendarDays")}
    assert edges(await world.statement("confirmations_query_id")) == {("20260311", "20260311", "Today")}


async def test_confirmations_of_a_weekend_are_an_empty_statement(world: World) -> None:
    world.now = datetime(2026, 3, 14, 15, 0, tzinfo=UTC)
    report = await world.statement("confirmations_query_id", **span(date(2026, 3, 14), date(2026, 3, 14)))
    assert report.get("type") == "TCF"
    assert edges(report) == {("20260314", "20260314", "")}
    assert list(report.iter("TradeConfirm")) == []


async def test_every_account_of_the_login_has_its_own_statement(world: World) -> None:
    report = await world.statement(**WEEK)
    assert [each.get("accountId") for each in report.iter("FlexStatement")] == list(world.login.trades)
    facts = [(each.get("currency"), each.get("dateOpened")) for each in report.iter("AccountInformation")]
    assert facts == [("USD", f"{OPENED:%Y%m%d}"), ("EUR", f"{OPENED:%Y%m%d}")]


def folded(rows: list[ET.Element]) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """The trades that stand, by the rules of cancels and corrections: signed quantity, price, summed commission."""
    chains: dict[str, list[ET.Element]] = defaultdict(list)
    fractions = {row.get("transactionID", ""): row for row in rows if row.get("transactionType") == "FracShare"}
    for row in rows:
        if row.get("transactionType") == "FracShareCancel":
            same = ("conid", "dateTime", "tradePrice")
            chain = next(k for k, v in fractions.items() if all(v.get(name) == row.get(name) for name in same))
        else:
            chain = row.get("tradeID") or row.get("origTradeID") or row.get("transactionID") or ""
        chains[chain].append(row)
    ends = {chain: max(group, key=lambda row: int(row.get("transactionID", ""))) for chain, group in chains.items()}
    return {
        chain: (
            Decimal(end.get("quantity", "")),
            Decimal(end.get("tradePrice", "")),
            sum((Decimal(row.get("ibCommission", "")) for row in chains[chain]), Decimal(0)),
        )
        for chain, end in ends.items()
        if "(Ca.)" not in end.get("buySell", "")
    }


async def test_the_ledger_tells_what_the_statements_fold_to(world: World) -> None:
    report = await world.statement(**span(OPENED, YESTERDAY))
    ledger = (await world.control("ledger"))["accounts"]
    assert {number: len(ledger[number]) for number in world.login.trades} == dict(world.login.trades)
    for statement in report.iter("FlexStatement"):
        books = {
            trade["ids"]["tradeID"] or trade["ids"]["transactionID"]: (
                Decimal(trade["quantity"]) * (1 if trade["side"] == "buy" else -1),
                Decimal(trade["price"]),
                Decimal(trade["commission"]),
            )
            for trade in ledger[statement.get("accountId", "")]
            if trade["final"]
        }
        assert books == folded(list(statement.iter("Trade")))
        assert len(books) > DAYS / 2


async def test_the_ledger_names_trades_by_execution_else_trade_else_transaction(world: World) -> None:
    names = set()
    for trades in (await world.control("ledger"))["accounts"].values():
        for trade in trades:
            kind, _, name = trade["trade_id"].partition(":")
            ids = [trade["ids"][key] for key in ("ibExecID", "tradeID", "transactionID")]
            assert name == next(text for text in (ids[0].rpartition(".")[0], *ids[1:]) if text)
            names.add((trade["kind"], kind))
    assert names == {("ExchTrade", "exec"), ("BookTrade", "trade"), ("FracShare", "tx")}


async def test_ledger_times_are_utc_on_both_sides_of_the_clock_change(world: World) -> None:
    ledger = (await world.control("ledger"))["accounts"]
    entries = [trade for trades in ledger.values() for trade in trades if trade["kind"] == "BookTrade"]
    times = {(trade["trade_date"] >= "2026-03-08", trade["executed_at"][10:]) for trade in entries}
    assert (False, "T21:20:00Z") in times
    assert times <= {(False, "T21:20:00Z"), (True, "T20:20:00Z")}


async def test_a_days_fills_are_confirmed_at_once_and_stated_at_six_the_next_morning(world: World) -> None:
    day = span(YESTERDAY, YESTERDAY)

    async def known() -> set[tuple[str, bool]]:
        ledger = (await world.control("ledger"))["accounts"]
        trades = [trade for number in world.login.trades for trade in ledger[number]]
        return {(trade["ids"]["ibExecID"], trade["final"]) for trade in trades if trade["trade_date"] == "2026-03-10"}

    world.now = datetime(2026, 3, 10, 22, 0, tzinfo=UTC)
    report = await world.statement("confirmations_query_id", **day)
    confirmed = {row.get("execID", "") for row in report.iter("TradeConfirm")}
    assert confirmed
    assert await world.code("SendRequest", **day) == 1003
    assert await known() == {(name, False) for name in confirmed}
    world.now = datetime(2026, 3, 11, 9, 59, tzinfo=UTC)
    assert await world.code("SendRequest", **day) == 1005
    assert edges(await world.statement()) == {("20260309", "20260309", "LastBusinessDay")}
    assert await known() == {(name, False) for name in confirmed}
    world.now = datetime(2026, 3, 11, 10, 0, tzinfo=UTC)
    stated = {row.get("ibExecID", "") for row in (await world.statement(**day)).iter("Trade")}
    assert confirmed <= stated
    assert {(name, True) for name in confirmed} <= await known()
