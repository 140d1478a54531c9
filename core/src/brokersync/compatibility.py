"""Which versions of the contract this brokersync speaks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

CONTRACT_VERSION: Final = 1

# Every version that is spoken; of one that is to end, the release of brokersync that does not speak it any more.
SUPPORTED: Final[Mapping[int, str | None]] = MappingProxyType({0: "0.3", 1: None})


def contract_fault(contract: int) -> tuple[str, str] | None:
    """Why a plugin written for `contract` can not run here, and the remedy; `None` when it can."""
    if contract in SUPPORTED:
        return None
    if contract > CONTRACT_VERSION:
        age, remedy = "newer", "Update brokersync: pip install --upgrade brokersync."
    else:
        age, remedy = "older", "Update the plugin, or use a brokersync that still speaks it."
    return f"it is written for contract {contract}, which is {age} than this brokersync's {CONTRACT_VERSION}", remedy


def deprecation(contract: int) -> str:
    """What a user of a plugin for an old contract has to know, as a sentence; empty for one that goes on."""
    ends = SUPPORTED.get(contract)
    if ends is None:
        return ""
    return f"It is written for contract {contract}, which brokersync {ends} will not speak any more."
