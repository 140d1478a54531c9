"""For tests and first steps: the brokers' sandboxes on loopback, a server of faults, and the contract suite."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brokersync.testing.contract import Bypass, ProviderContract
    from brokersync.testing.fault_server import FaultServer
    from brokersync.testing.faults import FAULTS, Fault
    from brokersync.testing.sandbox_server import RunningSandbox, answer_page, run_sandbox, serve_sandbox

_HOME = {
    "FAULTS": "faults",
    "Bypass": "contract",
    "Fault": "faults",
    "FaultServer": "fault_server",
    "ProviderContract": "contract",
    "RunningSandbox": "sandbox_server",
    "answer_page": "sandbox_server",
    "run_sandbox": "sandbox_server",
    "serve_sandbox": "sandbox_server",
}

__all__ = [
    "FAULTS",
    "Bypass",
    "Fault",
    "FaultServer",
    "ProviderContract",
    "RunningSandbox",
    "answer_page",
    "run_sandbox",
    "serve_sandbox",
]


def __getattr__(name: str) -> Any:
    """Each name is imported when it is first used: a demo needs no pytest, and pytest's start no HTTP."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
