from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import Any

import attrs

import brokersync_ibkr
from brokersync.plugin import CONTRACT_VERSION, LimitScope, Manifest, ProviderSpec
from brokersync_ibkr.credentials import FlexCredentials


def test_the_manifest_says_what_the_broker_can_do(manifest: Manifest) -> None:
    assert (manifest.key, manifest.contract, manifest.environments) == ("ibkr", CONTRACT_VERSION, ("live", "paper"))
    assert {source.name: source.precedence for source in manifest.sources} == {
        "activity": 40,
        "activity_file": 40,
        "confirmations": 20,
        "confirmations_file": 20,
    }
    assert [source.name for source in manifest.sources if source.files] == ["activity_file", "confirmations_file"]
    assert {source.calendar.zone for source in manifest.sources} == {"America/New_York"}


def test_the_running_day_is_asked_of_confirmations_only(manifest: Manifest) -> None:
    assert not manifest.source("activity").open_day
    assert manifest.source("confirmations").open_day
    assert manifest.source("activity").longest_window == timedelta(days=365)
    assert manifest.source("activity").reread == timedelta(days=10)


def test_the_limits_are_the_tokens(manifest: Manifest) -> None:
    assert [(limit.scope, limit.amount, limit.period) for limit in manifest.limits] == [
        (LimitScope.CREDENTIAL, 1, timedelta(milliseconds=1200)),
        (LimitScope.CREDENTIAL, 10, timedelta(seconds=60)),
    ]
    assert all(limit.source and not limit.operations for limit in manifest.limits)


def test_the_fields_are_those_of_the_credentials(manifest: Manifest) -> None:
    fields = {field.name: field for field in manifest.user_fields}
    assert set(fields) == {field.name for field in attrs.fields(FlexCredentials)}
    assert [name for name, field in fields.items() if field.secret] == ["token"]
    optional = [name for name, field in fields.items() if not field.required]
    assert optional == ["confirmations_query_id", "expires_on"]
    assert all("Client Portal" in field.help or "Query ID" in field.help for field in fields.values())


def test_the_hook_answers_for_its_own_key_only() -> None:
    assert brokersync_ibkr.brokersync_provider("tradovate") is None
    spec: Any = brokersync_ibkr.brokersync_provider("ibkr")
    assert isinstance(spec, ProviderSpec)
    assert spec.credentials is FlexCredentials
    assert spec.statements is not None
    assert spec.statements("ibkr").recognises(b"<FlexQueryResponse>")


def test_looking_at_the_plugin_loads_none_of_its_parts() -> None:
    code = (
        "import sys, brokersync_ibkr; "
        "print(sorted(name for name in sys.modules if name.startswith('brokersync_ibkr') or name == 'aiohttp'))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "['brokersync_ibkr']"
