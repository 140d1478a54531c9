"""Syncs whose pages take more calls than their broker's limit lets go at once."""

from __future__ import annotations

from pathlib import Path

from brokersync.records import Deferred, Done

from .broker import MANIFEST, Broker, open_desk

_SIX_A_MINUTE = '\n[[limits]]\nscope = "app"\namount = 1\nperiod = "10s"\n'
_LIMITED = MANIFEST.replace("[[sources]]", f"{_SIX_A_MINUTE}\n[[sources]]")


async def test_a_page_of_several_calls_is_asked_for_once_however_long_its_limit_makes_it(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, Broker(calls=4), manifest=_LIMITED)
    async with desk.bs:
        for connection in await desk.connect("ann", "bob", "cid"):
            while isinstance(outcome := await desk.bs.run(connection), Deferred):
                desk.clock.advance(seconds=(outcome.until - desk.clock.now()).total_seconds())
                assert len(desk.broker.asked) <= 3 * 4
            assert isinstance(outcome, Done)
    assert len(desk.broker.asked) == 3 * 4


async def test_between_two_pages_a_long_wait_gives_the_place_up(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, Broker(calls=4, pages=2), manifest=_LIMITED)
    async with desk.bs:
        [connection] = await desk.connect("ann")
        assert isinstance(await desk.bs.run(connection), Deferred)
    assert len(desk.broker.asked) == 4


async def test_a_wait_above_that_of_a_page_gives_the_place_up_in_its_middle(tmp_path: Path) -> None:
    slow = _LIMITED.replace("10s", "61s")
    desk = open_desk(tmp_path, Broker(calls=2), manifest=slow)
    async with desk.bs:
        [connection] = await desk.connect("ann")
        assert isinstance(await desk.bs.run(connection), Deferred)
    assert len(desk.broker.asked) == 1
