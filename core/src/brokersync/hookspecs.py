"""The hooks a plugin implements; the only file that knows pluggy's decorators."""

from __future__ import annotations

import sys
from typing import Final

import pluggy

from brokersync.provider import ProviderSpec

PROJECT: Final = "brokersync"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def brokersync_provider(broker: str) -> ProviderSpec | None:
    """The plugin's code for this broker key, or `None` when it is not one of the plugin's.

    Asked of one plugin at a time, and not before somebody asks for the broker.
    """


def new_manager() -> pluggy.PluginManager:
    """A manager of its own for each registry; nothing is registered globally."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(sys.modules[__name__])
    return manager
