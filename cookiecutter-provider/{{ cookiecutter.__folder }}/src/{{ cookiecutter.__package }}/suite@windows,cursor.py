"""The plugin under brokersync's contract suite, for its own tests and for `brokersync verify`.

A check that fails for a known reason is left out for a while by a `Bypass` with the reason and a day.
"""

from __future__ import annotations

from brokersync.testing import ProviderContract


class Suite(ProviderContract):
    key = "{{ cookiecutter.key }}"
