"""The page of two sources: its manifest and code come to what the page says, over real HTTP."""

from __future__ import annotations

import json
import re
import types
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.embedding.broker import KEYS, VirtualClock

from brokersync import BrokerSync, BrokerTrade, Done, ProviderRegistry, Settings, TradeFilter
from brokersync.config import BrokerSettings
from brokersync.manifest import parse_manifests
from brokersync.plugin import ProviderSpec, TimeWindow, hookimpl

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "two-sources.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(SOURCES,) = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
SESSION, STATEMENT = (json.loads(rows) for rows in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
FRIDAY, AFTER = (told.strip() for told in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL))
MADE: dict[str, Any] = {}
exec(compile(CODE, "docs/how-to/two-sources.md", "exec", dont_inherit=True), MADE)

MANIFEST = f"""
key = "acme"
display_name = "Acme"
contract = 1
environments = ["live"]
auth = ["api_key"]
licence = "MIT"
docs = "https://acme.example"
support = "https://acme.example"

[hosts]
api = "https://api.acme.example"

[[user_fields]]
name = "api_key"
label = "Key"
help = "Any."
secret = true

{SOURCES}
"""
EVENING = datetime(2026, 3, 20, 23, tzinfo=UTC)
# six hours after Monday's end, and one more
TUESDAY = datetime(2026, 3, 24, 5, tzinfo=UTC)


class Acme:
    """The broker: a list that is emptied at 17:00, and statements of the days that are over."""

    def __init__(self) -> None:
        self.session: Sequence[Mapping[str, Any]] = SESSION
        self.asked: list[tuple[str, str]] = []

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/me", self._me)
        application.router.add_get("/accounts", self._accounts)
        application.router.add_get("/accounts/34/session", self._session)
        application.router.add_get("/accounts/34/statements", self._statements)
        return application

    async def _me(self, _: web.Request) -> web.Response:
        return web.json_response({"id": 12})

    async def _accounts(self, _: web.Request) -> web.Response:
        return web.json_response([{"id": 34}])

    async def _session(self, _: web.Request) -> web.Response:
        return web.json_response(self.session)

    async def _statements(self, request: web.Request) -> web.Response:
        first, last = request.query["from"], request.query["to"]
        self.asked.append((first, last))
        return web.json_response([row for row in STATEMENT if first <= row["trade_date"] <= last])


@pytest.fixture
async def acme() -> AsyncIterator[tuple[Acme, str]]:
    broker = Acme()
    runner = web.AppRunner(broker.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield broker, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def shown(trades: Sequence[BrokerTrade]) -> str:
    return "\n".join(
        f"{one.trade_id} {one.status.value}, costs {one.fees_state.value}"
        f" {sum((fee.amount for fee in one.fees), Decimal(0))}, from {', '.join(one.sources)}"
        for one in trades
    )


async def test_both_sources_come_to_what_the_page_says(acme: tuple[Acme, str], tmp_path: Path) -> None:
    broker, url = acme
    module = types.ModuleType("brokersync_acme")

    @hookimpl
    def brokersync_provider(broker: str) -> ProviderSpec | None:
        return ProviderSpec(credentials=MADE["AcmeCredentials"], create=MADE["AcmeProvider"])

    module.brokersync_provider = brokersync_provider  # type: ignore[attr-defined]  # a module made by hand
    settings = Settings(brokers={"acme": BrokerSettings(hosts={"api": url})})
    registry, clock = ProviderRegistry(settings=settings), VirtualClock(EVENING)
    registry.register(module, *parse_manifests(MANIFEST, "the page"))
    async with BrokerSync.open(
        tmp_path / "store.db", settings=settings, registry=registry, keys=KEYS, clock=clock
    ) as bs:
        one = await bs.connect("acme", owner="me", fields={"api_key": "a key"}, since=EVENING - timedelta(days=60))

        async def synced() -> str:
            done = await bs.run(one.connection_id)
            assert isinstance(done, Done)
            assert (done.report.problems, done.report.lost) == ((), ())
            return shown([trade async for trade in bs.trades("me", TradeFilter(cancelled=True))])

        assert await synced() == FRIDAY
        assert [trade.trade_date async for trade in bs.trades("me")] == [date(2026, 3, 23)] * 2
        # the days of a window are asked for by their dates: the one that ended on Friday evening is Friday's
        assert max(last for _, last in broker.asked) == "2026-03-19"
        broker.session = []
        clock.advance(seconds=(TUESDAY - EVENING).total_seconds())
        assert await synced() == AFTER
        assert max(last for _, last in broker.asked) == "2026-03-23"
        assert await synced() == AFTER


@pytest.mark.parametrize(
    ("window", "dates"),
    [
        # Sunday 17:00 to Monday 17:00, in winter and in summer
        (("2026-03-01T23:00", "2026-03-02T23:00"), ("2026-03-02", "2026-03-02")),
        (("2026-03-15T22:00", "2026-03-17T22:00"), ("2026-03-16", "2026-03-17")),
        # the night in which the clocks go forward
        (("2026-03-07T23:00", "2026-03-08T22:00"), ("2026-03-08", "2026-03-08")),
    ],
)
def test_a_day_that_begins_in_the_evening_is_that_of_the_date_to_come(
    window: tuple[str, str], dates: tuple[str, str]
) -> None:
    start, end = (datetime.fromisoformat(one).replace(tzinfo=UTC) for one in window)
    assert MADE["trade_dates"](TimeWindow(start, end)) == tuple(map(date.fromisoformat, dates))
