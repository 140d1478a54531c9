"""The plugin under brokersync's contract suite, over the sandbox: what every plugin has to keep."""

from __future__ import annotations

from {{ cookiecutter.__package }}.suite import Suite as TestContract

__all__ = ["TestContract"]
