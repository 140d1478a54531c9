from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import attrs
import pytest

from brokersync.plugin import CONTRACT_VERSION, Manifest, ProviderSpec
from {{ cookiecutter.__package }} import brokersync_provider
from {{ cookiecutter.__package }}.credentials import {{ cookiecutter.__class }}Credentials
from {{ cookiecutter.__package }}.normalise import PROVIDER

PACKAGE = "{{ cookiecutter.__package }}"


def test_the_entry_point_is_named_like_the_manifests_key(manifest: Manifest) -> None:
    names = [one.name for one in entry_points(group="brokersync.providers") if one.value == PACKAGE]

    assert names == [manifest.key] == [PROVIDER]
    assert manifest.contract == CONTRACT_VERSION


def test_the_hook_answers_for_its_own_key_only() -> None:
    assert isinstance(brokersync_provider(PROVIDER), ProviderSpec)
    assert brokersync_provider("another") is None


def test_the_form_asks_for_exactly_the_credentials(manifest: Manifest) -> None:
    fields = {field.name for field in manifest.user_fields}

    assert fields == {field.name for field in attrs.fields({{ cookiecutter.__class }}Credentials)}


@pytest.mark.parametrize("module", ["aiohttp", f"{PACKAGE}.provider", f"{PACKAGE}.sandbox"])
def test_looking_at_the_plugin_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {PACKAGE}; print({module!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
