"""The page of corrections: its rows, as its code books them, are what it says, in every order and over weeks."""

from __future__ import annotations

import json
import re
import types
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any

import attrs
import pytest
from tests.embedding.broker import KEYS, VirtualClock

from brokersync import BrokerSync, ProviderRegistry
from brokersync.manifest import parse_manifests
from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerCredentials,
    BrokerTrade,
    CoveredSpan,
    ProviderContext,
    ProviderSpec,
    TradeBooking,
    TradePage,
    TradeRequest,
    hookimpl,
)
from brokersync.records import Done, KeptBooking
from brokersync.store import TradeFilter
from brokersync.sync.fold import fold

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "corrections.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
MADE: dict[str, Any] = {}
exec(compile(CODE, "docs/how-to/corrections.md", "exec"), MADE)
(SOURCE,) = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
BEGAN = datetime(2026, 3, 2, 20, tzinfo=UTC)

Rows = Sequence[Mapping[str, Any]]
EXAMPLES: list[tuple[Rows, str]] = [
    (json.loads(rows), told.strip())
    for rows, told in re.findall(r"```json\n(.*?)```.*?```text\n(.*?)```", PAGE, re.DOTALL)
]

MANIFEST = """
key = "acme"
display_name = "Acme"
contract = 1
environments = ["live"]
auth = ["none"]
licence = "MIT"
docs = "https://acme.example"
support = "https://acme.example"
transport = "none"
{source}
precedence = 1
look_back = "400d"
"""


def account_of(row: Mapping[str, Any]) -> str:
    return str(row.get("account", "A1"))


def booked(row: Mapping[str, Any]) -> TradeBooking:
    made = MADE["booking_of"](row, account_of(row))
    assert isinstance(made, TradeBooking)
    return made


def shown(trades: Iterable[BrokerTrade]) -> str:
    lines = []
    for one in sorted(trades, key=lambda trade: trade.account_id):
        costs = sum((fee.amount for fee in one.fees), Decimal(0))
        line = f"{one.trade_id} {one.status.value} {one.quantity} at {one.price}"
        lines.append(f"{line}, costs {costs}" if costs else line)
    return "\n".join(lines) or "nothing"


@pytest.mark.parametrize(("rows", "told"), EXAMPLES)
def test_each_example_comes_to_what_the_page_says_in_every_order(rows: Rows, told: str) -> None:
    for some in permutations(rows):
        kept = [KeptBooking(source="history", precedence=1, version=1, booking=booked(row)) for row in some]
        # core folds each account by itself
        accounts = {one.booking.account_id for one in kept}
        folded = [fold([one for one in kept if one.booking.account_id == name]).trades for name in accounts]
        assert shown(trade for trades in folded for trade in trades) == told


def test_the_page_has_an_example_of_each_effect() -> None:
    kinds = {row["kind"] for rows, _ in EXAMPLES for row in rows}
    assert kinds == {"fill", "correct", "bust", "settle"}
    assert len(EXAMPLES) == PAGE.count("```json")


def test_a_kind_that_is_unknown_is_no_guess() -> None:
    with pytest.raises(KeyError):
        MADE["booking_of"]({**EXAMPLES[0][0][0], "kind": "give_up"}, "A1")


@attrs.frozen(kw_only=True)
class Nothing(BrokerCredentials):
    pass


class Provider:
    """Posts one of its rows each week, and gives what was posted in the window."""

    def __init__(self, context: ProviderContext, rows: Rows) -> None:
        self._posted = [
            (BEGAN - timedelta(hours=1) + number * timedelta(days=7), row) for number, row in enumerate(rows)
        ]
        self._context = context

    async def authenticate(self, credentials: Nothing) -> AuthResult:
        return AuthResult(identity="ann")

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        return auth

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        return [BrokerAccount(account_id=name, environment="live") for name in ("A1", "A2")]

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        now, window = self._context.clock.now(), request.window
        (account,) = request.accounts
        posted = [(at, row) for at, row in self._posted if account_of(row) == account.account_id]
        rows = [row for at, row in posted if at in window and at <= now]
        covered = CoveredSpan(account_id=account.account_id, environment="live", window=window)
        yield TradePage(bookings=tuple(map(booked, rows)), covered=(covered,))

    async def aclose(self) -> None: ...


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("rows", "told"), EXAMPLES)
async def test_each_example_comes_to_it_when_its_rows_are_posted_over_weeks(
    tmp_path: Path, rows: Rows, told: str, turned: bool
) -> None:
    posted = rows[::-1] if turned else rows
    module = types.ModuleType("brokersync_acme")

    @hookimpl
    def brokersync_provider(broker: str) -> ProviderSpec | None:
        return ProviderSpec(credentials=Nothing, create=lambda context: Provider(context, posted))

    module.brokersync_provider = brokersync_provider  # type: ignore[attr-defined]  # a module made by hand
    registry, clock = ProviderRegistry(), VirtualClock(BEGAN)
    registry.register(module, *parse_manifests(MANIFEST.format(source=SOURCE), "the page"))
    async with BrokerSync.open(tmp_path / "store.db", registry=registry, keys=KEYS, clock=clock) as bs:
        connection = await bs.connect("acme", owner="me", fields={})
        for _ in posted:
            assert isinstance(await bs.run(connection.connection_id), Done)
            clock.advance(days=7)
        found = [one async for one in bs.trades("me", TradeFilter(cancelled=True))]
    assert shown(found) == told
