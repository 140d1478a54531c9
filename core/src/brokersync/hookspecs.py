"""The hooks a plugin implements; the only file that knows pluggy's decorators."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Final

import pluggy

from brokersync.findings import Finding
from brokersync.provider import ProviderSpec

PROJECT: Final = "brokersync"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def brokersync_provider(broker: str) -> ProviderSpec | None:
    """The plugin's code for this broker key, or `None` when it is not one of the plugin's.

    Asked of one plugin at a time, and not before somebody asks for the broker.
    """


@hookspec
def brokersync_doctor(broker: str, settings: Mapping[str, str]) -> Sequence[Finding] | None:
    """What is wrong with this machine or with what the operator set for this broker; no finding where all is well.

    `settings` are the operator's fields of the manifest as they stand in the configuration. It is quick, asks nobody
    over the network, and shows no secret.
    """


def new_manager() -> pluggy.PluginManager:
    """A manager of its own for each registry; nothing is registered globally."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(sys.modules[__name__])
    return manager
