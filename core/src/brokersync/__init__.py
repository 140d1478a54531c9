"""Import every execution of every user from every broker, through plugins that are installed separately.

The names for embedding. Plugin authors import `brokersync.plugin`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brokersync.config import Settings, load_settings
    from brokersync.consents import OpenConsent
    from brokersync.errors import (
        BrokerAPIError,
        BrokerAuthError,
        BrokerConfigError,
        BrokerDataUnavailableError,
        BrokerError,
        BrokerHeldError,
        BrokerInputNeededError,
        BrokerNotInstalledError,
        BrokerPluginError,
        BrokerRetryableError,
        FeedPositionError,
        StoreError,
    )
    from brokersync.factory import get_broker_provider
    from brokersync.incidents import Incident
    from brokersync.matching import ExistingTrade, Match
    from brokersync.records import Change, Connection, ConnectionState, Deferred, Done, Span, SyncReport
    from brokersync.registry import ProviderRegistry
    from brokersync.secret import Secret
    from brokersync.service import BrokerSync
    from brokersync.store import TradeFilter
    from brokersync.types import BrokerAccount, BrokerTrade, Fee, Instrument, TimeWindow

_HOME = {
    "BrokerAPIError": "errors",
    "BrokerAccount": "types",
    "BrokerAuthError": "errors",
    "BrokerConfigError": "errors",
    "BrokerDataUnavailableError": "errors",
    "BrokerError": "errors",
    "BrokerHeldError": "errors",
    "BrokerInputNeededError": "errors",
    "BrokerNotInstalledError": "errors",
    "BrokerPluginError": "errors",
    "BrokerRetryableError": "errors",
    "BrokerSync": "service",
    "BrokerTrade": "types",
    "Change": "records",
    "Connection": "records",
    "ConnectionState": "records",
    "Deferred": "records",
    "Done": "records",
    "ExistingTrade": "matching",
    "Fee": "types",
    "FeedPositionError": "errors",
    "Incident": "incidents",
    "Instrument": "types",
    "Match": "matching",
    "OpenConsent": "consents",
    "ProviderRegistry": "registry",
    "Secret": "secret",
    "Settings": "config",
    "Span": "records",
    "StoreError": "errors",
    "SyncReport": "records",
    "TimeWindow": "types",
    "TradeFilter": "store",
    "get_broker_provider": "factory",
    "load_settings": "config",
}

__all__ = [
    "BrokerAPIError",
    "BrokerAccount",
    "BrokerAuthError",
    "BrokerConfigError",
    "BrokerDataUnavailableError",
    "BrokerError",
    "BrokerHeldError",
    "BrokerInputNeededError",
    "BrokerNotInstalledError",
    "BrokerPluginError",
    "BrokerRetryableError",
    "BrokerSync",
    "BrokerTrade",
    "Change",
    "Connection",
    "ConnectionState",
    "Deferred",
    "Done",
    "ExistingTrade",
    "Fee",
    "FeedPositionError",
    "Incident",
    "Instrument",
    "Match",
    "OpenConsent",
    "ProviderRegistry",
    "Secret",
    "Settings",
    "Span",
    "StoreError",
    "SyncReport",
    "TimeWindow",
    "TradeFilter",
    "get_broker_provider",
    "load_settings",
]


def __getattr__(name: str) -> Any:
    """Each name is imported when it is first used, so that a listing does not pay for HTTP."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
