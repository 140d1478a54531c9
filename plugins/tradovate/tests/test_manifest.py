from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from importlib.metadata import entry_points
from typing import Any

import attrs
import pytest

from brokersync.manifest import Manifest, Retention, SourceScope
from brokersync.plugin import CONTRACT_VERSION, LimitScope, ProviderSpec
from brokersync_tradovate import brokersync_provider
from brokersync_tradovate.credentials import TradovateCredentials
from brokersync_tradovate.normalise import ENVIRONMENTS, PROVIDER
from brokersync_tradovate.provider import TradovateProvider


def test_the_entry_point_is_named_like_the_manifests_key(manifest: Manifest) -> None:
    names = [one.name for one in entry_points(group="brokersync.providers") if one.value == "brokersync_tradovate"]

    assert names == [manifest.key] == [PROVIDER]


def test_the_hook_answers_for_its_own_key_only() -> None:
    spec = brokersync_provider("tradovate")

    assert isinstance(spec, ProviderSpec)
    assert (spec.credentials, spec.create) == (TradovateCredentials, TradovateProvider)
    assert brokersync_provider("another") is None


def test_the_form_asks_for_exactly_the_credentials(manifest: Manifest) -> None:
    fields = {field.name: field for field in manifest.user_fields}

    assert set(fields) == {field.name for field in attrs.fields(TradovateCredentials)}
    assert [name for name, field in fields.items() if field.secret] == ["password", "sec"]


def test_the_defaults_of_the_form_are_those_of_the_credentials(manifest: Manifest) -> None:
    defaults = {field.name: field.default for field in manifest.user_fields if field.default is not None}
    optional = {field.name for field in manifest.user_fields if not field.required}
    own: dict[str, Any] = {
        field.name: field.default for field in attrs.fields(TradovateCredentials) if field.default is not attrs.NOTHING
    }

    assert {name: own[name] for name in defaults} == defaults
    assert set(own) == optional


def test_there_is_a_host_for_trading_and_reporting_on_each_side(manifest: Manifest) -> None:
    wanted = {*ENVIRONMENTS, *(f"reporting-{one}" for one in ENVIRONMENTS)}
    trading = {role: url for role, url in manifest.hosts.items() if role not in ("consent", "oauth")}

    assert set(trading) == wanted == set(manifest.host_patterns)
    assert all(url.startswith("https://") and url.endswith(".tradovateapi.com/v1") for url in trading.values())
    assert manifest.environments == ENVIRONMENTS


def test_the_sources_are_planned_as_the_broker_keeps_them(manifest: Manifest) -> None:
    session, reports = manifest.source("session"), manifest.source("reports")

    assert (session.retention, session.scope, session.calendar.day_starts) == (
        Retention.SESSION,
        SourceScope.LOGIN,
        "17:00",
    )
    assert (reports.scope, reports.longest_window) == (SourceScope.ACCOUNT, timedelta(days=30))
    assert session.precedence > reports.precedence, "the session tells all fees, a report the commission alone"
    assert manifest.contract == CONTRACT_VERSION


def test_every_limit_says_where_its_number_comes_from(manifest: Manifest) -> None:
    assert all(limit.source for limit in manifest.limits)
    assert {limit.scope for limit in manifest.limits} == {LimitScope.CREDENTIAL, LimitScope.EGRESS}


@pytest.mark.parametrize("module", ["aiohttp", "brokersync_tradovate.provider", "brokersync_tradovate.sandbox"])
def test_importing_the_plugin_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, brokersync_tradovate; print({module!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
