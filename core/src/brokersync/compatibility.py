"""Which versions of the contract this brokersync speaks."""

from __future__ import annotations

from typing import Final

CONTRACT_VERSION: Final = 0


def contract_fault(contract: int) -> tuple[str, str] | None:
    """Why a plugin written for `contract` can not run here, and the remedy; `None` when it can."""
    if contract == CONTRACT_VERSION:
        return None
    if contract > CONTRACT_VERSION:
        age, remedy = "newer", "Update brokersync."
    else:
        age, remedy = "older", "Update the plugin."
    return f"it is written for contract {contract}, which is {age} than this brokersync's {CONTRACT_VERSION}", remedy
