"""The pytest plugin of the contract suite: it applies bypasses, and lets no other way lead around a check."""

from __future__ import annotations

import sys
from collections.abc import Generator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from brokersync.testing.contract import ProviderContract

_CONTRACT: Final = "brokersync.testing.contract"
_MARKS: Final = ("skip", "skipif", "xfail")
_FAULT: Final = pytest.StashKey[str]()


def _leave_core_as_it_is() -> None:
    """Pytest rewrites the asserts of a plugin's whole distribution, of which core has nothing but work."""
    for finder in sys.meta_path:
        marked = getattr(finder, "_must_rewrite", None)
        if isinstance(marked, set):
            marked.discard("brokersync")


_leave_core_as_it_is()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("brokersync", "the contract suite of brokersync")
    group.addoption("--contract-seed", type=int, default=7, help="what the contract suite draws by (default: 7)")
    group.addoption("--contract-write", action="store_true", help="write the files of requests anew")
    group.addoption(
        "--contract-rows", type=int, default=100_000, help="how many rows must fit in memory (default: 100000)"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every check of every contract is looked at before it runs."""
    if _CONTRACT not in sys.modules:
        return
    seen: dict[type[ProviderContract], list[pytest.Item]] = {}
    for item in items:
        if (contract := _contract_of(item)) is not None:
            seen.setdefault(contract, []).append(item)
    for contract, checks in seen.items():
        _look_at(contract, checks)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What speaks against the way in which a check is run fails it, before any skip is asked."""
    if fault := item.stash.get(_FAULT, ""):
        pytest.fail(fault, pytrace=False)
    if (contract := _contract_of(item)) is not None:
        contract.latest = ""
        contract.seed = item.config.getoption("--contract-seed")
        contract.rows = item.config.getoption("--contract-rows")
        contract.writes = item.config.getoption("--contract-write")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure tells by what it can be seen again."""
    report = yield
    if report.failed and (contract := _contract_of(item)) is not None and contract.latest:
        told = f"seed {contract.seed}; the latest requests:\n{contract.latest}"
        report.sections.append(("brokersync's contract suite", told))
    return report


def _contract_of(item: pytest.Item) -> type[ProviderContract] | None:
    module = sys.modules.get(_CONTRACT)
    kind = getattr(item, "cls", None)
    if module is None or not isinstance(kind, type) or not issubclass(kind, module.ProviderContract):
        return None
    return kind


def _look_at(contract: type[ProviderContract], checks: list[pytest.Item]) -> None:
    today = datetime.now(UTC).date()
    faults = [f"{one}, which is none" for one in contract.overridden()]
    known = contract.checks()
    faults += [
        f"the bypass of {one.check!r}, which is none of the checks"
        for one in contract.bypasses
        if one.check.partition("[")[0] not in known
    ]
    for item in checks:
        if item.name.partition("[")[0] not in known:
            continue  # a test of the author's own
        bypass = next((one for one in contract.bypasses if one.covers(item.name)), None)
        expired = "" if bypass is None else bypass.fault(today)
        marks = [mark.name for mark in item.iter_markers() if mark.name in _MARKS]
        told = [
            *(f"{contract.__name__} can not be run: {fault}." for fault in faults),
            *([f"{expired[0].upper()}{expired[1:]}. Mend the plugin and take it out."] if expired else []),
            *(
                [f"The check is marked {marks[0]}; a check is left out by a Bypass in `bypasses` only."]
                if marks
                else []
            ),
        ]
        if told:
            item.stash[_FAULT] = "\n".join(told)
        elif bypass is not None:
            reason = f"until {bypass.until}: {bypass.reason}"
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
