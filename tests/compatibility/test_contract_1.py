"""The wheel that is kept of version 1: it is what its script makes, and nothing that it leans on has gone."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from tests.compatibility.build_wheel import HOME, WHEEL, wheel
from tests.compatibility.surface import broken, surface

from brokersync.compatibility import CONTRACT_VERSION, SUPPORTED, contract_fault, deprecation

FROZEN: dict[str, Any] = json.loads((HOME / "brokersync_kept/surface.json").read_text(encoding="utf-8"))


def test_the_script_makes_the_wheel_that_is_kept() -> None:
    assert wheel() == WHEEL.read_bytes()


def test_nothing_of_version_1_has_gone_or_is_asked_for_anew() -> None:
    assert list(broken(FROZEN, surface())) == []


@pytest.mark.parametrize(
    ("path", "change", "told"),
    [
        (("names",), lambda found: found.remove("Secret"), "Secret is gone"),
        (("values", "Fee"), lambda found: found.pop("kind"), "Fee.kind is gone"),
        (("values", "Fee"), lambda found: found.update(payer=True), "Fee.payer has to be given now"),
        (("values", "TradePage"), lambda found: found.update(rows=True), "TradePage.rows has to be given now"),
        (("enums", "Side"), lambda found: found.update(BUY="b"), "Side.BUY is another"),
        (("errors", "BrokerTimeoutError"), lambda found: found.remove("BrokerRetryableError"), "no BrokerRetryable"),
        (("implemented", "BrokerProvider"), lambda found: found.update(get_positions={}), "get_positions is asked for"),
        (("implemented", "BrokerProvider", "get_trades"), lambda found: found.update(x=False), "called otherwise"),
        (("called", "Http", "request"), lambda found: found.pop("check"), "takes no check any more"),
        (("called", "Http", "request"), lambda found: found.update(purpose=True), "wants purpose now"),
        (("hooks", "brokersync_provider"), lambda found: found.clear(), "is not given broker any more"),
    ],
)
def test_what_would_break_a_plugin_is_named(path: tuple[str, ...], change: Any, told: str) -> None:
    now = copy.deepcopy(FROZEN)
    part = now
    for name in path:
        part = part[name]
    change(part)
    found = list(broken(FROZEN, now))
    assert len(found) == 1
    assert told in found[0]


def test_what_only_comes_to_the_contract_breaks_nothing() -> None:
    now = copy.deepcopy(FROZEN)
    now["names"].append("Position")
    now["values"]["Fee"]["payer"] = False
    now["enums"]["Side"]["SHORT"] = "short"
    now["called"]["Http"]["request"]["purpose"] = False
    now["called"]["Http"]["stream"] = {"url": True}
    now["hooks"]["brokersync_provider"].append("locale")
    assert list(broken(FROZEN, now)) == []


def test_version_1_is_spoken_and_does_not_end() -> None:
    assert CONTRACT_VERSION in SUPPORTED
    assert contract_fault(1) is None
    assert deprecation(1) == ""


def test_a_draft_is_spoken_for_a_while_and_says_until_when() -> None:
    assert contract_fault(0) is None
    assert "brokersync 0.3 will not speak any more" in deprecation(0)


@pytest.mark.parametrize(("contract", "age", "remedy"), [(2, "newer", "Update brokersync"), (-1, "older", "plugin")])
def test_any_other_version_is_refused_with_what_to_do(contract: int, age: str, remedy: str) -> None:
    fault = contract_fault(contract)
    assert fault is not None
    assert age in fault[0]
    assert remedy in fault[1]
