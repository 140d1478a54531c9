"""What is wrong with an installation, found without changing it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from brokersync.config import Settings
from brokersync.doctor.brokers import own_checks, plugin_findings
from brokersync.doctor.fleet import fleet_findings
from brokersync.doctor.governing import governance_findings, list_findings
from brokersync.doctor.reach import reach_findings
from brokersync.doctor.storing import Stored, store_findings
from brokersync.findings import Finding, Severity
from brokersync.provider import Clock
from brokersync.registry import ProviderRegistry

__all__ = ["AREAS", "Diagnosis", "examine"]

AREAS = ("configuration", "governance", "plugins", "brokers", "store", "keys", "connections", "redis", "clock", "hosts")
_ORDER = list(Severity)


@attrs.frozen(kw_only=True)
class Diagnosis:
    """What was found, worst first, and what the store holds where it could be read."""

    findings: tuple[Finding, ...]
    stored: Stored | None


async def examine(
    *,
    settings: Settings,
    registry: ProviderRegistry,
    place: str | Path,
    clock: Clock,
    brokers: Sequence[str] = (),
    reach: bool = False,
) -> Diagnosis:
    """Look at everything. Of plugins only those run that are used: connected, configured, or among `brokers`.

    With `reach` the declared hosts of these are asked for their headers; without, nothing is sent to any broker.
    """
    found = [*plugin_findings(registry)]
    more, stored = await store_findings(place, clock)
    found += [*more, *list_findings(settings.governance, registry)]
    found += [*governance_findings(settings.governance, stored.notices if stored else None)]
    used = sorted({*brokers, *settings.brokers, *(stored.brokers if stored is not None else ())})
    found += own_checks(registry, settings, used)
    found += await fleet_findings(settings.fleet, clock)
    if reach:
        found += await reach_findings(registry, settings, used, clock)
    return Diagnosis(findings=in_order(found), stored=stored)


def in_order(found: Sequence[Finding]) -> tuple[Finding, ...]:
    """The worst first."""
    return tuple(sorted(found, key=lambda one: (_ORDER.index(one.severity), AREAS.index(one.area), one.provider)))
