"""The contract suite of an installed plugin: the class that its manifest names, or the plain one."""

from __future__ import annotations

from importlib import import_module

from brokersync.config import load_settings
from brokersync.errors import BrokerPluginError
from brokersync.registry import ProviderRegistry
from brokersync.testing.contract import ProviderContract


def suite_of(key: str, registry: ProviderRegistry | None = None) -> type[ProviderContract]:
    """Raises `BrokerPluginError` where the manifest names a class that is none of the suite's, or of another broker."""
    manifest = (registry or ProviderRegistry.installed(load_settings())).load(key).manifest
    if manifest.suite is None:
        return type("TestContract", (ProviderContract,), {"key": key})
    module, _, name = manifest.suite.partition(":")
    try:
        suite = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise _refused(key, f"{manifest.suite} can not be loaded: {error}") from error
    if not isinstance(suite, type) or not issubclass(suite, ProviderContract):
        raise _refused(key, f"{manifest.suite} is no ProviderContract")
    if suite.key != key:
        raise _refused(key, f"{manifest.suite} is the suite of {suite.key!r}")
    return suite


def _refused(key: str, why: str) -> BrokerPluginError:
    return BrokerPluginError(
        f"The contract suite of {key!r} can not be run: {why}.",
        remedy="Correct `suite` in provider.toml, or leave it out.",
        provider=key,
    )
