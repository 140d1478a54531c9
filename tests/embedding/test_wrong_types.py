"""A plugin that gives a field of a wrong type harms its own connection only, for no longer than until it is mended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from brokersync import BrokerPluginError, StoreError
from brokersync.matching import ExistingTrade, Verdict
from brokersync.plugin import AuthResult, BrokerTrade, Side, TradeBooking
from brokersync.records import ConnectionState, Done
from brokersync.store import contents

from .broker import KEY, NOW, Desk, a_bug, open_desk

HOUR = timedelta(hours=1)


def of(trade: Callable[[BrokerTrade], BrokerTrade], **facts: Any) -> Callable[[TradeBooking], TradeBooking]:
    return lambda row: TradeBooking.of(trade(_trade(row)), **facts)


def _trade(row: TradeBooking) -> BrokerTrade:
    assert row.trade is not None
    return row.trade


def changed(**facts: Any) -> Callable[[BrokerTrade], BrokerTrade]:
    return lambda trade: attrs.evolve(trade, **facts)


def let_pass(monkeypatch: pytest.MonkeyPatch, **wrong: Any) -> None:
    """Keep ann's second trade as a release did that looked at fewer types."""
    written = contents._text

    def text(data: dict[str, Any]) -> bytes:
        trade = data.get("trade", data)
        if (trade["account_id"], trade["trade_id"]) == ("a-ann", "0-1"):
            trade |= wrong
            data |= {"order": ("7",)} if "order" in data else {}
        return written(data)

    monkeypatch.setattr(contents, "_text", text)


async def trades(desk: Desk) -> dict[tuple[str, str], BrokerTrade]:
    return {(one.account_id, one.trade_id): one async for one in desk.bs.trades("alice")}


@pytest.mark.parametrize(
    ("booking", "said"),
    [
        (of(changed(order_id=7)), "BrokerTrade.order_id must be str or None, not int"),
        (of(changed(trade_date=NOW)), "BrokerTrade.trade_date must be date or None, not datetime"),
        (of(changed(), order=("7",)), "TradeBooking.order must be a tuple of int, but holds str"),
        (of(changed(trade_id="x" * 513)), "BrokerTrade.trade_id has 513 characters, and an id has 512 at most"),
        (of(changed(), booking_id="x" * 40_000), "TradeBooking.booking_id has 40000 characters, and an id has 512"),
        (of(changed(), raw={"a": b"1"}), "TradeBooking.raw must be a mapping of str to JSON values, but holds bytes"),
    ],
)
async def test_a_wrong_type_is_the_plugins_fault_and_nothing_of_its_page_is_kept(
    booking: Callable[[TradeBooking], TradeBooking], said: str, stores: Any
) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.booking = booking
        outcome = (await desk.bs.run_due())[name]
        assert isinstance(outcome, Done)
        (problem,) = outcome.report.problems
        assert (problem["error"], problem["fault"]) == ("BrokerPluginError", "plugin")
        assert said in problem["message"]
        one = await desk.bs.connection(name)
        assert (one.state, one.next_at) == (ConnectionState.NEEDS_OPERATOR, desk.clock.now() + HOUR)
        assert await desk.bs.run_due() == {}
        assert await trades(desk) == {}
        desk.clock.advance(hours=1)
        desk.broker.booking = of(changed())
        await desk.bs.run_due()
        assert len(await trades(desk)) == 2
        assert (await desk.bs.connection(name)).state is ConnectionState.ACTIVE


async def test_a_token_of_a_wrong_type_is_told_without_it(stores: Any) -> None:
    desk = open_desk(stores.place)
    desk.broker.login = lambda user: AuthResult(identity=user, access_token="tell nobody")  # type: ignore[arg-type]  # so
    async with desk.bs:
        with pytest.raises(
            BrokerPluginError, match=r"AuthResult\.access_token must be Secret or None, not str"
        ) as told:
            await desk.connect("ann")
        assert "tell nobody" not in repr((told.value, told.value.__cause__))


async def test_a_row_that_an_older_release_let_pass_hides_nothing_and_is_folded_as_what_it_tells(
    stores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name, _) = await desk.connect("ann", "ben")
        with monkeypatch.context() as older:
            let_pass(older, order_id=7, leg="two", related="other", trade_date=NOW)
            await desk.bs.run_due()
        known = await trades(desk)
        assert len(known) == 4
        odd = known["a-ann", "0-1"]
        assert (odd.order_id, odd.leg, odd.related, odd.trade_date) == ("7", None, ("other",), None)
        found = await desk.bs.explain("alice", account="a-ann", trade_id="0-1")
        assert found.verdict.startswith("It is there")
        row = ExistingTrade(
            row_id="1", provider=KEY, account_id="a-ben", symbol="ACME", side=Side.BUY, quantity=Decimal(1),
            price=Decimal(10), executed_at=odd.executed_at,
        )  # fmt: skip
        (matched,) = await desk.bs.match("alice", [row])
        assert matched.verdict is not Verdict.NEW
        # a second row of the same trade, with which the kept one is folded
        desk.broker.booking = lambda row: attrs.evolve(
            row, booking_id=f"again {row.booking_id}", order=(8,), trade=changed(order_id="8")(_trade(row))
        )
        desk.clock.advance(hours=7)
        await desk.bs.run(name)
        known = await trades(desk)
        assert len(known) == 4
        assert known["a-ann", "0-1"].order_id == "8"


async def test_a_row_of_which_nothing_true_can_be_told_is_named_with_the_way_out(
    stores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        with monkeypatch.context() as older:
            let_pass(older, side="hold")
            await desk.bs.run(name)
        with pytest.raises(StoreError, match="'0-1' of the account 'a-ann' can not be read") as told:
            await trades(desk)
        assert "--again-from" in told.value.remedy
        await desk.bs.run(name, again_from=NOW - timedelta(days=5))
        assert len(await trades(desk)) == 2


async def test_a_run_that_ends_with_a_bug_is_a_failure_and_is_due_again_in_an_hour(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        for failures in (1, 2):
            with a_bug():
                ends = await desk.bs.run_due()
            assert [type(end) for end in ends.values()] == [RuntimeError]
            one = await desk.bs.connection(name)
            assert (one.failures, one.next_at) == (failures, desk.clock.now() + HOUR)
            assert await desk.bs.run_due() == {}
            desk.clock.advance(hours=1)
        report = await desk.bs.last_report(name)
        assert report is not None
        assert "RuntimeError" in report["problems"][0]["message"]
        assert isinstance((await desk.bs.run_due())[name], Done)
