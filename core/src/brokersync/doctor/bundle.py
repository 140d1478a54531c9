"""What may be sent to somebody who helps: what is known to be harmless, and no more."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from brokersync.config import BrokerSettings, Settings
from brokersync.discovery import Offer, read_manifest
from brokersync.doctor import Diagnosis
from brokersync.doctor.storing import Stored
from brokersync.errors import BrokerConfigError
from brokersync.findings import Finding
from brokersync.governance.gate import facts_of
from brokersync.redaction import MASK, Redactor
from brokersync.registry import ProviderRegistry
from brokersync.version import VERSION

FORMAT: Final = 1
# a shorter one may be a word of any sentence
_SHORTEST: Final = 4
_PACKAGES: Final = (
    "aiohttp", "aiolimiter", "asyncpg", "attrs", "cattrs", "cryptography", "cyclopts", "importlib-metadata", "loguru",
    "msgspec", "pluggy", "pydocket", "redis", "tzdata",
)  # fmt: skip


def bundle(
    diagnosis: Diagnosis, settings: Settings, registry: ProviderRegistry, secrets: Iterable[str]
) -> dict[str, Any]:
    """Versions, the configuration without its texts, the listing, numbers of the store, incidents, and what was found.

    No text of the configuration or the store is in it that is not known to be harmless; what core wrote into sentences
    is masked where it names a secret or something of an owner's.
    """
    stored = diagnosis.stored
    names = stored.names if stored is not None else frozenset[str]()
    hidden = {*secrets, *_texts_of(settings), *names}
    masked = _Masked(Redactor(text for text in hidden if len(text) >= _SHORTEST))
    return {
        "format": FORMAT,
        "versions": _versions(),
        "configuration": _configuration(settings),
        "providers": [_provider(registry, *one, masked) for one in registry.candidates()],
        "store": None if stored is None else _store(stored),
        "findings": [_finding(one, masked) for one in diagnosis.findings],
    }


@attrs.frozen
class _Masked:
    _redact: Redactor

    def __call__(self, text: str) -> str:
        home = str(Path.home())
        return self._redact(text.replace(home, "~") if len(home) > 1 else text)


def _versions() -> dict[str, Any]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "brokersync": VERSION,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": found,
    }


def _configuration(told: Any) -> dict[str, Any]:
    """Numbers, durations, choices and broker keys as they are; of any other text only whether it is set."""
    return {field.name: _shown(field.name, getattr(told, field.name)) for field in attrs.fields(type(told))}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return value.total_seconds()
    if value is None or isinstance(value, bool | int):
        return value
    if name in ("allow", "deny"):
        return list(value)
    if isinstance(value, Mapping) and all(isinstance(one, BrokerSettings) for one in value.values()):
        return {key: _broker(one) for key, one in value.items()}
    if attrs.has(type(value)):
        return _configuration(value)
    return "set" if value else "not set"


def _broker(told: BrokerSettings) -> dict[str, Any]:
    return {
        "distribution": _shown("", told.distribution),
        "hosts": sorted(told.hosts),
        "limits": None if told.limits is None else len(told.limits),
        "maintenance": None if told.maintenance is None else len(told.maintenance),
        "settings": sorted(told.settings),
        "redirect_uri": _shown("", told.redirect_uri),
    }


def _provider(registry: ProviderRegistry, one: Any, row: Any, masked: _Masked) -> dict[str, Any]:
    try:
        decision = registry.gate.approvals.of(one.key) or {}
    except BrokerConfigError:
        decision = {}
    facts: dict[str, Any] = {"key": one.key, "distribution": one.distribution, "version": one.version}
    try:
        manifest = read_manifest(Offer(one.key, one.package, one.distribution, one.version))
        known = attrs.asdict(facts_of(one, manifest))
        facts |= {**known, "contract": manifest.contract, "sources": [source.name for source in manifest.sources]}
    except BrokerConfigError as error:
        facts["manifest"] = masked(error.message)
    return facts | {
        "state": row.state.value,
        "reason": masked(row.reason),
        "decision": decision.get("state"),
        "decided_at": decision.get("at"),
    }


def _store(stored: Stored) -> dict[str, Any]:
    return {
        "kind": stored.kind,
        "layout": stored.layout,
        "connections": dict(stored.connections),
        "rows": {name: dict(numbers) for name, numbers in stored.rows.items()},
        "incidents": [dict(one) for one in stored.incidents],
    }


def _finding(one: Finding, masked: _Masked) -> dict[str, str]:
    facts = {name: str(value) for name, value in attrs.asdict(one).items()}
    return {**facts, "message": masked(one.message), "remedy": masked(one.remedy)}


def _texts_of(settings: Settings) -> set[str]:
    """The texts of a configuration that a sentence might repeat."""
    found = {settings.store, settings.fleet.redis, settings.governance.webhook, settings.governance.webhook_secret}
    for one in settings.brokers.values():
        found |= {*one.settings.values(), *one.hosts.values(), one.redirect_uri}
    texts = {text for text in found if text}
    for text in list(texts):
        texts |= _parts_of(text)
    return texts - {MASK}


def _parts_of(url: str) -> set[str]:
    """User, password, host and path of a URL, any of which may stand in a sentence by itself."""
    try:
        parts = urlsplit(url)
        told: Sequence[str | None] = (parts.username, parts.password, parts.hostname, parts.path.strip("/"))
    except ValueError:
        return set()
    return {text for text in told if text} if parts.scheme else set()
