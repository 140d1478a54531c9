"""Both plugins, recorded over real sockets: nothing private is written, and what is read again is the same."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest

from brokersync.plugin import Challenge
from brokersync.redaction import shows
from brokersync.testing import answer_page
from brokersync.testing.contract import BrokenContract, Stage
from brokersync.testing.contract.packaging import files_of
from brokersync.testing.contract.reading import Reading
from brokersync.testing.recording.consenting import AtThePage
from brokersync.testing.recording.recorder import Made, Taken, make_recording, replay, take_session
from brokersync.testing.recording.recording import load, texts_of, write
from brokersync.testing.verifying.suite import suite_of

from .conftest import Staged

BROKERS = ("ibkr", "tradovate")


async def taken_from(stage: Stage) -> Taken:
    return await take_session(
        stage.loaded,
        environment=stage.login.environment,
        settings=stage.settings,
        fields=stage.fields(),
        clock=stage.clock,
    )


async def made_of(stage: Stage, seed: int = 5) -> tuple[Taken, Made]:
    taken = await taken_from(stage)
    return taken, await make_recording(taken, stage.loaded, Random(seed))


def facts(readings: list[Reading] | Any, factor: int) -> list[tuple[Any, ...]]:
    return sorted(
        (
            (trade.executed_at, trade.side, trade.quantity, trade.instrument.symbol, trade.price * factor, trade.event)
            for reading in readings
            for trade in reading.trades
        ),
        key=repr,
    )


def without_zeros(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [tuple(one.normalize() if isinstance(one, Decimal) else one for one in row) for row in rows]


@pytest.mark.parametrize("key", BROKERS)
async def test_the_replayed_reading_gives_the_same_trades(staged: Staged, key: str) -> None:
    async with staged(key) as stage:
        taken, made = await made_of(stage)
        assert made.differences == []
        again, missed = await replay(made.recording, stage.loaded)
    assert missed == []
    before = without_zeros(facts(taken.readings, made.sanitised.factor))
    assert len(before) > 50
    assert sorted(without_zeros(facts(again, 1)), key=repr) == sorted(before, key=repr)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("key", BROKERS)
async def test_nothing_private_is_written(staged: Staged, key: str, seed: int) -> None:
    async with staged(key, seed=seed) as stage:
        taken, made = await made_of(stage, seed)
        secrets, fields = stage.secrets, stage.login.fields
    assert [str(leak) for leak in made.sanitised.leaks] == []
    text = "\n".join(texts_of(made.recording).values())
    assert [one for one in secrets if shows(text, one)] == []
    trades = [trade for reading in taken.readings for trade in reading.trades]
    told = " ".join(f"{one.trade_id} {one.order_id} {one.account_id}" for one in trades)
    ids = {*re.findall(r"[0-9]{6,}|[0-9a-f]{8}", told)} | {*fields.values()} - {*secrets}
    assert len(ids) > 50
    assert sorted(one for one in ids if re.search(rf"(?<![0-9A-Za-z]){re.escape(one)}(?![0-9A-Za-z])", text)) == []


@pytest.mark.parametrize("key", BROKERS)
async def test_no_price_no_fee_and_no_cash_is_written_where_they_stood(staged: Staged, key: str) -> None:
    async with staged(key) as stage:
        taken, made = await made_of(stage)
    amounts = {
        amount.normalize()
        for reading in taken.readings
        for trade in reading.trades
        for amount in (trade.price, trade.net_cash, *(fee.amount for fee in trade.fees))
        if amount and amount != amount.to_integral_value()
    }
    assert len(amounts) > 10
    names = r"price|fee|commission|cash|proceeds|amount|tax|charge|cost"
    for text in made.recording.bodies.values():
        for name, value in re.findall(rf'(?i)"?(\w*(?:{names})\w*)"?[=:] ?"?(-?[0-9.]+)"', text):
            assert Decimal(value).normalize() not in amounts, f"{name} still is {value}"


async def test_a_login_at_the_brokers_own_page_is_recorded_and_replayed(staged: Staged, tmp_path: Path) -> None:
    async with staged("tradovate") as stage:

        async def ask(challenge: Challenge) -> dict[str, str]:
            return await answer_page(challenge.url or "", stage.login.page)

        taken = await take_session(
            stage.loaded,
            environment=stage.login.environment,
            settings=attrs.evolve(
                stage.settings,
                brokers={
                    "tradovate": attrs.evolve(
                        stage.settings.broker("tradovate"), settings=stage.sandbox.operator_fields
                    )
                },
            ),
            fields={},
            page=AtThePage("http://127.0.0.1:8765/", ask),
            clock=stage.clock,
        )
        made = await make_recording(taken, stage.loaded, Random(5))
    assert made.differences == []
    assert [str(leak) for leak in made.sanitised.leaks] == []
    text = "\n".join(texts_of(made.recording).values())
    assert [one for one in taken.session.secrets if shows(text, one)] == []
    assert len(taken.session.secrets) >= 5, "the app's secret, both tokens, the code and the state"
    write(made.recording, tmp_path / "first")
    assert load(tmp_path / "first").consent
    suite = type("TestContract", (suite_of("tradovate"),), {"recordings": tmp_path})()
    await suite.test_recordings_are_read_as_they_were()
    await suite.test_recordings_show_nothing_private()


@pytest.mark.parametrize("key", BROKERS)
async def test_the_suite_replays_what_lies_in_a_folder(staged: Staged, key: str, tmp_path: Path) -> None:
    async with staged(key) as stage:
        _, made = await made_of(stage)
        write(made.recording, tmp_path / "first")
    assert load(tmp_path / "first") == made.recording
    suite = type("TestContract", (suite_of(key),), {"recordings": tmp_path})()
    await suite.test_recordings_are_read_as_they_were()
    await suite.test_recordings_show_nothing_private()


async def test_a_reading_that_has_changed_is_told_with_the_trade(staged: Staged, tmp_path: Path) -> None:
    async with staged("tradovate") as stage:
        _, made = await made_of(stage)
    (first, *others) = made.recording.readings
    trades = ({**first.trades[0], "side": "hold"}, *first.trades[1:])
    changed = attrs.evolve(made.recording, readings=(attrs.evolve(first, trades=trades), *others))
    write(changed, tmp_path / "first")
    suite = type("TestContract", (suite_of("tradovate"),), {"recordings": tmp_path})()
    with pytest.raises(BrokenContract, match=r"gave the trade .*'side': 'hold'"):
        await suite.test_recordings_are_read_as_they_were()
    suite.writes = True
    with pytest.raises(BrokenContract, match="were written"):
        await suite.test_recordings_are_read_as_they_were()
    suite.writes = False
    await suite.test_recordings_are_read_as_they_were()


async def test_a_request_that_was_not_recorded_is_told_beside_the_nearest(staged: Staged, tmp_path: Path) -> None:
    async with staged("tradovate") as stage:
        _, made = await made_of(stage)
    left = tuple(one for one in made.recording.exchanges if "order/list" not in one.path)
    write(attrs.evolve(made.recording, exchanges=left), tmp_path / "first")
    suite = type("TestContract", (suite_of("tradovate"),), {"recordings": tmp_path})()
    with pytest.raises(BrokenContract, match=r"GET /demo/.*/order/list was not recorded; the nearest is GET .*list"):
        await suite.test_recordings_are_read_as_they_were()


async def test_what_the_plugin_goes_by_must_be_declared(staged: Staged) -> None:
    async with staged("tradovate") as stage:
        taken = await taken_from(stage)
        manifest = attrs.evolve(
            stage.manifest, recording=attrs.evolve(stage.manifest.recording, harmless=("action", "B/S"))
        )
        made = await make_recording(taken, attrs.evolve(stage.loaded, manifest=manifest), Random(1))
    assert made.differences


def test_a_plugin_names_no_field_harmless_that_its_code_never_names() -> None:
    for key in BROKERS:
        package = f"brokersync_{key}"
        code = "\n".join(path.read_text(encoding="utf-8") for path in files_of(package))
        manifest = suite_of(key)().manifest
        named = {one.rpartition(":")[2] for one in (*manifest.recording.harmless, *manifest.recording.amounts)}
        assert {name for name in named if name not in code} == set()
