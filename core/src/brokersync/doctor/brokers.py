"""Plugins: what is installed, what can be used, and what each says of itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import attrs

from brokersync.catalogue import catalogue
from brokersync.compatibility import deprecation
from brokersync.config import Settings
from brokersync.discovery import same_distribution
from brokersync.errors import BrokerConfigError, BrokerHeldError, BrokerNotInstalledError
from brokersync.findings import Finding, Severity
from brokersync.governance.facts import Candidate
from brokersync.governance.gate import facts_of
from brokersync.governance.record import read_record
from brokersync.loading import findings_of
from brokersync.manifest import Manifest
from brokersync.registry import ProviderRegistry, ProviderState


def plugin_findings(registry: ProviderRegistry) -> Iterator[Finding]:
    """Of everything that is installed; no code of a plugin is run."""
    rows = registry.listing()
    if not rows:
        known = " or ".join(sorted(entry.distribution for entry in catalogue().values()))
        yield _of("", Severity.WARNING, "No broker is installed.", f"Install one: pip install {known}")
    offers: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        offers[row.key].append(f"{row.distribution} {row.version}".rstrip())
    for key, some in sorted(offers.items()):
        if key and len(some) > 1:
            yield _of(
                key,
                Severity.WARNING,
                f"The key {key!r} is offered {len(some)} times: {' and '.join(some)}.",
                f"Uninstall all but one, or pin one: [brokers.{key}] distribution.",
            )
    for row in rows:
        if row.state is ProviderState.REFUSED and not (row.key and len(offers[row.key]) > 1):
            yield _of(row.key, Severity.FAULT, row.reason, _uninstall(row.distribution))
        elif row.state is ProviderState.HELD:
            remedy = f"Look at it: brokersync providers list. Then approve it, or uninstall {row.distribution}."
            yield _of(row.key, Severity.WARNING, f"{row.key} is held: {row.reason}", remedy)
    yield from _of_files(registry)


def _of_files(registry: ProviderRegistry) -> Iterator[Finding]:
    names = catalogue()
    for one, row in registry.candidates():
        if row.state is ProviderState.REFUSED:
            continue
        harm = registry.gate.harm(one)
        if harm is not None:
            yield _of(one.key, Severity.FAULT, f"{one.distribution}: {harm.reason}", harm.remedy)
            continue
        try:
            manifest = registry.manifest(one.key)
        except BrokerConfigError as error:
            yield _of(one.key, Severity.FAULT, error.message, error.remedy)
            continue
        yield from _of_installed(one, manifest)
        known = names.get(one.key)
        if known is not None and not same_distribution(known.distribution, one.distribution):
            message = f"{one.key} is offered by {one.distribution}; this project knows it of {known.distribution}."
            yield _of(one.key, Severity.WARNING, message, f"See that you mean {one.distribution}.")


def _of_installed(one: Candidate, manifest: Manifest) -> Iterator[Finding]:
    if ends := deprecation(manifest.contract):
        yield _of(one.key, Severity.WARNING, f"{one.distribution}: {ends}", f"Update {one.distribution}.")
    record = read_record(one.folder) if one.folder is not None else None
    if facts_of(one, manifest, record).development:
        message, remedy = f"{one.distribution} is installed in place.", "Install a wheel of it to run it for others."
        yield _of(one.key, Severity.NOTE, message, remedy)
    elif record is not None and (faults := record.faults(one.package)):
        message = f"{one.distribution} is not as it was installed: {'; '.join(faults)}."
        remedy = f"Find out why, then install it anew: pip install --force-reinstall {one.distribution}"
        # to trust what was installed is not to trust what was put there since
        yield _of(one.key, Severity.FAULT, message, remedy)


def own_checks(registry: ProviderRegistry, settings: Settings, brokers: Sequence[str]) -> Iterator[Finding]:
    """What the plugins of these brokers find; their code is run."""
    for key in brokers:
        try:
            loaded = registry.load(key)
            found = findings_of(loaded, settings.broker(loaded.manifest.key).settings)
        except (BrokerHeldError, BrokerNotInstalledError) as error:
            yield _of(key, Severity.FAULT, f"{key} is used and can not be: {error.message}", error.remedy)
        except BrokerConfigError as error:
            yield _of(key, Severity.FAULT, error.message, error.remedy)
        else:
            yield from (attrs.evolve(one, area="brokers", provider=key) for one in found)


def _uninstall(distribution: str) -> str:
    return f"Correct it, or uninstall it: pip uninstall {distribution}"


def _of(provider: str, severity: Severity, message: str, remedy: str) -> Finding:
    return Finding(area="plugins", provider=provider, severity=severity, message=message, remedy=remedy)
