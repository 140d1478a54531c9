from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from brokersync.plugin import SandboxLogin, SandboxSettings, SimulatedBroker
from brokersync_tradovate.sandbox import create

WEDNESDAY = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)  # 10:00 in Chicago


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Desk:
    """A client that sends what it is told and shows what it gets."""

    def __init__(self, broker: SimulatedBroker, base: str, http: aiohttp.ClientSession, clock: Clock) -> None:
        self.broker, self.base, self.http, self.clock = broker, base, http, clock
        self.hosts = broker.hosts(base)

    async def send(
        self, path: str, *, host: str = "live", token: str | None = None, body: Any = None, method: str | None = None
    ) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.request(
            method or ("GET" if body is None else "POST"),
            f"{self.hosts[host]}/{path}",
            json=body,
            headers=headers,
            allow_redirects=False,
        ) as response:
            return response.status, await response.text()

    async def get(self, path: str, **options: Any) -> Any:
        status, text = await self.send(path, **options)
        assert status == 200, (path, status, text)
        return json.loads(text, parse_float=Decimal)

    async def log_in(self, login: int = 0, **changes: Any) -> dict[str, Any]:
        granted: dict[str, Any] = await self.get("auth/accesstokenrequest", body=self.credentials(login) | changes)
        return granted

    async def token(self, login: int = 0) -> str:
        return str((await self.log_in(login))["accessToken"])

    def credentials(self, login: int = 0) -> dict[str, Any]:
        fields = self.broker.logins[login].fields
        names = {"name": fields["username"], "password": fields["password"], "sec": fields["sec"]}
        return {**names, "cid": int(fields["cid"]), "appId": "tests", "deviceId": "d-1"}

    async def fault(self, name: str, **order: Any) -> tuple[int, str]:
        async with self.http.post(f"{self.base}/_sandbox/faults", json={"fault": name, **order}) as response:
            return response.status, await response.text()

    async def control(self, what: str) -> Any:
        async with self.http.get(f"{self.base}/_sandbox/{what}") as response:
            return await response.json()


@pytest.fixture
def clock() -> Clock:
    return Clock(WEDNESDAY)


@pytest.fixture
async def desk(clock: Clock) -> AsyncIterator[Desk]:
    # A firm's login with four demo accounts sees the fills of all of them in one list.
    broker = create(SandboxSettings(now=clock, accounts_per_login=4, days=9, trades_per_day=9.0))
    async with TestServer(broker.application()) as server, aiohttp.ClientSession() as http:
        yield Desk(broker, f"http://127.0.0.1:{server.port}", http, clock)


async def test_a_login_is_granted_a_token_for_eighty_minutes(desk: Desk) -> None:
    granted = await desk.log_in()

    assert granted["expirationTime"] == "2026-06-10T16:20:00.000Z"
    assert granted["userStatus"] == "Active"
    assert granted["name"] == desk.broker.logins[0].fields["username"]
    assert "apiHosts" not in granted
    assert not {"errorText", "p-ticket"} & set(granted)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"password": "wrong"}, "Incorrect username or password"),
        ({"name": "nobody"}, "Incorrect username or password"),
        ({"sec": "wrong"}, "app is not registered"),
        ({"cid": "8001"}, "app is not registered"),
    ],
)
async def test_a_refused_login_has_status_200_and_an_error_text(desk: Desk, changes: Any, text: str) -> None:
    refused = await desk.log_in(**changes)

    assert text in refused["errorText"]
    assert "accessToken" not in refused


async def test_a_third_login_closes_the_oldest_session_and_a_renewal_none(desk: Desk) -> None:
    first, second = await desk.token(), await desk.token()
    renewed = (await desk.get("auth/renewaccesstoken", token=second))["accessToken"]
    assert (await desk.send("account/list", token=first))[0] == 200

    third = await desk.token()

    assert [(await desk.send("account/list", token=token))[0] for token in (first, second, renewed, third)] == [
        408,
        200,
        200,
        200,
    ]


async def test_a_token_ends_with_its_time_and_cannot_be_renewed_then(desk: Desk) -> None:
    token = await desk.token()
    desk.clock.now += timedelta(minutes=79)
    assert (await desk.send("account/list", token=token))[0] == 200
    desk.clock.now += timedelta(minutes=1)

    assert await desk.send("account/list", token=token) == (401, "Expired Access Token")
    assert await desk.send("auth/renewaccesstoken", token=token) == (401, "Expired Access Token")
    assert await desk.send("account/list", token="never given") == (401, "Access is denied")
    assert await desk.send("account/list") == (401, "Access is denied")


async def test_hasty_clients_are_penalised_for_an_hour(desk: Desk) -> None:
    token = await desk.token()
    for _ in range(5):
        await desk.log_in(password="wrong")
    for _ in range(15):
        await desk.get("auth/renewaccesstoken", token=token)

    assert (await desk.log_in())["p-captcha"] is True
    assert (await desk.get("auth/renewaccesstoken", token=token))["p-time"] == 15
    desk.clock.now += timedelta(hours=1)
    assert "accessToken" in await desk.log_in()


async def test_only_the_live_host_says_who_is_logged_in(desk: Desk) -> None:
    token = await desk.token(1)

    me = await desk.get("auth/me", token=token)
    users = await desk.get("user/list", host="demo", token=token)

    assert [user["id"] for user in users] == [me["userId"]]
    assert await desk.send("auth/me", host="demo", token=token) == (404, "")


async def test_accounts_belong_to_environments_and_a_firms_accounts_to_the_firm(desk: Desk) -> None:
    seen: dict[tuple[int, str], list[Any]] = {}
    for login in (0, 1):
        token = await desk.token(login)
        for host in ("live", "demo"):
            seen[login, host] = await desk.get("account/list", host=host, token=token)

    assert [len(seen[key]) for key in ((0, "live"), (0, "demo"), (1, "live"), (1, "demo"))] == [2, 2, 0, 4]
    assert len({account["userId"] for account in seen[1, "demo"]}) == 1
    assert (await desk.get("auth/me", token=await desk.token(1)))["userId"] != seen[1, "demo"][0]["userId"]
    assert {str(a["id"]) for rows in seen.values() for a in rows} == {
        account for login in desk.broker.logins for account in login.trades
    }


async def test_the_session_lists_tell_of_several_accounts_at_once_and_join_to_the_ledger(desk: Desk) -> None:
    token = await desk.token(1)
    read = {
        name: {row["id"]: row for row in await desk.get(f"{name}/list", host="demo", token=token)}
        for name in ("fill", "order", "fillFee", "product", "currency")
    }
    accounts = (await desk.control("ledger"))["accounts"]
    expected = {
        (account, trade["trade_id"].removeprefix("fill:")): trade
        for account in desk.broker.logins[1].trades
        for trade in accounts[account]
        if trade["trade_date"] == "2026-06-10"
    }
    assert "accountId" not in next(iter(read["fill"].values()))
    found = {}
    for fill in read["fill"].values():
        contract = await desk.get(f"contract/item?id={fill['contractId']}", host="demo", token=token)
        maturity = await desk.get(
            f"contractMaturity/item?id={contract['contractMaturityId']}", host="demo", token=token
        )
        product = read["product"][maturity["productId"]]
        fees = {
            kind: (format(value, "f"), read["currency"][read["fillFee"][fill["id"]][_currency(kind)]]["name"])
            for kind, value in read["fillFee"][fill["id"]].items()
            if isinstance(value, Decimal)
        }
        found[str(read["order"][fill["orderId"]]["accountId"]), str(fill["id"])] = (
            contract["name"],
            fill["action"].lower(),
            str(fill["qty"]),
            str(fill["price"]),
            fill["timestamp"],
            str(product["valuePerPoint"]),
            fees,
        )
        assert fill["tradeDate"] == {"year": 2026, "month": 6, "day": 10}

    assert len({account for account, _ in found}) > 1
    assert found == {
        key: (
            trade["symbol"],
            trade["side"],
            trade["quantity"],
            trade["price"],
            trade["executed_at"],
            trade["multiplier"],
            {kind: (amount, trade["currency"]) for kind, amount in trade["fees"].items()},
        )
        for key, trade in expected.items()
    }


def _currency(kind: str) -> str:
    return f"{kind.removesuffix('Fee')}CurrencyId"


@pytest.mark.parametrize("roll", [datetime(2026, 6, 10, 22, tzinfo=UTC), datetime(2026, 3, 4, 23, tzinfo=UTC)])
async def test_the_session_rolls_at_five_in_the_afternoon_in_chicago_summer_and_winter(roll: datetime) -> None:
    clock = Clock(roll - timedelta(milliseconds=1))
    broker = create(SandboxSettings(now=clock, days=5, trades_per_day=20.0))
    async with TestServer(broker.application()) as server, aiohttp.ClientSession() as http:
        desk = Desk(broker, f"http://127.0.0.1:{server.port}", http, clock)
        token = await desk.token()
        fills = await desk.get("fill/list", token=token)
        assert (await desk.get(f"fill/item?id={fills[0]['id']}", token=token)) == fills[0]

        clock.now = roll

        names = ("fill", "order", "fillFee", "fillPair", "executionReport")
        assert [await desk.get(f"{name}/list", token=token) for name in names] == [[], [], [], [], []]
        assert await desk.send(f"fill/item?id={fills[0]['id']}", token=token) == (404, "")
        assert (await desk.get(f"contract/item?id={fills[0]['contractId']}", token=token))["name"]


async def test_fees_are_known_ten_minutes_after_the_fill(desk: Desk) -> None:
    token = await desk.token(1)
    fill = max(await desk.get("fill/list", host="demo", token=token), key=lambda row: row["timestamp"])
    desk.clock.now = datetime.fromisoformat(fill["timestamp"]) + timedelta(minutes=10, milliseconds=-1)
    token = await desk.token(1)
    assert await desk.send(f"fillFee/item?id={fill['id']}", host="demo", token=token) == (404, "")

    desk.clock.now += timedelta(milliseconds=1)

    assert (await desk.get(f"fillFee/item?id={fill['id']}", host="demo", token=token))["commission"] > 0


async def test_batches_of_ten_ids_are_answered_and_more_are_not_found(desk: Desk) -> None:
    token = await desk.token(1)
    fills = [row["id"] for row in await desk.get("fill/list", host="demo", token=token)]
    assert len(fills) > 11

    async def items(ids: list[int]) -> tuple[int, str]:
        return await desk.send(f"FILL/Items?ids={','.join(map(str, ids))}", host="demo", token=token)

    assert {row["id"] for row in json.loads((await items(fills[:10]))[1])} == set(fills[:10])
    assert len(json.loads((await items([*fills[:3], 5]))[1])) == 3
    assert await items(fills[:11]) == (404, "")
    assert await items([5]) == (404, "")
    assert (await desk.send("fill/items?ids=five", host="demo", token=token))[0] == 400
    assert await desk.send("contract/list", host="demo", token=token) == (404, "")
    assert await desk.send("fill/everything", host="demo", token=token) == (404, "")


async def test_entities_lead_to_each_other(desk: Desk) -> None:
    token = await desk.token(1)

    async def get(path: str) -> Any:
        return await desk.get(path, host="demo", token=token)

    fills = {row["id"]: row for row in await get("fill/list")}
    positions = {row["id"]: row for row in await get("position/list")}
    for pair in await get("fillPair/list"):
        position = positions[pair["positionId"]]
        own = [row["id"] for row in await get(f"order/deps?masterid={position['accountId']}")]
        late = max((fills[i] for i in (pair["buyFillId"], pair["sellFillId"]) if i in fills), key=lambda row: row["id"])
        assert late["orderId"] in own
        assert late["contractId"] == position["contractId"]
        assert pair["id"] in [row["id"] for row in await get(f"fillPair/deps?masterid={position['id']}")]
    traded = [row for row in await get("executionReport/list") if row["execType"] == "Trade"]
    assert sum(row["lastQty"] for row in traded) == sum(row["qty"] for row in fills.values())
    assert {row["orderId"] for row in traded} == {row["orderId"] for row in fills.values()}
    contract = await get(f"contract/item?id={next(iter(fills.values()))['contractId']}")
    assert await get(f"contract/find?name={contract['name']}") == contract
    assert await desk.send("product/find?name=NONE", host="demo", token=token) == (404, "")


async def test_prices_are_numbers_with_their_own_digits(desk: Desk) -> None:
    token = await desk.token()
    _, text = await desk.send("product/find?name=ZN", token=token)

    assert '"tickSize":0.015625' in text
    assert json.loads(text)["priceFormatType"] == "Fractional"


async def test_one_id_means_different_things_in_different_environments(desk: Desk) -> None:
    token = await desk.token()
    live, demo = [await desk.get("currency/list", host=host, token=token) for host in ("live", "demo")]

    codes = [{row["name"]: row["id"] for row in rows} for rows in (live, demo)]
    assert codes[0]["USD"] == codes[1]["USD"] == 1
    assert codes[0]["EUR"] != codes[1]["EUR"]
    product = [(await desk.get("product/item?id=661", host=host, token=token))["name"] for host in ("live", "demo")]
    assert product[0] != product[1]


async def test_a_session_that_has_begun_is_not_empty(clock: Clock) -> None:
    broker = create(SandboxSettings(now=clock, days=1))
    async with TestServer(broker.application()) as server, aiohttp.ClientSession() as http:
        desk = Desk(broker, f"http://127.0.0.1:{server.port}", http, clock)
        clock.now = datetime(2026, 6, 10, 22, 20, tzinfo=UTC)
        for _ in range(14):
            weekend = clock.now.weekday() in (4, 5)
            for login in (0, 1):
                token = await desk.token(login)
                rows = [await desk.get("fill/list", host=host, token=token) for host in ("live", "demo")]
                assert any(rows) is not weekend
            clock.now += timedelta(days=1)


async def test_the_books_are_never_rewritten_and_only_grow(desk: Desk) -> None:
    before = (await desk.control("ledger"))["accounts"]
    desk.clock.now += timedelta(days=2)
    after = (await desk.control("ledger"))["accounts"]

    assert all(after[account][: len(told)] == told for account, told in before.items())
    assert all(len(after[account]) > len(told) for account, told in before.items())


async def test_requests_are_counted_by_operation_host_and_login(desk: Desk) -> None:
    token = await desk.token()
    await desk.get("Fill/List", host="demo", token=token)

    assert await desk.control("requests") == {
        "operations": {"auth/accesstokenrequest": 1, "fill/list": 1},
        "hosts": {"live": 1, "demo": 1},
        "logins": {"sandbox-trader-1": 1},
        "closed": {},
    }


def test_logins_are_as_many_as_asked_for_and_say_what_a_form_wants() -> None:
    broker = create(SandboxSettings(now=lambda: WEDNESDAY, logins=3, accounts_per_login=1, days=3))

    assert [login.environment for login in broker.logins] == ["live", "demo", "live"]
    assert all(isinstance(login, SandboxLogin) and len(login.trades) == 1 for login in broker.logins)
    assert all(set(login.fields) == {"username", "password", "cid", "sec"} for login in broker.logins)
    assert set(broker.hosts("http://h")) == {"live", "demo", "reporting-live", "reporting-demo", "consent", "oauth"}
    assert broker.hosts("http://h/")["live"] == "http://h/live/v1"
