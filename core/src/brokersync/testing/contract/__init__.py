"""The contract suite: an author names a broker, and inherits the checks of the contract."""

from __future__ import annotations

from typing import Any

from brokersync.testing.contract.base import ContractBase
from brokersync.testing.contract.bypasses import Bypass
from brokersync.testing.contract.checks_accounts import AccountChecks
from brokersync.testing.contract.checks_changes import ChangeChecks
from brokersync.testing.contract.checks_consent import ConsentChecks
from brokersync.testing.contract.checks_digits import DigitChecks
from brokersync.testing.contract.checks_faults import FaultChecks
from brokersync.testing.contract.checks_files import FileChecks
from brokersync.testing.contract.checks_limits import LimitChecks
from brokersync.testing.contract.checks_login import LoginChecks
from brokersync.testing.contract.checks_manifest import ManifestChecks
from brokersync.testing.contract.checks_money import MoneyChecks
from brokersync.testing.contract.checks_package import PackageChecks
from brokersync.testing.contract.checks_paging import PagingChecks
from brokersync.testing.contract.checks_reading import ReadingChecks
from brokersync.testing.contract.checks_recordings import RecordingChecks
from brokersync.testing.contract.checks_requests import RequestChecks
from brokersync.testing.contract.checks_rows import RowChecks
from brokersync.testing.contract.expecting import BrokenContract
from brokersync.testing.contract.stage import Stage

__all__ = ["BrokenContract", "Bypass", "ProviderContract", "Stage"]

_THE_AUTHORS = frozenset(
    {
        "key",
        "simulated",
        "bypasses",
        "registry",
        "broker",
        "log_in",
        "connect",
        "requests_file",
        "recordings",
        "statements",
        "statements_end",
        "wall_times",
    }
)
_THE_PLUGINS = frozenset({"seed", "rows", "writes", "latest"})
_CHECK = "test_"


class ProviderContract(
    PackageChecks,
    ManifestChecks,
    LoginChecks,
    ConsentChecks,
    AccountChecks,
    RowChecks,
    MoneyChecks,
    ChangeChecks,
    DigitChecks,
    ReadingChecks,
    PagingChecks,
    FaultChecks,
    LimitChecks,
    FileChecks,
    RequestChecks,
    RecordingChecks,
    ContractBase,
):
    """Every check of the contract. A class of yours that is named `Test...` and has a `key` runs them all.

    What provider.toml does not declare is not asked for. A check is left out by a `Bypass` only, and none can be
    overridden: that raises `TypeError` where the class is made, and fails each of its checks where it is done later.
    """

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if found := cls.overridden():
            raise TypeError(
                f"{'; '.join(found)}. Checks stay as they are: leave one out for a while by a Bypass in `bypasses`,"
                f" and set only {', '.join(sorted(_THE_AUTHORS))}."
            )

    @classmethod
    def checks(cls) -> tuple[str, ...]:
        """The names of all checks."""
        return tuple(name for name in dir(ProviderContract) if name.startswith(_CHECK))

    @classmethod
    def overridden(cls) -> list[str]:
        """What of the suite is not its own any more, in words."""
        found = []
        for name in dir(ProviderContract):
            if name in _THE_AUTHORS or (name.startswith("__") and name != "__init_subclass__"):
                continue
            mine = next(vars(one)[name] for one in ProviderContract.__mro__ if name in vars(one))
            theirs = next(vars(one)[name] for one in cls.__mro__ if name in vars(one))
            if theirs is not mine and name not in _THE_PLUGINS:
                found.append(f"{cls.__name__} overrides {name}")
        return found
