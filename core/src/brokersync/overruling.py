"""What the operator says of brokers, looked at beside what is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from brokersync.catalogue import catalogue
from brokersync.config import Settings
from brokersync.converter import mistaken
from brokersync.errors import BrokerConfigError
from brokersync.fields import field_mistakes
from brokersync.hosts import HostMap
from brokersync.manifest import Manifest
from brokersync.registry import ProviderRegistry


def mistakes_of_brokers(data: Mapping[str, Any], registry: ProviderRegistry | None = None) -> Iterator[str]:
    """A line for each broker of a configuration's data that is unknown, and for each mistaken host or field of one.

    What has the wrong form altogether is not told here. Without `registry` it is that of what is installed.
    """
    brokers = data.get("brokers")
    if not isinstance(brokers, Mapping) or not brokers:
        return
    registry = registry or ProviderRegistry.installed()
    for key, told in brokers.items():
        if key not in registry.keys():  # noqa: SIM118  it is no mapping
            yield from _not_known(key, registry)
        elif isinstance(told, Mapping) and (manifest := _manifest(key, registry)) is not None:
            yield from _of_broker(f"brokers[{key}]", told, manifest)


def check_brokers(settings: Settings, registry: ProviderRegistry) -> None:
    """Raises `BrokerConfigError` that names all that is mistaken in what the settings say of brokers."""
    told = {key: {"hosts": one.hosts, "settings": one.settings} for key, one in settings.brokers.items()}
    found = [*mistakes_of_brokers({"brokers": told}, registry)]
    if found:
        raise mistaken("The configuration", found)


def _not_known(key: str, registry: ProviderRegistry) -> Iterator[str]:
    known = {*registry.keys(), *catalogue()}
    if key in known:
        return
    if (broker := _manifest(key, registry)) is not None:
        yield f"brokers: {key!r} is another name of {broker.key!r}; say it of that"
        return
    close = get_close_matches(key.lower(), known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"installed are {', '.join(registry.keys()) or 'none'}"
    yield f"brokers: unknown {key!r}; {hint}"


def _manifest(key: str, registry: ProviderRegistry) -> Manifest | None:
    try:
        return registry.manifest(key)
    except BrokerConfigError:
        return None  # a plugin that is refused is told of when it is asked for


def _of_broker(path: str, told: Mapping[str, Any], manifest: Manifest) -> Iterator[str]:
    for role, url in _texts(told.get("hosts")).items():
        try:
            HostMap(manifest, {role: url})
        except BrokerConfigError as error:
            yield f"{path}.hosts[{role}]: {str(error).rstrip('.')}"
    for mistake in field_mistakes(manifest.operator_fields, _texts(told.get("settings"))):
        name, _, what = mistake.partition(" ")
        yield f"{path}.settings.{name}: {what}"


def _texts(told: object) -> Mapping[str, str]:
    if not isinstance(told, Mapping):
        return {}
    return {name: value for name, value in told.items() if isinstance(value, str)}
