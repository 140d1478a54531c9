"""`verify` at a terminal, and what `providers` shows of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync.discovery import Offer, discover
from brokersync.levels import Level
from brokersync.manifest import Manifest
from brokersync.registry import ProviderRegistry
from brokersync.testing.contract import ProviderContract
from brokersync.testing.verifying import run
from brokersync.testing.verifying.levels import Outcome, judged, reached
from brokersync.testing.verifying.run import Report
from brokersync.verified import Verified, keep_verified, load_verified, plugin_files_hash

Run = Callable[..., Any]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    return tmp_path / "brokersync"


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """How the checks end, in place of a run of a minute."""
    found = [Outcome(check=name, outcome="passed") for name in ProviderContract.checks()]

    async def told(offer: Offer, rows: int | None) -> list[Outcome]:
        return found

    monkeypatch.setattr(run, "_outcomes", told)
    return found


def let(outcomes: list[Outcome], check: str, outcome: str, why: str) -> None:
    outcomes[:] = [attrs.evolve(one, outcome=outcome, why=why) if one.check == check else one for one in outcomes]


def test_the_level_is_told_kept_and_shown_by_providers(brokersync: Run, data: Path, outcomes: list[Outcome]) -> None:
    assert "not yet" in brokersync("providers").out
    answer = brokersync("verify", "ibkr", "--level", "gold")
    assert answer.code == 0, answer
    assert "ibkr, brokersync-ibkr 0.1.0: gold" in answer.out
    assert load_verified(data)["ibkr"].level == "gold"
    (row,) = (line for line in brokersync("providers").out.splitlines() if line.startswith("ibkr"))
    assert "gold" in row
    told = {one["key"]: one["verified"] for one in brokersync("providers", "--json").document["providers"]}
    assert (told["ibkr"]["level"], told["ibkr"]["void"]) == ("gold", False)
    assert told["tradovate"] is None
    assert "quality: gold, verified here on" in brokersync("providers", "ibkr").out


def test_a_level_of_a_plugin_that_is_installed_in_place_is_not_that_of_its_wheel(
    brokersync: Run, data: Path, outcomes: list[Outcome]
) -> None:
    answer = brokersync("verify", "ibkr")
    assert "A wheel has others beside, and another hash: verify the wheel" in " ".join(answer.err.split())
    assert brokersync("verify", "ibkr", "--json").document["in_place"] is True


def test_what_fails_is_told_for_its_level_with_what_the_next_one_needs(
    brokersync: Run, data: Path, outcomes: list[Outcome]
) -> None:
    let(outcomes, "test_windows_may_be_cut_anywhere", "failed", "two halves hold 3 rows, and the whole 4")
    answer = brokersync("verify", "ibkr")
    assert answer.code == 0
    assert ": silver\n" in answer.out
    assert "gold fails:\n  test_windows_may_be_cut_anywhere: two halves hold 3 rows, and the whole 4" in answer.out
    assert "For gold:" in answer.out
    assert brokersync("verify", "ibkr", "--level", "gold").code == 3
    document = brokersync("verify", "ibkr", "--json").document
    assert [one["reached"] for one in document["levels"]] == [True, True, False]
    assert document["levels"][2]["failed"][0]["check"] == "test_windows_may_be_cut_anywhere"


def test_below_bronze_it_fails(brokersync: Run, data: Path, outcomes: list[Outcome]) -> None:
    let(outcomes, "test_ids_keep_every_digit", "failed", "it lost one")
    assert brokersync("verify", "ibkr").code == 3


def test_other_files_than_those_that_were_tested_void_the_level(brokersync: Run, data: Path) -> None:
    (offer,) = (one for one in discover().offers if one.key == "ibkr")
    tested = Verified(
        key="ibkr",
        distribution=offer.distribution,
        version=offer.version,
        level=Level.GOLD,
        files="0" * 64,
        at=datetime(2026, 3, 4, tzinfo=UTC),
        by="0.1.0",
    )
    keep_verified(data, tested)
    assert "void (was gold)" in brokersync("providers").out
    assert (
        "quality: void, since its files have changed; it was gold on 2026-03-04" in brokersync("providers", "ibkr").out
    )
    told = {one["key"]: one["verified"] for one in brokersync("providers", "--json").document["providers"]}
    assert (told["ibkr"]["level"], told["ibkr"]["void"]) == ("none", True)
    keep_verified(data, attrs.evolve(tested, files=plugin_files_hash(offer.distribution, offer.package)))
    assert "void" not in brokersync("providers").out


def test_what_a_plugin_says_of_itself_is_shown_as_a_claim(brokersync: Run, data: Path) -> None:
    assert "quality: not verified here (brokersync verify ibkr); it claims gold" in brokersync("providers", "ibkr").out
    assert brokersync("providers", "ibkr", "--json").document["verified"] is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"ibkr": 1}', '{"ibkr": {"level": "platinum"}}'])
def test_a_broken_file_of_levels_is_as_none(brokersync: Run, data: Path, text: str) -> None:
    data.mkdir()
    (data / "verified.json").write_text(text)
    assert "not yet" in brokersync("providers").out


def test_a_broker_that_is_not_installed_is_told(brokersync: Run, data: Path) -> None:
    answer = brokersync("verify", "nosuchbroker")
    assert answer.code == 3
    assert "nosuchbroker" in answer.err


def test_without_pytest_it_says_what_to_install(brokersync: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "find_spec", lambda _: None)
    for command in ("verify", "record"):
        answer = brokersync(command, "ibkr")
        assert answer.code == 3
        assert "pip install 'brokersync[testing]'" in answer.err


def test_a_report_names_what_was_let_off(data: Path) -> None:
    manifest: Manifest = ProviderRegistry.installed().manifest("ibkr")
    found = [Outcome(check=name, outcome="passed") for name in ProviderContract.checks()]
    let(found, "test_equal_fills_stay_two", "exempt", "until 2027-01-31: known")
    levels = judged(found, manifest)
    report = Report(
        verified=Verified(
            key="ibkr", distribution="d", version="1", level=reached(levels), files="", by="0.1.0",
            at=datetime(2026, 3, 4, tzinfo=UTC), exempt=("test_equal_fills_stay_two: until 2027-01-31: known",),
        ),
        levels=levels,
        took=timedelta(seconds=1),
    )  # fmt: skip
    from brokersync.cli.verify import as_json

    assert as_json(report)["levels"][0]["exempt"] == [
        {"check": "test_equal_fills_stay_two", "why": "until 2027-01-31: known"}
    ]


@pytest.mark.parametrize("key", ["ibkr", "tradovate"])
def test_the_files_that_are_tested_have_the_hash_that_is_approved(brokersync: Run, key: str) -> None:
    rows = {row["key"]: row for row in brokersync("providers", "list", "--json").document["providers"]}
    assert plugin_files_hash(f"brokersync-{key}", f"brokersync_{key}") == rows[key]["files"]


def test_what_to_do_for_the_next_level_is_what_keeps_it_back(
    brokersync: Run, data: Path, outcomes: list[Outcome]
) -> None:
    let(outcomes, "test_a_hundred_thousand_rows_fit_in_memory", "skipped", "not tried: no row is known")
    answer = brokersync("verify", "ibkr")
    assert "ibkr, brokersync-ibkr 0.1.0: silver" in answer.out
    assert "For gold: give it what it lacks; what could not be tried says what the suite looked for." in answer.out
    assert "mend" not in answer.out
    let(outcomes, "test_windows_may_be_cut_anywhere", "failed", "it does not")
    assert "For gold: mend what failed, and give it what it lacks" in brokersync("verify", "ibkr").out
