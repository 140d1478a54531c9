"""A plugin's level is found out by running its suite, and holds for the files that were tested."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest

from brokersync.discovery import Offer, discover
from brokersync.errors import BrokerConfigError, BrokerPluginError
from brokersync.levels import Level
from brokersync.registry import ProviderRegistry
from brokersync.testing.contract import ProviderContract
from brokersync.testing.recording.recorder import make_recording, take_session
from brokersync.testing.recording.recording import write
from brokersync.testing.verifying import run
from brokersync.testing.verifying.levels import Outcome, judged, level_of, reached
from brokersync.testing.verifying.run import Report, check_tools, verify
from brokersync.testing.verifying.suite import suite_of
from brokersync.verified import holds, keep_verified, load_verified

from .variants import _HEAD, Defect, defects, install

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
_HARMLESS = '\n[recording]\nharmless = ["kind", "side", "symbol", "currency", "multiplier"]\n'


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Offer]:
    """Installs a copy of the toy that names its suite, for this process and those it starts."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    def made(number: int, defect: Defect | None = None) -> Offer:
        key = install(tmp_path, number, defect)
        package = tmp_path / f"toybroker{number}"
        (package / "suite.py").write_text(f'{_HEAD}class Suite(ToyContract):\n    key = "{key}"\n')
        manifest = package / "provider.toml"
        toml = manifest.read_text().replace('sandbox = "', f'suite = "{package.name}.suite:Suite"\nsandbox = "')
        manifest.write_text(toml + _HARMLESS)
        monkeypatch.delitem(sys.modules, package.name, raising=False)
        (offer,) = (one for one in discover().offers if one.key == key)
        return offer

    return made


async def verified(offer: Offer) -> Report:
    return await verify(offer, ProviderRegistry.installed().manifest(offer.key), NOW, rows=1000)


async def test_a_good_plugin_with_a_sandbox_is_gold_until_a_byte_of_it_changes(
    installed: Callable[..., Offer], tmp_path: Path
) -> None:
    offer = installed(71)
    report = await verified(offer)
    assert [str(one) for level in report.levels for one in level.failed] == []
    assert [lack for level in report.levels for lack in level.lacks] == []
    assert report.verified.level is Level.GOLD
    keep_verified(tmp_path / "data", report.verified)
    assert load_verified(tmp_path / "data") == {offer.key: report.verified}
    assert holds(report.verified, offer.package)
    client = tmp_path / offer.package / "client.py"
    client.write_text(client.read_text() + "\n")
    assert not holds(report.verified, offer.package)


async def test_a_plugin_without_a_sandbox_is_bronze_by_its_recordings(
    installed: Callable[..., Offer], tmp_path: Path
) -> None:
    offer = installed(72)
    package = tmp_path / offer.package
    async with suite_of(offer.key)().stage() as stage:
        taken = await take_session(
            stage.loaded,
            environment="live",
            settings=stage.settings,
            fields=stage.fields(),
            clock=stage.clock,
        )
        made = await make_recording(taken, stage.loaded, Random(3))
    assert (made.differences, made.sanitised.leaks) == ([], [])
    write(made.recording, package / "recordings" / "first")
    manifest = package / "provider.toml"
    manifest.write_text("\n".join(line for line in manifest.read_text().splitlines() if "sandbox" not in line))
    (package / "sandbox.py").unlink()
    shutil.rmtree(package / "__pycache__", ignore_errors=True)
    report = await verified(offer)
    bronze, _, gold = report.levels
    assert [str(one) for one in bronze.failed] == []
    assert bronze.passed > 20
    assert report.verified.level is Level.BRONZE
    assert any("a sandbox of its own" in lack for lack in gold.lacks)
    assert "was not recorded; the nearest is" in " ".join(str(one) for one in gold.not_tried)


async def test_a_defect_costs_the_levels_of_its_check_and_is_named(installed: Callable[..., Offer]) -> None:
    (defect,) = (one for one in defects() if one.name == "money goes through a float")
    report = await verified(installed(73, defect))
    assert report.verified.level is Level.NONE
    assert defect.check in {one.check for one in report.levels[0].failed}


async def test_a_class_of_another_broker_is_refused(installed: Callable[..., Offer], tmp_path: Path) -> None:
    offer = installed(74)
    suite = tmp_path / offer.package / "suite.py"
    suite.write_text(suite.read_text().replace(f'"{offer.key}"', '"other"'))
    with pytest.raises(BrokerPluginError, match="is the suite of 'other'"):
        suite_of(offer.key)


async def test_files_that_change_meanwhile_void_the_run(
    installed: Callable[..., Offer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = installed(75)

    async def changes(*_: object) -> list[Outcome]:
        (tmp_path / offer.package / "more.py").write_text("")
        return []

    monkeypatch.setattr(run, "_outcomes", changes)
    with pytest.raises(BrokerPluginError, match="its files have changed meanwhile"):
        await verified(offer)


def test_without_pytest_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "find_spec", lambda _: None)
    with pytest.raises(BrokerConfigError, match="needs pytest and pytest-asyncio") as caught:
        check_tools()
    assert "pip install 'brokersync[testing]'" in (caught.value.remedy or "")


MANIFEST = ProviderRegistry.installed().manifest("tradovate")
PASSED = [Outcome(check=name, outcome="passed") for name in ProviderContract.checks()]


def changed(check: str, outcome: str, why: str = "") -> list[Outcome]:
    return [attrs.evolve(one, outcome=outcome, why=why) if one.check == check else one for one in PASSED]


def level(outcomes: list[Outcome], **facts: Any) -> Level:
    return reached(judged(outcomes, attrs.evolve(MANIFEST, **facts)))


def test_each_check_belongs_to_one_level() -> None:
    by_level = {one: [name for name in ProviderContract.checks() if level_of(name) is one] for one in Level}
    assert not by_level[Level.NONE]
    assert all(len(by_level[one]) > 10 for one in (Level.BRONZE, Level.SILVER, Level.GOLD))


def test_all_that_passes_is_gold() -> None:
    assert level(PASSED) is Level.GOLD


@pytest.mark.parametrize(
    ("check", "left"),
    [
        ("test_ids_keep_every_digit", Level.NONE),
        ("test_a_fault_is_told_as_what_it_is", Level.BRONZE),
        ("test_windows_may_be_cut_anywhere", Level.SILVER),
    ],
)
def test_a_level_needs_each_of_its_checks_and_those_below(check: str, left: Level) -> None:
    assert level(changed(check, "failed", "it does not")) is left


def test_a_check_that_is_let_off_costs_nothing_and_is_told() -> None:
    levels = judged(changed("test_ids_keep_every_digit", "exempt", "until 2027"), MANIFEST)
    assert reached(levels) is Level.GOLD
    assert [one.check for one in levels[0].exempt] == ["test_ids_keep_every_digit"]


def test_what_gives_a_level_its_meaning_has_to_be_tried() -> None:
    outcomes = changed("test_windows_may_be_cut_anywhere", "skipped", "not tried: it was not recorded")
    assert level(outcomes) is Level.SILVER
    assert level(changed("test_windows_may_be_cut_anywhere", "skipped", "acme has no such thing")) is Level.GOLD


def test_a_limit_without_a_source_is_not_silver() -> None:
    limits = (attrs.evolve(MANIFEST.limits[0], source=""),)
    assert level(PASSED, limits=limits) is Level.BRONZE
    assert level(PASSED, limits=()) is Level.BRONZE


def test_without_a_sandbox_it_is_not_gold() -> None:
    assert level(PASSED, sandbox=None) is Level.SILVER


def test_a_plugin_that_was_given_nothing_to_read_has_no_level() -> None:
    outcomes = [attrs.evolve(one, outcome="skipped", why="not tried: nothing") for one in PASSED]
    assert level(outcomes) is Level.NONE
