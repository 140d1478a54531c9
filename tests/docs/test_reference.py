"""The reference and the code can not disagree silently."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import attrs

from brokersync import errors, events, hookspecs
from brokersync.cli.app import build
from brokersync.cli.existing_rows import OPTIONAL, REQUIRED
from brokersync.cli.exits import Exit
from brokersync.config import (
    BrokerSettings,
    FleetSettings,
    GrantSettings,
    HttpSettings,
    KeepSettings,
    QueueSettings,
    RetrySettings,
    Settings,
)
from brokersync.governance_settings import GovernanceSettings
from brokersync.limits import RateLimit
from brokersync.matching import Doubt, ExistingTrade, Match, MatchRule, Verdict
from brokersync.telemetry.metrics import INSTRUMENTS
from brokersync.types import BrokerTrade, Instrument

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    found = re.search(rf"^#+ {re.escape(title)}$(.*?)(?=^#+ |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    assert found, f"the reference has no section {title!r}"
    return found[1]


def _first_cells(title: str) -> set[str]:
    rows = [line.split("|")[1] for line in _section(title).splitlines() if line.startswith("|")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_every_error_is_in_the_reference() -> None:
    tree = {
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, errors.BrokerError)
    }
    assert _first_cells("Errors") == tree


def test_every_event_is_in_the_reference() -> None:
    tree = {name for name, kind in vars(events).items() if inspect.isclass(kind) and issubclass(kind, events.Event)}
    assert _first_cells("Events") == tree - {"Event"}


def test_every_metric_is_in_the_reference_with_its_unit() -> None:
    rows = [line.split("|") for line in _section("Metrics").splitlines() if line.startswith("| `")]
    told = {(row[1].strip(" `"), row[2].strip()) for row in rows}
    assert told == {(one.name, one.unit) for one in INSTRUMENTS}


_NESTED = {
    "http": HttpSettings,
    "retry": RetrySettings,
    "grants": GrantSettings,
    "keep": KeepSettings,
    "fleet": FleetSettings,
    "queue": QueueSettings,
    "governance": GovernanceSettings,
    "brokers.KEY": BrokerSettings,
}


def test_every_setting_is_in_the_reference() -> None:
    plain = {field.name for field in attrs.fields(Settings)} - {name.partition(".")[0] for name in _NESTED}
    nested = {f"{prefix}.{field.name}" for prefix, kind in _NESTED.items() for field in attrs.fields(kind)}
    names = {name for name in _first_cells("Settings") if not name.startswith("BROKERSYNC_")}
    assert names == plain | nested


def test_every_key_of_a_limit_is_in_the_reference() -> None:
    assert _first_cells("A limit") >= {field.name for field in attrs.fields(RateLimit)}


def test_every_command_is_in_the_reference() -> None:
    documented = {name.split()[1] for name in _first_cells("Commands")}
    assert documented == {name for name in build() if not name.startswith("-")}


def test_every_exit_code_is_in_the_reference() -> None:
    codes = {int(line.split("|")[1]) for line in _section("Exit codes").splitlines() if re.match(r"\| \d", line)}
    assert codes == {int(code) for code in Exit}


def test_every_name_of_a_trade_is_in_the_reference() -> None:
    section = _section("A line of `trades --format jsonl`")
    names = {field.name for field in attrs.fields(BrokerTrade)} - {"raw"}
    assert _first_cells("A line of `trades --format jsonl`") == names
    for field in attrs.fields(Instrument):
        assert f"`{field.name}`" in section


def test_every_column_and_answer_of_match_is_in_the_reference() -> None:
    assert _first_cells("A file for `match`") == {field.name for field in attrs.fields(ExistingTrade)}
    assert {*REQUIRED, *OPTIONAL} == {field.name for field in attrs.fields(ExistingTrade)}
    assert _first_cells("An answer of `match`") == {field.name for field in attrs.fields(Match)}
    section = _section("An answer of `match`")
    for word in (*Verdict, *MatchRule, *Doubt):
        assert f"`{word}`" in section


def test_every_hook_is_in_the_reference() -> None:
    hooks = {name for name, value in vars(hookspecs).items() if hasattr(value, "brokersync_spec")}
    assert {name.partition("(")[0] for name in _first_cells("Hooks")} == hooks
