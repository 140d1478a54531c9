"""The page of the contract suite tells of each check and each fault what the code says of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from brokersync.testing import FAULTS, FaultServer, ProviderContract, run_sandbox
from brokersync.testing.contract import _THE_AUTHORS
from brokersync.testing.contract.checks_faults import MEANS
from brokersync.testing.contract.checks_manifest import CAPABILITIES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "contract-suite.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_each_check_stands_there_with_its_sentence() -> None:
    told = dict(re.findall(r"^\| `(test_\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert told == {name: getattr(ProviderContract, name).__doc__.splitlines()[0] for name in ProviderContract.checks()}


def test_each_fault_stands_there_once() -> None:
    table = PAGE.partition("| fault | shows |")[2].partition("\n\n")[0]
    told = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(told) == sorted(FAULTS) == sorted(MEANS)


def test_what_an_author_may_set_and_the_capabilities_stand_there() -> None:
    table = PAGE.partition("| name | is |")[2].partition("\n\n")[0]
    assert {*re.findall(r"^\| `(\w+)", table, re.MULTILINE)} == _THE_AUTHORS
    for name in CAPABILITIES:
        assert f"`{name}`" in PAGE


@pytest.mark.parametrize("snippet", SNIPPETS[:2])
def test_the_lines_of_an_author_make_a_contract(snippet: str) -> None:
    made: dict[str, type[ProviderContract]] = {}
    exec(snippet, made)
    assert made["TestContract"].key == "acme"
    assert not made["TestContract"].overridden()


async def test_the_lines_with_a_fault_server_run(capsys: pytest.CaptureFixture[str]) -> None:
    made: dict[str, Any] = {"FaultServer": FaultServer, "run_sandbox": run_sandbox}
    exec(SNIPPETS[2], made)
    await made["main"]()
    assert capsys.readouterr().out == "\n"
